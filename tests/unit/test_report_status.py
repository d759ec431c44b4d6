"""What `nightshift status` and the morning page are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.context import Context
from pipelines.errors import DataError
from pipelines.report.status import pipelines_known, status
from pipelines.runs.step import run_step
from tests.builders import context, utc


def _clean(run: Context, read: int = 10, quarantined: int = 2, duplicate: int = 1) -> None:
    run.ledger.set_accounting(
        run.name,
        run.key,
        state="clean",
        read=read,
        clean=read - quarantined - duplicate,
        quarantined=quarantined,
        duplicate=duplicate,
        reason=None,
        run_id=run.run_id,
    )


def _release(run: Context, release_id: str = "r1", version: int = 1) -> None:
    run.ledger.record_release(
        run.name,
        run.key,
        release_id=release_id,
        model_version=version,
        row_count=7,
        digest="d",
        path="exports/payments",
        is_hindsight=False,
        run_id=run.run_id,
    )


def _only(run: Context) -> dict[str, Any]:
    (partition,) = status(run.home, run.name)["partitions"]
    return partition


def _refuse(_context: Context) -> dict[str, Any]:
    raise DataError("E-SCHEMA-MISSING", "payments", "column 'amount_eur' is missing", "Fix the file.")


def test_empty_ledger_has_no_champion_and_no_partitions(tmp_path: Path) -> None:
    run = context(tmp_path)
    found = status(run.home, "payments")
    assert (found["champion"], found["partitions"], found["gates"], found["retrains"]) == (None, [], [], [])


def test_released_partition_shows_its_row_accounting(tmp_path: Path) -> None:
    run = context(tmp_path)
    run_step(run, "ingest", lambda _: {"rows": 10})
    _clean(run)
    _release(run)
    row = _only(run)
    assert {name: row[name] for name in ("state", "read", "clean", "quarantined", "duplicate", "scored", "model")} == {
        "state": "released",
        "read": 10,
        "clean": 7,
        "quarantined": 2,
        "duplicate": 1,
        "scored": 7,
        "model": 1,
    }


def test_failed_step_is_named_until_it_is_repaired(tmp_path: Path) -> None:
    run = context(tmp_path)
    with pytest.raises(DataError):
        run_step(run, "ingest", _refuse)
    assert (_only(run)["state"], _only(run)["step"]) == ("refused", "ingest")
    assert "Fix the file." in _only(run)["error"]

    run_step(run, "ingest", lambda _: {})
    _clean(run)
    assert (_only(run)["state"], _only(run)["error"]) == ("clean", None)
    assert "Fix the file." in _only(run)["repaired"]


def test_retracted_release_is_not_shown_as_released(tmp_path: Path) -> None:
    run = context(tmp_path)
    _clean(run)
    _release(run)
    run.ledger.retract_release(run.name, run.key, "wrong prices")
    assert (_only(run)["state"], _only(run)["release_reason"]) == ("retracted", "wrong prices")


def test_partitions_come_newest_first_and_last_bounds_them(tmp_path: Path) -> None:
    for key in ("2026-03-02", "2026-03-01", "2026-03-03"):
        _clean(context(tmp_path, key))
    found = status(context(tmp_path).home, "payments", last=2)
    assert [row["partition"] for row in found["partitions"]] == ["2026-03-03", "2026-03-02"]
    assert found["totals"] == {"read": 20, "clean": 14, "quarantined": 4, "duplicate": 2, "scored": 0}


def test_champion_carries_why_and_its_model(tmp_path: Path) -> None:
    run = context(tmp_path)
    version = run.ledger.record_model(
        run.name,
        run_id="retrain-1",
        as_of=utc("2026-03-01"),
        mlflow_run_id=None,
        artifact_uri="file:///m",
        artifact_sha256="0" * 64,
        record={"metrics": {"roc_auc": 0.9}},
    )
    run.ledger.change_champion(
        run.name,
        version,
        expected_seq=0,
        effective_from=utc("2026-03-02"),
        action="promote",
        reason="beats the baselines",
        actor="gate",
        run_id="retrain-1",
    )
    champion = status(run.home, run.name)["champion"]
    assert (champion["version"], champion["since"], champion["reason"]) == (
        1,
        "2026-03-02T00:00:00+00:00",
        "beats the baselines",
    )
    assert champion["model"]["record"]["metrics"] == {"roc_auc": 0.9}


def test_retrain_run_says_which_step_stopped_it(tmp_path: Path) -> None:
    run = context(tmp_path, run_id="retrain-1")
    run_step(run, "snapshot", lambda _: {})
    with pytest.raises(DataError):
        run_step(run, "train", _refuse)
    (retrain,) = status(run.home, run.name)["retrains"]
    assert (retrain["step"], retrain["state"]) == ("train", "refused")
    assert status(run.home, run.name)["partitions"] == []


def test_pipelines_known_lists_those_without_a_settings_file(tmp_path: Path) -> None:
    run = context(tmp_path)
    run_step(run, "ingest", lambda _: {})
    assert "payments" in pipelines_known(run.home)
