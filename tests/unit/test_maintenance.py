"""The daily clean-up: what it repairs, what it ends, and what it must leave alone."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import create_engine, update

from pipelines.context import Context
from pipelines.home import Home
from pipelines.ledger import schema
from pipelines.maintenance import reap_attempts, reconcile_aliases, sweep_staging, sweep_studies
from pipelines.training.tuning_study import COMPLETE, FAILED, Studies
from pipelines.verify import verify
from tests.builders import PAYMENTS, context
from tests.conftest import write_config
from tests.scoring import Stub, again, champion, features, file_digests, promote, run_all, use_models, utc


@pytest.fixture
def run(tmp_path: Path) -> Context:
    """The payments pipeline, on file and beside one whose settings are broken: that one must not stop the clean-up."""
    config = write_config(tmp_path, payments=yaml.safe_dump(PAYMENTS), broken="name: [")
    made = context(tmp_path / "home", partition="2026-03-05")
    return Context(made.pipeline, Home(made.home.root, config), made.ledger, made.partition, made.run_id)


# -- attempts -----------------------------------------------------------------------------------------------------


def started(run: Context, step: str, hours_ago: float) -> int:
    attempt = run.ledger.start_attempt(run.name, run.key, step, run.run_id, "c")
    moment = datetime.now(UTC) - timedelta(hours=hours_ago)
    with create_engine(run.home.ledger_url).begin() as connection:
        connection.execute(update(schema.attempts).where(schema.attempts.c.id == attempt).values(started_at=moment))
    return attempt


def test_only_attempts_that_run_for_too_long_are_ended(run: Context) -> None:
    started(run, "ingest", hours_ago=25)
    started(run, "validate", hours_ago=23)
    run.ledger.end_attempt(started(run, "score", hours_ago=25), "done", {"rows": 1}, None, 1)
    assert reap_attempts(24, run.home) == {"payments": 1}
    found = {row["step"]: (row["state"], row["error"]) for row in run.ledger.attempts(run.name)}
    assert found == {
        "ingest": ("failed", "E-RUN-DEAD payments 2026-03-05: 'ingest' never ended; its process was killed"),
        "validate": ("running", None),
        "score": ("done", None),
    }
    assert reap_attempts(24, run.home) == {"payments": 0}


# -- staging ------------------------------------------------------------------------------------------------------


def aged(root: Path, days: float) -> None:
    """Makes everything below `root` look untouched for so many days."""
    moment = time.time() - days * 86_400
    for path in [root, *root.rglob("*")]:
        os.utime(path, (moment, moment), follow_symlinks=False)


def test_sweep_takes_old_leftovers_and_nothing_that_is_referenced(run: Context, monkeypatch: Any) -> None:
    """All files are old: releases that readers see, superseded and withdrawn ones stay, since the ledger names them."""
    use_models(monkeypatch, Stub(1), Stub(2, divisor=200.0))
    champion(run)
    features(run, [10.0, 20.0])
    run_all(run)
    features(run, [10.0, 30.0])  # a corrected day: the first release is superseded, its folder is history
    run_all(again(run))
    exports, staging = run.home.root / "exports", run.home.root / "staging"
    kept = file_digests(exports)
    orphan = exports / run.name / "_releases" / run.key / "orphan"
    orphan.mkdir()
    (orphan / "part-00000.parquet").touch()
    assert file_digests(staging)  # staged scores, of use until they are released
    (run.home.scratch / "score-killed").mkdir()
    run.staged("replays", "killed").write("retrain/1/train.parquet", b"rows")
    run.staged("checkpoints", "given-up").write("recipe/final/00000050-0.bin", b"trees")
    aged(run.home.root, days=13)
    assert sweep_staging(14, dry_run=False, home=run.home) == {"scratch": [], "payments": []}
    aged(run.home.root, days=15)
    before = file_digests(run.home.root)
    assert sweep_staging(14, home=run.home)["scratch"] == ["score-killed"]
    named = sweep_staging(14, home=run.home)["payments"]
    assert f"exports/payments/_releases/{run.key}/orphan" in named
    assert "staging/payments/replays/killed" in named
    assert "staging/payments/checkpoints/given-up" in named
    assert all(name.startswith("staging/") for name in named if not name.endswith("/orphan"))
    assert file_digests(run.home.root) == before  # a dry run
    assert sweep_staging(14, dry_run=False, home=run.home)["payments"] == named
    assert file_digests(exports) == kept
    assert verify(run)["problems"] == []
    assert sweep_staging(14, dry_run=False, home=run.home) == {"scratch": [], "payments": []}
    assert run_all(again(run, "run-3"))["state"] == "unchanged"  # staged scores are made again when they are wanted


# -- searches -----------------------------------------------------------------------------------------------------


def searched(run: Context, study: str, days_ago: float, state: str = COMPLETE) -> None:
    """A search with one trial that ended so many days ago."""
    studies, moment = Studies(run.home.ledger_url), datetime.now(UTC) - timedelta(days=days_ago)
    facts = {"snapshot_id": study, "partition": "2026-03-05", "metric": "roc_auc", "direction": "higher"}
    studies.open(study, pipeline=run.name, trials=1, code_version="c", first=[], settings={}, **facts)
    studies.claim(study, 1, "worker", False, lambda _: False)
    assert studies.end(study, 0, "worker", state, value=0.7 if state == COMPLETE else None)
    with create_engine(run.home.ledger_url).begin() as connection:
        for table, column in ((schema.tuning_studies, "created_at"), (schema.tuning_trials, "beat_at")):
            connection.execute(update(table).where(table.c.study == study).values({column: moment}))


def test_old_searches_go_but_the_champions_and_the_newest_that_found_something(run: Context) -> None:
    champion(run)
    searched(run, "of the champion", days_ago=40)
    row = run.ledger.model(run.name, 1)
    kept = {name: row[name] for name in ("run_id", "as_of", "mlflow_run_id", "artifact_uri", "artifact_sha256")}
    run.ledger.record_model(run.name, **kept, record={"tuning": {"study": "of the champion"}})
    searched(run, "old", days_ago=35)
    searched(run, "next begins here", days_ago=33)
    searched(run, "found nothing", days_ago=32, state=FAILED)
    searched(run, "begun then, at work today", days_ago=31, state=FAILED)
    studies = Studies(run.home.ledger_url)
    studies.claim("begun then, at work today", 2, "worker", False, lambda _: False)
    assert sweep_studies(50, dry_run=False, home=run.home) == {"payments": []}
    assert sweep_studies(30, home=run.home) == {"payments": ["old", "found nothing"]}
    assert len(studies.of(run.name)) == 5  # a dry run
    assert sweep_studies(30, dry_run=False, home=run.home) == {"payments": ["old", "found nothing"]}
    left = {row["study"]: len(studies.trials(row["study"])) for row in studies.of(run.name)}
    assert left == {"of the champion": 1, "next begins here": 1, "begun then, at work today": 2}
    assert studies.trials("old") == []
    assert sweep_studies(30, dry_run=False, home=run.home) == {"payments": []}


# -- aliases ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_alias_that_somebody_moved_is_put_back_to_the_ledgers_champion(run: Context, monkeypatch: Any) -> None:
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    registry = MlflowClient(run.home.mlflow_uri)
    registry.create_registered_model(run.name)
    for number in (1, 2):
        registry.create_model_version(run.name, source=str(run.home.root), run_id=None)
        record = {"mlflow_version": number}
        run.ledger.record_model(
            run.name,
            run_id=f"train-{number}",
            as_of=utc("2026-03-04"),
            mlflow_run_id=None,
            artifact_uri="none",
            artifact_sha256=str(number) * 64,
            record=record,
        )
    promote(run, 2, utc("2026-03-05"))
    registry.set_registered_model_alias(run.name, "champion", "1")
    assert reconcile_aliases(run.home) == {"payments": "repaired: 1 -> 2"}
    assert str(registry.get_model_version_by_alias(run.name, "champion").version) == "2"
    assert reconcile_aliases(run.home) == {"payments": "agrees"}
    registry.delete_registered_model_alias(run.name, "champion")
    assert reconcile_aliases(run.home) == {"payments": "repaired: None -> 2"}
    assert run.ledger.champion(run.name)["version"] == 2


def test_no_champion_means_no_alias_to_repair(run: Context) -> None:
    assert reconcile_aliases(run.home) == {}
