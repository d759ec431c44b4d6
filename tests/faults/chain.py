"""Runs the steps of one daily or retrain run in this process, as a child of the fault tests that may kill it.

python -m tests.faults.chain daily|retrain PARTITION RUN_ID
"""

from __future__ import annotations

import sys

from pipelines.runs.steps import call_step

PIPELINE = "card_payments"
DAILY = ("ingest", "validate", "deduplicate", "build_features", "score", "audit", "release", "monitor")


def daily(partition: str, run_id: str) -> None:
    scored = True
    for step in DAILY:
        if step in ("audit", "release") and not scored:
            continue
        for shard in (0, 1) if step == "score" else (None,):
            arguments = {} if shard is None else {"shard": shard}
            summary = call_step(PIPELINE, partition, run_id, step, arguments=arguments)
            scored = scored if step != "score" else summary["state"] != "skipped"


def retrain(partition: str, run_id: str) -> None:
    snapshot = {"snapshot_id": call_step(PIPELINE, partition, run_id, "snapshot")["snapshot_id"]}
    call_step(PIPELINE, partition, run_id, "tune", arguments=snapshot)
    version = {"version": call_step(PIPELINE, partition, run_id, "train", arguments=snapshot)["version"]}
    call_step(PIPELINE, partition, run_id, "evaluate", arguments=snapshot | version)
    decision = call_step(PIPELINE, partition, run_id, "gate", arguments=snapshot | version)
    if decision["outcome"] == "PROMOTE":
        call_step(PIPELINE, partition, run_id, "promote", arguments=version)


if __name__ == "__main__":
    {"daily": daily, "retrain": retrain}[sys.argv[1]](*sys.argv[2:])
