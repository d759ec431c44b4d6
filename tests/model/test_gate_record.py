"""What is kept of a decision, that a retry decides the same, and that nothing but the gate sees the holdout before."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.context import Context
from pipelines.training import evaluate, gate, snapshot, train, tune
from pipelines.training.registry import registry
from tests.model.feeds import TRAINING, learnable

DAYS = ("2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04")
TUNING = {"trials": 2, "ranges": {"max_depth": [1, 4]}}
pytestmark = pytest.mark.slow


@pytest.fixture
def run(new_home: Callable[..., Context]) -> Context:
    made = new_home(
        DAYS[3],
        training=TRAINING | {"tuning": TUNING},
        gate={"policy": "bootstrap", "false_promotions_per_year": 2.0},
        retrain={"schedule": "0 4 * * *"},
    )
    learnable(made, DAYS)
    return made


def test_tuning_never_opens_the_holdout(run: Context) -> None:
    """With its file gone, a search finds what it found with it."""
    snapshot_id = snapshot(run)["snapshot_id"]
    found = tune(run, snapshot_id)
    files = run.staged("retrain", snapshot_id)
    files.remove("tuned.json")
    files.remove("holdout.parquet")
    again = tune(run, snapshot_id)
    assert (again["parameters"], again["value"]) == (found["parameters"], found["value"])


def test_a_decision_keeps_every_number_and_the_exact_holdout_and_a_retry_decides_the_same(
    run: Context, tmp_path: Path
) -> None:
    frozen = snapshot(run)
    snapshot_id = frozen["snapshot_id"]
    tune(run, snapshot_id)
    version = train(run, snapshot_id)["version"]
    evaluate(run, snapshot_id, version)
    first, again = gate(run, snapshot_id, version), gate(run, snapshot_id, version)
    assert first == again
    (kept,) = run.ledger.decisions(run.name, "gate")
    numbers = kept["numbers"]
    # Nightly, and by drift one day in four.
    assert numbers["tests_per_year"] == pytest.approx(365 + 365 / 4, abs=1)
    assert numbers["alpha"] == pytest.approx(2.0 / numbers["tests_per_year"])
    assert numbers["holdout"]["partitions"] == [DAYS[3]]
    # The first champion is always a risk, and so is a day of which no validation is recorded, as here.
    assert numbers["risks"] == first["risks"]
    assert [risk.split(":")[0] for risk in first["risks"]] == [
        "it would be the first champion",
        "whether the data gate warned on a day of its training or holdout cannot be told",
    ]
    assert {"rows apart", "features alone", "duplicates", "scores"} <= {one["name"] for one in numbers["checks"]}
    with registry(run) as client:
        mlflow_run = run.ledger.model(run.name, version)["mlflow_run_id"]
        told = json.loads(Path(client.download_artifacts(mlflow_run, "gate.json", str(tmp_path))).read_text())
        assert client.get_run(mlflow_run).data.tags["gate.holdout"] == numbers["holdout"]["digest"]
    assert told == {"outcome": first["outcome"], "reasons": first["reasons"], **numbers}
