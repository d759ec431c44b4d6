"""How long Airflow's DAG processor takes to read all DAGs of many pipelines.

    python -m benchmarks.parsing [--pipelines 50] [--rounds 5]

The pipelines are copies of card_payments (shared feature groups, search, gate, monitor) under other names. Each file of
dags/ is read as the DAG processor reads it: a process that has imported Airflow, and what the file imports of Airflow,
forks a child; the child imports the rest, builds the DAGs and serializes them (airflow.dag_processing.processor,
3.3.2). Medians over the rounds, in seconds: each file alone, their sum, and all by two processes at once, as is
the default of `[dag_processor] parsing_processes`. Writes a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

from pipelines.home import REPOSITORY, Home

DAGS = REPOSITORY / "dags"
EXAMPLE = "card_payments"
TOGETHER = "together"


def generate(folder: Path, count: int) -> Path:
    """A configuration folder with `count` copies of the example pipeline, and their suite beside it."""
    config = folder / "config"
    shutil.copytree(REPOSITORY / "config" / "features", config / "features")
    (config / "pipelines").mkdir()
    (folder / "expectations").mkdir()
    text = (REPOSITORY / "config" / "pipelines" / f"{EXAMPLE}.yaml").read_text()
    shutil.copy(REPOSITORY / "expectations" / f"{EXAMPLE}.json", folder / "expectations")
    for number in range(count):
        name = f"pipeline_{number:03d}"
        (config / "pipelines" / f"{name}.yaml").write_text(text.replace(f"name: {EXAMPLE}", f"name: {name}"))
    return config


def measure(home: Home, rounds: int) -> dict[str, dict[str, float]]:
    """Per DAG file: median seconds (wall and CPU) of its child process, and how many DAGs it found."""
    from pipelines.runs.airflow_home import airflow_environment

    command = [sys.executable, "-m", "benchmarks.parsing", "--child", str(rounds)]
    run = subprocess.run(
        command, env=airflow_environment(home), cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    found: dict[str, dict[str, float]] = json.loads(run.stdout.splitlines()[-1])
    return found


def _child(rounds: int) -> dict[str, dict[str, float]]:
    """What the DAG processor's manager does: import Airflow once, then fork for each file."""
    import structlog
    from airflow import settings
    from airflow.dag_processing.processor import _pre_import_airflow_modules

    settings.prepare_syspath_for_config_and_plugins()
    import_module("airflow_local_settings").preload()  # as the DAG processor does by its name
    files = sorted(DAGS.glob("*.py"))
    for file in files:
        _pre_import_airflow_modules(str(file), structlog.get_logger("parsing"))
    taken: dict[str, list[dict[str, float]]] = {file.name: [] for file in files}
    for _ in range(rounds):
        for file in files:
            taken[file.name].append(_in_fork(file))
    found = {
        name: {key: statistics.median(one[key] for one in runs) for key in runs[0]} for name, runs in taken.items()
    }
    return found | {TOGETHER: {"wall": statistics.median(_two_at_once(files) for _ in range(rounds))}}


def _two_at_once(files: list[Path]) -> float:
    """Seconds until all files are read by two processes; each takes the next file when it is done with one."""
    started = time.perf_counter()
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(_in_fork, files))
    return time.perf_counter() - started


def _in_fork(file: Path) -> dict[str, float]:
    reading, writing = os.pipe()
    started = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        dags, errors = _parse(file)
        os.write(writing, json.dumps({"dags": dags, "errors": errors}).encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as answer:
        found = json.load(answer)
    _, _, used = os.wait4(pid, 0)
    wall = time.perf_counter() - started
    return {"wall": wall, "cpu": used.ru_utime + used.ru_stime, **found}


def _parse(file: Path) -> tuple[int, int]:
    """How many DAGs and import errors the file has, by the DAG processor's own function."""
    import structlog
    from airflow.dag_processing.processor import DagFileParseRequest, _parse_file

    request = DagFileParseRequest(file=str(file), bundle_path=DAGS, bundle_name="nightshift", callback_requests=[])
    result = _parse_file(request, structlog.get_logger("parsing"))
    if result is None:
        raise RuntimeError(f"{file} was not read")
    return len(result.serialized_dags), len(result.import_errors or {})


def table(found: dict[str, dict[str, float]]) -> str:
    together = found.pop(TOGETHER)["wall"]
    lines = ["| file | DAGs | wall s | CPU s |", "|---|---|---|---|"]
    lines += [f"| {name} | {one['dags']:.0f} | {one['wall']:.2f} | {one['cpu']:.2f} |" for name, one in found.items()]
    total = {key: sum(one[key] for one in found.values()) for key in ("dags", "wall", "cpu")}
    lines.append(f"| sum | {total['dags']:.0f} | {total['wall']:.2f} | {total['cpu']:.2f} |")
    return "\n".join([*lines, f"| all, two at once | {total['dags']:.0f} | {together:.2f} | |"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipelines", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(_child(given.child)))
        return
    with tempfile.TemporaryDirectory() as folder:
        config = generate(Path(folder), given.pipelines)
        found = measure(Home(Path(folder, "home"), config), given.rounds)
    print(table(found))
    if any(one["errors"] for one in found.values()):
        sys.exit("some DAG files have import errors")


if __name__ == "__main__":
    main()
