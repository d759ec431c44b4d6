"""Runs steps of the demo's pipeline in this process, as a child of the fault tests that may kill it.

main("days", "FIRST,SECOND,...")                whole days, one after another
main("daily" or "retrain", PARTITION[, FOLDER]) a whole run; FOLDER/<step> becomes the home before that step
main("step", STEP, PARTITION)                   one step, as a task of Airflow runs it
main("replay", PARTITION, VERSION)              rebuilds a version; what it says becomes replay.json in the home

Every attempt of a run has the same run id, as Airflow's retries have; CHAIN_RUN names another run, CHAIN_PIPELINE
another pipeline. Runs that share a
CHAIN_BARRIER folder begin each step together.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

from pipelines.home import Home
from pipelines.runs.steps import call_step

PIPELINE = os.environ.get("CHAIN_PIPELINE", "card_payments")
DAILY = ("ingest", "validate", "deduplicate", "build_features", "score", "audit", "release", "monitor")
RETRAIN = ("snapshot", "tune", "train", "evaluate", "gate", "promote")
NEEDS = {
    "tune": ("snapshot_id",),
    "train": ("snapshot_id",),
    "evaluate": ("snapshot_id", "version"),
    "gate": ("snapshot_id", "version"),
    "promote": ("version",),
}


def one_step(step: str, partition: str) -> str:
    """The state that the step reported. What later steps need of its summary is kept in the home, as XCom keeps it."""
    run_id = f"{'daily' if step in DAILY else 'retrain'}-{partition}{os.environ.get('CHAIN_RUN', '')}"
    kept = Home.resolve().root / f"{run_id}.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    if step == "promote" and known.get("outcome") != "PROMOTE":
        return "skipped"
    given = {name: known[name] for name in NEEDS.get(step, ())}
    state = ""
    for shard in (0, 1) if step == "score" else (None,):
        arguments = given if shard is None else {"shard": shard}
        summary = call_step(PIPELINE, partition, run_id, step, arguments=arguments)
        known |= {name: summary[name] for name in ("snapshot_id", "version", "outcome") if name in summary}
        state = str(summary.get("state"))
    kept.with_suffix(".new").write_text(json.dumps(known))
    kept.with_suffix(".new").replace(kept)
    return state


def rebuilt(partition: str, version: str) -> None:
    summary = call_step(PIPELINE, partition, "replay", "replay", arguments={"version": int(version)})
    (Home.resolve().root / "replay.json").write_text(json.dumps(summary))


def whole_run(steps: tuple[str, ...], partition: str, folder: str | None = None) -> None:
    has_scores = True
    for step in steps:
        if "CHAIN_BARRIER" in os.environ:
            wait_for_others(Path(os.environ["CHAIN_BARRIER"]), step)
        if step in ("audit", "release") and not has_scores:
            continue
        if folder:
            shutil.copytree(Home.resolve().root, Path(folder) / step, symlinks=True)
        state = one_step(step, partition)
        has_scores = has_scores and not (step == "score" and state == "skipped")


def wait_for_others(folder: Path, step: str, runs: int = 2, seconds: float = 20) -> None:
    """Returns when `runs` processes have come to this step; one that failed before is not waited for for ever."""
    (folder / f"{step}.{os.getpid()}").touch()
    deadline = time.monotonic() + seconds
    while len(list(folder.glob(f"{step}.*"))) < runs and time.monotonic() < deadline:
        if (folder / "over").exists():
            return
        time.sleep(0.005)


def main(what: str, *arguments: str) -> None:
    try:
        _run(what, *arguments)
    finally:
        if "CHAIN_BARRIER" in os.environ:
            (Path(os.environ["CHAIN_BARRIER"]) / "over").touch()


def _run(what: str, *arguments: str) -> None:
    if what == "days":
        for partition in arguments[0].split(","):
            whole_run(DAILY, partition)
    elif what == "step":
        one_step(*arguments)
    elif what == "replay":
        rebuilt(*arguments)
    else:
        whole_run(DAILY if what == "daily" else RETRAIN, *arguments)
