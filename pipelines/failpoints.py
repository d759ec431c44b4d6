"""Named places where tests kill, stop or fail a step. Inert unless NIGHTSHIFT_FAILPOINT is set.

`NIGHTSHIFT_FAILPOINT=clean.before_commit=kill` kills the process when it gets there; `=error` raises an OSError.
With NIGHTSHIFT_FAILPOINT_ONCE=FILE the point fires only while FILE does not exist, and creates it first.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path


def reach(point: str) -> None:
    """Marks that `point` was reached."""
    wanted = os.environ.get("NIGHTSHIFT_FAILPOINT")
    if not wanted:
        return
    name, _, action = wanted.partition("=")
    if name != point:
        return
    once = os.environ.get("NIGHTSHIFT_FAILPOINT_ONCE")
    if once:
        try:
            Path(once).touch(exist_ok=False)
        except FileExistsError:
            return
    if action == "error":
        raise OSError(f"failpoint {point}")
    os.kill(os.getpid(), signal.SIGSTOP if action == "stop" else signal.SIGKILL)
