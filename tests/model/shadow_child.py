"""Runs the shadow of one night in this process, which a fault test may kill: `shadow_child.py HOME PARTITION`."""

from __future__ import annotations

import sys
from pathlib import Path

from pipelines.training import shadow
from tests.model.feeds import at
from tests.model.shadowed import STRONG, opened

if __name__ == "__main__":
    run = opened(Path(sys.argv[1]))
    shadow(at(run, sys.argv[2], run_id=f"daily-{sys.argv[2]}", **STRONG))
