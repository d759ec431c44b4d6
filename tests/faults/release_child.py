"""Runs score, audit and release (or retract) of the test pipeline in a process of its own, so that it can be killed.

`python -m tests.faults.release_child ROOT RUN_ID [retract]`
"""

from __future__ import annotations

import sys
from pathlib import Path

import pipelines.models
from pipelines.release import retract
from tests.builders import context
from tests.scoring import Stub, run_all


def main(root: str, run_id: str, action: str = "release") -> None:
    pipelines.models.load_model = lambda _context, version, _step: Stub(version)  # type: ignore[assignment]
    run = context(Path(root), partition="2026-03-05", run_id=run_id)
    if action == "retract":
        retract(run, "wrong", "ann")
    else:
        run_all(run)


if __name__ == "__main__":
    main(*sys.argv[1:])
