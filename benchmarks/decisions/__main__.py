"""Every decision benchmark, as one Markdown page.

    python -m benchmarks.decisions [--data ../shared/data] [--output docs/decisions_measured.md] [--only gate] [--quick]

Each part runs in a process of its own, two at a time, and is seeded: the same code and libraries give the same page,
seconds apart. `--quick` takes few repetitions, to see that everything runs.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks.decisions.section import section

# The slow ones first, so that both processes end at about the same time.
PARTS = ("loop", "gate", "data_gate", "drift")
ORDER = ("gate", "drift", "data_gate", "loop")
HEAD = """# Decisions, measured

Written by `make bench-decisions`; docs/decisions.md says what it means.
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="holds elec2/, bike_sharing/, ...")
    parser.add_argument("--output", type=Path, default=Path("docs/decisions_measured.md"))
    parser.add_argument("--only", choices=ORDER, action="append")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    os.environ["NIGHTSHIFT_DATA"] = str(arguments.data.absolute())
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    wanted = arguments.only or ORDER
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        running = {name: pool.submit(section, name, arguments.quick) for name in PARTS if name in wanted}
        found = {name: running[name].result() for name in ORDER if name in running}
    page = "\n\n".join([HEAD.strip(), *found.values()]) + "\n"
    arguments.output.write_text(page)
    sys.stdout.write(page)


if __name__ == "__main__":
    main()
