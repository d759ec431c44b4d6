"""A poisoned day that is excluded leaves no trace: the model is, byte for byte, the one that never knew it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.context import Context
from pipelines.errors import ModelError
from pipelines.monitoring.inputs import reference_partitions
from pipelines.training import snapshot, train, tune
from pipelines.training.dataset import read_frozen
from tests.model import feeds
from tests.model.feeds import TRAINING, at, day, learnable

DAYS = tuple(f"2026-03-0{number}" for number in range(1, 7))
BAD = "2026-03-03"
RULES = {"label_rules": {"max_daily_shift": 6.0}}
WITHOUT = {"training": TRAINING | {"exclude_partitions": [BAD]}}


def home(root: Path, mlflow: Path, days: Sequence[str] = DAYS, poisoned: bool = False, **settings: Any) -> Context:
    """Days that are learnt easily; on the poisoned one every payment is said to be fraud."""
    run = feeds.context(root, DAYS[-1], **(RULES | settings))
    (root / "mlflow").mkdir(parents=True, exist_ok=True)
    shutil.copy(mlflow, root / "mlflow" / "mlflow.db")
    for key in days:
        learnable(run, [key], seed=int(key[-2:]))
    if poisoned:
        amounts = np.random.default_rng(3).uniform(0, 100, 200)
        day(run, BAD, [{"amount_eur": float(amount), "is_fraud": 1} for amount in amounts])
    return run


def made(run: Context) -> tuple[dict[str, str], dict[str, str], str]:
    """Digests of the frozen rows, of the rows by day, and of the model."""
    snapshot_id = snapshot(run)["snapshot_id"]
    tune(run, snapshot_id)
    version = train(run, snapshot_id)["version"]
    frozen = read_frozen(run, snapshot_id)
    return frozen.digests, frozen.row_digests, run.ledger.model(run.name, version)["artifact_sha256"]


@pytest.mark.slow
def test_excluded_is_as_if_it_had_been_clean_or_never_been(tmp_path: Path, empty_mlflow: Path) -> None:
    poisoned = made(home(tmp_path / "a", empty_mlflow, poisoned=True, **WITHOUT))
    clean = made(home(tmp_path / "b", empty_mlflow, **WITHOUT))
    absent = made(home(tmp_path / "c", empty_mlflow, days=[key for key in DAYS if key != BAD]))
    assert BAD not in poisoned[1]
    assert poisoned == clean == absent
    # What it would have done otherwise: without the rules it trains another model.
    loose = {"label_rules": {}}
    assert made(home(tmp_path / "d", empty_mlflow, poisoned=True, **loose))[2] != poisoned[2]


def test_the_poisoned_day_is_named_with_the_line_that_repairs(tmp_path: Path, empty_mlflow: Path) -> None:
    run = home(tmp_path, empty_mlflow, poisoned=True)
    with pytest.raises(ModelError) as error:
        snapshot(run)
    assert str(error.value).startswith("E-TRAIN-LABELS payments 2026-03-06: ")
    assert "'2026-03-03: rate 1.0000 is +" in str(error.value)
    assert f'exclude_partitions: ["{BAD}"]' in str(error.value)
    assert snapshot(at(run, run.key, **(RULES | WITHOUT)))["state"] == "done"


def test_neither_holdout_nor_reference_holds_it(tmp_path: Path, empty_mlflow: Path) -> None:
    run = home(tmp_path, empty_mlflow, poisoned=True, training=TRAINING | {"exclude_partitions": [DAYS[-1], BAD]})
    frozen = read_frozen(run, snapshot(run)["snapshot_id"])
    assert frozen.holdout_partitions == [DAYS[-2]]
    assert BAD not in frozen.training_partitions
    model = {"as_of": run.partition.end, "record": {}}
    later = at(run, "2026-03-07", training=TRAINING | {"exclude_partitions": [DAYS[-1], BAD]})
    assert reference_partitions(later, model) == [key for key in DAYS[:-1] if key != BAD]
