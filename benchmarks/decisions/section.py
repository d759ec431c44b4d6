"""One part of the page, as a process of its own runs it (which can not import a package's `__main__`)."""

from __future__ import annotations

import sys
import time
from importlib import import_module


def section(name: str, is_quick: bool) -> str:
    """The Markdown of one part; how many seconds it took is told on stderr."""
    started = time.monotonic()
    text: str = import_module(f"benchmarks.decisions.{name}").tables(is_quick).strip()
    print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return text
