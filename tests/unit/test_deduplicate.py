from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.context import Context
from pipelines.deduplicate import deduplicate
from pipelines.errors import DataError
from pipelines.ingest.columns import QUARANTINE
from tests.builders import utc
from tests.validating import accepted, accounting, ingested, raw, read
from tests.validating import context as make

NOON, EVENING = utc("2026-03-01T12:00"), utc("2026-03-01T18:00")
BY_TIME = {"latest_by": ["paid_at"], "lookback_partitions": 3}


def day(
    root: Path, partition: str, rows: list[dict[str, Any]], bad: list[str] | None = None, **changes: Any
) -> Context:
    """A context whose rows were accepted and deduplicated."""
    run = make(root, partition=partition, **changes)
    accepted(run, raw(run, rows), bad)
    deduplicate(run)
    return run


def clean(run: Context) -> list[str]:
    return [row["row_id"].rpartition(":")[2] for row in read(run, "clean")]


def losers(run: Context) -> list[tuple[str, str, str]]:
    return [
        (row["row_id"].rpartition(":")[2], row["kept_row_id"], row["reason"])
        for row in read(run, "duplicates", ["kept_row_id", "reason"])
    ]


def same(**values: Any) -> dict[str, Any]:
    return {"payment_id": "p", "paid_at": NOON, "amount_eur": 1.0, "country": "DE", "is_fraud": 0, **values}


def test_exact_copies_lose_to_the_lowest_row_id(tmp_path: Path) -> None:
    run = day(tmp_path, "2026-03-01", [same(), same(), {}, same()])
    assert clean(run) == ["r1", "r3"]
    assert losers(run) == [("r2", "2026-03-01:r1", "exact"), ("r4", "2026-03-01:r1", "exact")]
    assert accounting(run) == ("clean", 4, 2, 0, 2)


def test_latest_row_of_a_key_wins_wherever_it_stands(tmp_path: Path) -> None:
    rows = [same(), same(paid_at=EVENING, amount_eur=2.0), same(amount_eur=3.0)]
    run = day(tmp_path, "2026-03-01", rows, deduplicate={"latest_by": ["paid_at"]})
    assert clean(run) == ["r2"]
    assert losers(run) == [("r1", "2026-03-01:r2", "key"), ("r3", "2026-03-01:r2", "key")]


def test_null_in_latest_by_is_earlier_than_any_value(tmp_path: Path) -> None:
    rows = [same(is_fraud=None), same(is_fraud=0)]
    run = day(tmp_path, "2026-03-01", rows, deduplicate={"latest_by": ["is_fraud"]})
    assert clean(run) == ["r2"]


@pytest.mark.parametrize(
    ("changes", "conflicts"),
    [
        pytest.param({}, 1, id="other content without an order is a conflict"),
        pytest.param({"amount_eur": 1.0}, 0, id="equal content is no conflict"),
        pytest.param({"paid_at": EVENING}, 0, id="an order decides"),
    ],
)
def test_conflicts_are_counted_per_key(tmp_path: Path, changes: dict[str, Any], conflicts: int) -> None:
    run = make(tmp_path, deduplicate={"latest_by": ["paid_at"]})
    accepted(run, raw(run, [same(), same(**{"amount_eur": 2.0, **changes}), {}]))
    summary = deduplicate(run)
    assert summary["key_conflicts"] == conflicts
    assert summary["corrections"] == 0, "only a row of an earlier partition can be corrected"


def test_first_row_wins_and_conflicts_without_latest_by(tmp_path: Path) -> None:
    run = make(tmp_path)
    accepted(run, raw(run, [same(amount_eur=2.0), same(paid_at=EVENING), same(paid_at=EVENING)]))
    assert deduplicate(run)["key_conflicts"] == 1
    assert clean(run) == ["r1"]


def test_quarantined_rows_take_no_part(tmp_path: Path) -> None:
    """A bad first row must not beat the good second one."""
    run = day(tmp_path, "2026-03-01", [same(), same()], bad=["2026-03-01:r1"])
    assert clean(run) == ["r2"]
    assert losers(run) == []
    assert accounting(run) == ("clean", 2, 1, 1, 0)


def test_records_refused_by_ingest_are_in_the_balance(tmp_path: Path) -> None:
    run = make(tmp_path)
    accepted(run, raw(run, [{}, {}]), refused=[["FIELD_COUNT: 3 fields"]])
    assert deduplicate(run)["read"] == 3
    assert accounting(run) == ("clean", 3, 2, 1, 0)


def test_bad_records_of_a_dimension_are_not_rows_of_the_partition(tmp_path: Path) -> None:
    """They share the table `quarantine`, in a stage of their own."""
    run = make(tmp_path)
    accepted(run, raw(run, [{}, {}]))
    other = [{"row_id": "card:1", "reasons": ["TYPE: x"], "stage": "dimension_cards", "partition": run.key}]
    table = pa.Table.from_pylist(other, schema=QUARANTINE)
    run.publish("quarantine", run.snapshot("quarantine"), table, "d", {}, stage="dimension_cards")
    deduplicate(run)
    assert accounting(run) == ("clean", 2, 2, 0, 0)


def test_without_key_only_whole_rows_are_compared(tmp_path: Path) -> None:
    rows = [same(country=None), same(country=""), same(country=None), same(amount_eur=None, country=None)]
    run = day(tmp_path, "2026-03-01", rows, key=[])
    assert clean(run) == ["r1", "r2", "r4"], "null equals null, but not the empty text"
    assert losers(run) == [("r3", "2026-03-01:r1", "exact")]


def test_neighbouring_columns_do_not_run_together(tmp_path: Path) -> None:
    """'ab','c' and 'a','bc' are different rows."""
    rows = [same(payment_id="ab", card_id="c"), same(payment_id="a", card_id="bc")]
    assert clean(day(tmp_path, "2026-03-01", rows, key=[])) == ["r1", "r2"]


def test_by_key_off_keeps_rows_of_one_key(tmp_path: Path) -> None:
    run = day(tmp_path, "2026-03-01", [same(), same(amount_eur=2.0), same()], deduplicate={"by_key": False})
    assert clean(run) == ["r1", "r2"]


def test_rows_without_a_key_value_are_only_compared_as_a_whole(tmp_path: Path) -> None:
    columns = {"key": ["country", "payment_id"]}
    rows = [same(country=None), same(country=None, amount_eur=2.0), same(country=None)]
    run = day(tmp_path, "2026-03-01", rows, **columns)
    assert clean(run) == ["r1", "r2"]
    assert losers(run) == [("r3", "2026-03-01:r1", "exact")]


def test_row_sent_again_the_next_day_loses_to_the_earlier_one(tmp_path: Path) -> None:
    day(tmp_path, "2026-03-01", [same()], deduplicate=BY_TIME)
    second = day(tmp_path, "2026-03-02", [same(), {"payment_id": "new"}], deduplicate=BY_TIME)
    assert clean(second) == ["r2"]
    (loser,) = read(second, "duplicates")
    assert (loser["kept_row_id"], loser["kept_partition"], loser["reason"]) == ("2026-03-01:r1", "2026-03-01", "exact")


def test_row_that_is_not_newer_loses_by_key(tmp_path: Path) -> None:
    day(tmp_path, "2026-03-01", [same(paid_at=EVENING)], deduplicate=BY_TIME)
    second = day(tmp_path, "2026-03-02", [same(paid_at=NOON), {"payment_id": "new"}], deduplicate=BY_TIME)
    assert losers(second) == [("r1", "2026-03-01:r1", "key")]


def test_newer_row_stays_as_a_correction_and_history_stays_too(tmp_path: Path) -> None:
    first = day(tmp_path, "2026-03-01", [same()], deduplicate=BY_TIME)
    second = make(tmp_path, partition="2026-03-02", deduplicate=BY_TIME)
    accepted(second, raw(second, [same(paid_at=EVENING, amount_eur=9.0), same(amount_eur=5.0)]))
    assert deduplicate(second)["corrections"] == 1
    assert clean(second) == ["r1"]
    assert clean(first) == ["r1"]
    third = day(tmp_path, "2026-03-03", [same(amount_eur=9.0, paid_at=EVENING), {}], deduplicate=BY_TIME)
    assert losers(third) == [("r1", "2026-03-02:r1", "exact")], "the correction is the one that counts"


def test_days_beyond_the_lookback_do_not_count(tmp_path: Path) -> None:
    settings = {"latest_by": ["paid_at"], "lookback_partitions": 1}
    day(tmp_path, "2026-03-01", [same()], deduplicate=settings)
    assert clean(day(tmp_path, "2026-03-03", [same()], deduplicate=settings)) == ["r1"]


def test_whole_file_sent_again_leaves_an_empty_accepted_partition(tmp_path: Path) -> None:
    for key in ([], ["payment_id"]):
        root = tmp_path / str(len(key))
        settings = {"lookback_partitions": 1}
        stay = {"payment_id": "a", "paid_at": NOON}
        day(root, "2026-03-01", [stay, {"payment_id": "b", "paid_at": NOON}], deduplicate=settings, key=key)
        again = [stay, {"payment_id": "b", "paid_at": NOON}]
        second = day(root, "2026-03-02", again, deduplicate=settings, key=key)
        assert accounting(second) == ("clean", 2, 0, 0, 2)


def test_partition_of_only_bad_rows_is_refused(tmp_path: Path) -> None:
    run = make(tmp_path)
    accepted(run, raw(run, [{}]), bad=["2026-03-01:r1"])
    with pytest.raises(DataError, match="E-DEDUP-EMPTY"):
        deduplicate(run)
    assert run.ledger.publication(run.name, "clean", run.key) is None


def test_second_run_changes_nothing(tmp_path: Path) -> None:
    run = day(tmp_path, "2026-03-01", [same(), same(), {}])
    versions = {table: run.snapshot(table).version for table in ("clean", "duplicates")}
    summary = deduplicate(run)
    assert summary["state"] == "unchanged"
    assert summary["duplicate"] == 1
    assert {table: run.snapshot(table).version for table in versions} == versions


def test_corrected_file_replaces_the_partition(tmp_path: Path) -> None:
    day(tmp_path, "2026-03-01", [same(), same()])
    run = day(tmp_path, "2026-03-01", [{}, {}, {}])
    assert clean(run) == ["r1", "r2", "r3"]
    assert losers(run) == []
    assert accounting(run) == ("clean", 3, 3, 0, 0)


def test_rows_that_were_not_validated_are_refused(tmp_path: Path) -> None:
    run = day(tmp_path, "2026-03-01", [{}, {}])
    ingested(run, raw(run, [{}, {}, {}]))
    with pytest.raises(DataError, match="E-DEDUP-INPUT"):
        deduplicate(run)


def test_count_that_does_not_add_up_publishes_nothing(tmp_path: Path) -> None:
    run = make(tmp_path)
    rows = raw(run, [{}, {}])
    published = accepted(run, rows)
    facts = {"read": 3}
    run.ledger.record_publication(
        run.name,
        "raw",
        run.key,
        run_id="run-2",
        facts=facts,
        **{name: published[name] for name in ("delta_version", "input_digest", "content_digest", "row_count")},
    )
    with pytest.raises(DataError, match=r"E-ACC-BALANCE.* 3 rows .* 2 \+ 0 \+ 0 = 2"):
        deduplicate(run)
    assert run.ledger.publication(run.name, "clean", run.key) is None


def test_row_in_two_places_is_noticed(tmp_path: Path) -> None:
    """The counts agree here; only the ids show it."""
    run = make(tmp_path)
    accepted(run, raw(run, [{}, {"row_id": "2026-03-01:x1"}]), refused=[["TYPE: x"]])
    with pytest.raises(DataError, match="2 distinct row ids for 3 rows"):
        deduplicate(run)


def test_absent_partition_is_skipped(tmp_path: Path) -> None:
    run = make(tmp_path)
    run.ledger.set_accounting(
        run.name, run.key, state="absent", read=0, clean=0, quarantined=0, duplicate=0, reason=None, run_id="run-1"
    )
    assert deduplicate(run)["state"] == "skipped"


@pytest.mark.parametrize("point", ["dedup.mid", "duplicates.after_commit", "clean.after_commit"])
def test_crash_then_retry_ends_as_if_nothing_had_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    rows = [same(), same(), {}]
    quiet = day(tmp_path / "quiet", "2026-03-01", rows)
    run = make(tmp_path / "crash")
    accepted(run, raw(run, rows))
    monkeypatch.setenv("NIGHTSHIFT_FAILPOINT", f"{point}=error")
    with pytest.raises(OSError, match="failpoint"):
        deduplicate(run)
    monkeypatch.delenv("NIGHTSHIFT_FAILPOINT")
    deduplicate(run)
    for table in ("clean", "duplicates"):
        assert read(run, table) == read(quiet, table)
        assert run.content_digests(table, [run.key]) == quiet.content_digests(table, [run.key])
    assert accounting(run) == accounting(quiet)
