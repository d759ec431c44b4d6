"""What a metrics system is told of a step, worked out from its summary and the ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.ledger import Ledger
from pipelines.runs.measures import Ended, measures
from pipelines.settings import load_pipeline
from tests.conftest import ALPHA, write_config

START = datetime(2026, 3, 3, 2, 0, tzinfo=UTC)  # two hours after the partition of 2026-03-02 ended
DAY, RUN = "2026-03-02", "scheduled__1"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")


def ended(tmp_path: Path, step: str, state: str = "done", **summary: Any) -> Ended:
    folder = tmp_path / "config"
    config = folder if folder.exists() else write_config(tmp_path, alpha=ALPHA)
    end = START + timedelta(seconds=1.5)
    return Ended(load_pipeline("alpha", config), DAY, RUN, step, state, START, end, 640, summary)


def account(ledger: Ledger, partition: str = DAY, state: str = "clean", run_id: str = RUN) -> None:
    counts = {"read": 10, "clean": 7, "quarantined": 2, "duplicate": 1}
    ledger.set_accounting("alpha", partition, state=state, reason=None, run_id=run_id, **counts)


def told(found: Ended, ledger: Ledger) -> dict[str, float]:
    return {one.name.removeprefix("nightshift."): one.value for one in measures(found, ledger)}


def test_every_step_tells_how_it_ended(tmp_path: Path, ledger: Ledger) -> None:
    found = measures(ended(tmp_path, "audit", "refused"), ledger)
    assert [(one.name, one.kind, one.value) for one in found] == [
        ("nightshift.step.ended", "counter", 1),
        ("nightshift.step.duration", "timing", 1500),
        ("nightshift.step.peak_memory", "gauge", 640),
    ]
    assert dict(found[0].tags) == {"pipeline": "alpha", "step": "audit", "state": "refused"}


@pytest.mark.parametrize(
    ("step", "state", "run_id", "counts"),
    [
        pytest.param("deduplicate", "done", RUN, 4, id="closed by this step"),
        pytest.param("validate", "refused", RUN, 4, id="closed by a refusal"),
        pytest.param("deduplicate", "unchanged", RUN, 0, id="work that was done before counts no rows again"),
        pytest.param("ingest", "done", "another", 0, id="what an earlier run accounted for"),
        pytest.param("release", "done", RUN, 0, id="a later step of the same run"),
    ],
)
def test_rows_are_counted_by_the_step_that_closed_the_accounting(
    tmp_path: Path, ledger: Ledger, step: str, state: str, run_id: str, counts: int
) -> None:
    account(ledger, run_id=run_id)
    assert len([name for name in told(ended(tmp_path, step, state), ledger) if name.startswith("rows.")]) == counts


def test_scored_rows_gates_and_drift(tmp_path: Path, ledger: Ledger) -> None:
    score = told(ended(tmp_path, "score", rows=70, refused=2), ledger)
    assert (score["rows.scored"], score["rows.unscored"]) == (70, 2)
    gate = measures(ended(tmp_path, "gate", outcome="HOLD"), ledger)[-1]
    assert (gate.name, gate.tags["outcome"]) == ("nightshift.gate.decisions", "HOLD")
    account(ledger)
    assert told(ended(tmp_path, "monitor", decision="WATCH"), ledger)["drift.level"] == 1


def test_delay_and_age_are_those_of_the_newest_partition(tmp_path: Path, ledger: Ledger) -> None:
    """A day that is run again would look like a night that is weeks late."""
    account(ledger)
    model: dict[str, Any] = {"artifact_uri": "m", "artifact_sha256": "m", "record": {}}
    learnt = START - timedelta(days=4, hours=2)
    version = ledger.record_model("alpha", run_id="r", as_of=learnt, mlflow_run_id=None, **model)
    change = {"expected_seq": 0, "effective_from": learnt, "action": "promote", "reason": "", "actor": "gate"}
    ledger.change_champion("alpha", version, run_id="r", **change)  # type: ignore[arg-type]
    assert told(ended(tmp_path, "release"), ledger)["release.delay"] == 7202  # two hours, and the step itself
    assert told(ended(tmp_path, "monitor", decision="OK"), ledger)["champion.age"] == 4
    account(ledger, "2026-03-03")
    assert "release.delay" not in told(ended(tmp_path, "release"), ledger)
    assert "champion.age" not in told(ended(tmp_path, "monitor", decision="OK"), ledger)
