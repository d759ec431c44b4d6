"""A small home with a weak champion and a good challenger in shadow, and the nights that follow."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pipelines.context import Context
from pipelines.training import evaluate, gate, promote, snapshot, train, tune
from tests.model import feeds
from tests.model.feeds import TRAINING, at, learnable
from tests.scoring import run_all

DAYS = ("2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04")
NIGHTS = ("2026-03-05", "2026-03-06")
GATE = {"policy": "bootstrap", "slices": ["country"], "shadow": 2}
STRONG = {"training": TRAINING, "gate": GATE}
WEAK = {"family": "xgboost", "rounds": 1, "early_stopping_rounds": None, "parameters": {"max_depth": 1}}


def challenger(root: Path, mlflow: Path) -> Context:
    """The first model is champion, learnt on four days; the second passed the gate, and its shadow has begun."""
    run = feeds.context(root, DAYS[-1], gate=GATE)
    (root / "mlflow").mkdir(exist_ok=True)
    shutil.copy(mlflow, root / "mlflow" / "mlflow.db")
    learnable(run, DAYS)
    weak = at(run, run.key, training=TRAINING | {"model": WEAK}, gate=GATE)
    promote(weak, judged(weak)[0])
    again = at(run, run.key, run_id="retrain-2", **STRONG)
    version, decision = judged(again)
    assert decision["outcome"] == "PROMOTE", decision["reasons"]
    assert promote(again, version, approved_by="anna")["outcome"] == "START"  # as the task passes it on
    return again


def judged(run: Context) -> tuple[int, dict[str, Any]]:
    """A retrain up to the gate: the version and the gate's word."""
    snapshot_id = snapshot(run)["snapshot_id"]
    tune(run, snapshot_id)
    version = int(train(run, snapshot_id)["version"])
    evaluate(run, snapshot_id, version)
    return version, gate(run, snapshot_id, version)


def opened(root: Path) -> Context:
    """The same home in another process or after it was restored."""
    return feeds.context(root, DAYS[-1], **STRONG)


def night(run: Context, partition: str, seed: int = 5, noise: float = 0.1, **changes: Any) -> Context:
    """The daily chain of one day up to the release, with whatever model is champion; the context of its shadow."""
    here = at(run, partition, run_id=f"daily-{partition}", **(STRONG | changes))
    learnable(here, [partition], noise=noise, seed=seed)
    run_all(here)
    return here
