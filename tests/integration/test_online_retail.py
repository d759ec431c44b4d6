"""All 305 days of a real shop through ingest, validate and deduplicate: every row ends in one place, every day."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from pipelines.context import Context
from pipelines.deduplicate import deduplicate
from pipelines.home import REPOSITORY, Home
from pipelines.ingest import ingest
from pipelines.ledger import Row
from pipelines.partitions import partitions_between
from pipelines.runs.step import open_context, run_step
from pipelines.validate import validate

DATA = Path(os.environ.get("NIGHTSHIFT_DATA") or REPOSITORY.parent / "shared" / "data")
NEEDS_DATA = pytest.mark.skipif(
    not (DATA / "online_retail").is_dir(), reason="NIGHTSHIFT_DATA holds no folder 'online_retail'"
)


def run_day(partition: str, home: Home) -> Context:
    context = open_context("online_retail", partition, f"test-{partition}", home)
    for name, step in (("ingest", ingest), ("validate", validate), ("deduplicate", deduplicate)):
        run_step(context, name, step)
    return context


def balance(row: Row) -> bool:
    return bool(row["read"] == row["clean"] + row["quarantined"] + row["duplicate"])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("NIGHTSHIFT_DATA", str(DATA))
    return Home(root=tmp_path, config=REPOSITORY / "config")


@NEEDS_DATA
@pytest.mark.slow
def test_one_day_balances_and_a_second_run_changes_nothing(home: Home) -> None:
    context = run_day("2011-01-18", home)  # 74,215 pieces, cancelled a quarter of an hour later
    (row,) = context.ledger.accounting("online_retail")
    assert balance(row)
    assert (row["state"], row["quarantined"]) == ("clean", 2)
    tables = ("raw", "quarantine", "duplicates", "clean")
    versions = {table: context.snapshot(table).version for table in tables}
    run_day("2011-01-18", home)
    assert {table: context.snapshot(table).version for table in tables} == versions


def run_days(home: Home, last: str) -> list[Row]:
    """The accounting of every calendar day from the first one to `last`."""
    pipeline = open_context("online_retail", "2010-12-01", "test", home).pipeline
    for day in partitions_between(pipeline.first_partition(), pipeline.parse(last)):
        context = run_day(day.key, home)
    return context.ledger.accounting("online_retail")


@NEEDS_DATA
@pytest.mark.slow
def test_first_weeks_balance_every_day(home: Home) -> None:
    rows = run_days(home, "2010-12-17")
    assert [row["partition"] for row in rows if not balance(row)] == []
    assert Counter(row["state"] for row in rows) == {"clean": 15, "absent": 2}  # no trade on Saturdays
    assert sum(row["duplicate"] for row in rows) > 0


@NEEDS_DATA
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not os.environ.get("NIGHTSHIFT_FULL"), reason="takes ten minutes; set NIGHTSHIFT_FULL=1")
def test_all_days_balance(home: Home) -> None:
    """541,909 lines in 305 files; 5,268 of them repeat a line of their day (the file of facts beside the data)."""
    rows = run_days(home, "2011-12-09")
    assert [row["partition"] for row in rows if not balance(row)] == []
    assert Counter(row["state"] for row in rows) == {"clean": 305, "absent": 69}
    totals = {name: sum(row[name] for row in rows) for name in ("read", "clean", "quarantined", "duplicate")}
    assert totals["read"] == 541_909
    assert totals["duplicate"] == 5_268
    assert totals["clean"] == totals["read"] - totals["duplicate"] - totals["quarantined"]
