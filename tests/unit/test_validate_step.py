from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.context import Context
from pipelines.deduplicate import deduplicate
from pipelines.errors import ConfigError, DataError
from pipelines.validate import validate
from tests.builders import utc
from tests.validating import POSITIVE, accounting, context, ingested, quarantined, raw, read, rule, write_suite

LOOSE = {"validate": {"max_quarantine_share": 0.9}}
KNOWN_COUNTRY = rule("COUNTRY_KNOWN", "expect_column_values_to_be_in_set", column="country", value_set=["DE", "FR"])
CARD_THERE = rule("CARD_THERE", "expect_column_values_to_not_be_null", column="card_id")


def page(run: Context) -> str:
    return (run.home.root / "reports" / run.name / "data_docs" / f"{run.key}.html").read_text()


def test_good_rows_leave_an_empty_stage_and_a_page(tmp_path: Path) -> None:
    run = context(tmp_path)
    ingested(run, raw(run, [{}, {}, {}]))
    summary = validate(run)
    assert (summary["state"], summary["rows"], summary["quarantined"], summary["rules"]) == ("done", 3, 0, 1)
    assert summary["data_docs"].endswith("reports/payments/data_docs/2026-03-01.html")
    assert quarantined(run) == {}
    assert "amount_eur must be at least 0" in page(run)


def test_row_is_quarantined_once_with_all_its_reasons(tmp_path: Path) -> None:
    run = context(tmp_path, [POSITIVE, KNOWN_COUNTRY, CARD_THERE], **LOOSE)
    rows = [{}, {"amount_eur": -3.5, "country": "X" * 200}, {"card_id": None}, {"country": None}]
    ingested(run, raw(run, rows))
    assert validate(run)["quarantined"] == 2
    assert quarantined(run) == {
        "2026-03-01:r2": [
            "AMOUNT_POSITIVE: amount_eur must be at least 0, got '-3.5'",
            "COUNTRY_KNOWN: country must be one of 'DE', 'FR', got '" + "X" * 77 + "...'",
        ],
        "2026-03-01:r3": ["CARD_THERE: card_id must not be null, got null"],
    }


def test_record_is_the_row_as_sorted_json(tmp_path: Path) -> None:
    run = context(tmp_path, **LOOSE)
    ingested(run, raw(run, [{"amount_eur": -1.0, "country": "Å", "is_fraud": None}, {}]))
    validate(run)
    (row,) = [row for row in read(run, "quarantine") if row["stage"] == "validate"]
    assert row["record"] == (
        '{"amount_eur": -1.0, "card_id": "c1", "country": "Å", "is_fraud": null, '
        '"paid_at": "2026-03-01 00:00:00+00:00", "payment_id": "p1"}'
    )
    assert (row["source_file"], row["source_line"]) == ("inbox/day.csv", 2)


def test_all_bad_rows_are_found_not_the_first_twenty(tmp_path: Path) -> None:
    """Great Expectations lists 20 unexpected rows unless it is asked for all."""
    run = context(tmp_path, **LOOSE)
    ingested(run, raw(run, [{"amount_eur": -1.0 if number % 2 else 1.0} for number in range(100)]))
    assert validate(run)["quarantined"] == 50
    assert len(quarantined(run)) == 50


def test_rows_are_named_right_whatever_their_order(tmp_path: Path) -> None:
    run = context(tmp_path, [rule("A", "expect_column_values_to_be_unique", column="payment_id")], **LOOSE)
    rows = raw(run, [{"payment_id": "x"}, {}, {"payment_id": "x"}, {}]).take([3, 1, 2, 0])
    ingested(run, rows)
    validate(run)
    assert sorted(quarantined(run)) == ["2026-03-01:r1", "2026-03-01:r3"]


def test_conditions_point_at_the_right_rows(tmp_path: Path) -> None:
    """A rule on a part of the rows must not count positions within that part."""
    condition = {"row_condition": 'country=="FR"', "condition_parser": "pandas"}
    rules = [rule("A", "expect_column_values_to_be_between", column="amount_eur", max_value=3, **condition)]
    run = context(tmp_path, rules, **LOOSE)
    ingested(run, raw(run, [{}, {}, {"amount_eur": 9.0}, {}]))  # FR are r2 (2.0) and r4 (4.0)
    validate(run)
    assert list(quarantined(run)) == ["2026-03-01:r4"]


def test_integers_above_two_to_the_53_are_compared_exactly(tmp_path: Path) -> None:
    rules = [rule("A", "expect_column_values_to_be_in_set", column="is_fraud", value_set=[9007199254740993])]
    run = context(tmp_path, rules, **LOOSE)
    rows = [{"is_fraud": 9007199254740993}, {"is_fraud": 9007199254740992}, {"is_fraud": None}]
    ingested(run, raw(run, rows))
    validate(run)
    assert list(quarantined(run)) == ["2026-03-01:r2"]


def test_times_are_compared_with_texts_of_the_suite(tmp_path: Path) -> None:
    rules = [rule("A", "expect_column_values_to_be_between", column="paid_at", max_value="2026-03-01T12:00:00")]
    run = context(tmp_path, rules, **LOOSE)
    ingested(run, raw(run, [{"paid_at": utc("2026-03-01T12:00")}, {"paid_at": utc("2026-03-01T12:01")}]))
    validate(run)
    assert list(quarantined(run)) == ["2026-03-01:r2"]


def test_warnings_are_recorded_only(tmp_path: Path) -> None:
    run = context(tmp_path, [POSITIVE | {"severity": "warning"}, KNOWN_COUNTRY | {"severity": "info"}])
    ingested(
        run, raw(run, [{"amount_eur": -1.0}, {"country": "??"}, {"card_id": "c2", "paid_at": utc("2026-03-01T12")}])
    )
    assert validate(run)["warnings"] == ["AMOUNT_POSITIVE: amount_eur must be at least 0 (1 rows are not)"]
    assert quarantined(run) == {}


# Each refuses the whole partition: rules, settings, raw rows, reasons of records refused by ingest, code, text.
REFUSALS: dict[str, tuple[Any, ...]] = {
    "no rows at all": ([POSITIVE], {}, [], [], "E-DQ-EMPTY", "no rows"),
    "column without a value": ([POSITIVE], {}, [{"country": None}] * 3, [], "E-DQ-NULLS", "'country'"),
    "fewer rows than wanted": ([POSITIVE], {"volume": {"min_rows": 4}}, [{}] * 3, [], "E-DQ-VOLUME", "at least 4"),
    "stale": ([POSITIVE], {"max_age_hours": 6}, [{}] * 3, [], "E-DQ-FRESHNESS", "18:00 UTC"),
    "too many bad rows": ([POSITIVE], {}, [{"amount_eur": -1.0}, {}], [], "E-DQ-QUARANTINE", "50.0% (1 of 2; AMOUNT_"),
    "bad rows of ingest count": (
        [POSITIVE],
        {"max_quarantine_share": 0.5},
        [{"amount_eur": -1.0}, {}],
        [["TYPE: x", "RANGE: y"], ["TYPE: z"]],
        "E-DQ-QUARANTINE",
        "75.0% (3 of 4; TYPE 2, ",
    ),
    "every row bad": ([POSITIVE], {"max_quarantine_share": 1.0}, [{"amount_eur": -1.0}], [], "E-DQ-QUARANTINE", "100"),
    "table rule": (
        [rule("MEAN", "expect_column_mean_to_be_between", column="amount_eur", max_value=1)],
        {},
        [{}, {}],
        [],
        "E-DQ-RULE",
        "MEAN: amount_eur must have a mean at most 1, got 1.5",
    ),
    "too few good rows for mostly": (
        [POSITIVE | {"kwargs": {**POSITIVE["kwargs"], "mostly": 0.75}}],
        {"max_quarantine_share": 1.0},
        [{"amount_eur": -1.0}, {}],
        [],
        "E-DQ-RULE",
        "1 bad rows (50 %)",
    ),
    "rule that cannot judge": (
        [rule("ORDER", "expect_column_values_to_be_between", "warning", column="country", max_value=3)],
        {},
        [{}, {}],
        [],
        "E-DQ-RULE-ERROR",
        "ORDER could not be judged",
    ),
}


@pytest.mark.parametrize(("rules", "settings", "rows", "refused", "code", "text"), REFUSALS.values(), ids=REFUSALS)
def test_refused_partition_is_in_quarantine_completely(
    tmp_path: Path, rules: Any, settings: Any, rows: Any, refused: Any, code: str, text: str
) -> None:
    run = context(tmp_path, rules, validate=settings)
    ingested(run, raw(run, rows), refused)
    with pytest.raises(DataError) as caught:
        validate(run)
    assert caught.value.code == code
    assert text in str(caught.value)
    read_rows = len(rows) + len(refused)
    assert accounting(run) == ("refused", read_rows, 0, read_rows, 0)
    found = quarantined(run)
    assert len(found) == len(rows)
    assert all(reasons[-1].startswith("PARTITION_REFUSED: ") for reasons in found.values())
    assert code in page(run)
    assert run.ledger.publication(run.name, "clean", run.key) is None


def test_mostly_that_is_reached_only_quarantines(tmp_path: Path) -> None:
    run = context(tmp_path, [POSITIVE | {"kwargs": {**POSITIVE["kwargs"], "mostly": 0.5}}], **LOOSE)
    ingested(run, raw(run, [{"amount_eur": -1.0}, {}]))
    assert validate(run)["quarantined"] == 1


def test_reasons_of_a_row_stand_before_the_refusal(tmp_path: Path) -> None:
    run = context(tmp_path)
    ingested(run, raw(run, [{"amount_eur": -1.0}, {}]))
    with pytest.raises(DataError):
        validate(run)
    bad, good = quarantined(run).values()
    assert [reason.partition(":")[0] for reason in bad] == ["AMOUNT_POSITIVE", "PARTITION_REFUSED"]
    assert [reason.partition(":")[0] for reason in good] == ["PARTITION_REFUSED"]


def test_refused_partition_is_refused_again_without_a_new_commit(tmp_path: Path) -> None:
    run = context(tmp_path)
    ingested(run, raw(run, [{"amount_eur": -1.0}, {}]))
    with pytest.raises(DataError) as first:
        validate(run)
    version = run.snapshot("quarantine").version
    with pytest.raises(DataError) as second:
        validate(run)
    assert str(second.value) == str(first.value)
    assert run.snapshot("quarantine").version == version
    with pytest.raises(DataError, match="E-DEDUP-INPUT"):
        deduplicate(run)


def test_corrected_file_is_accepted_after_a_refusal(tmp_path: Path) -> None:
    run = context(tmp_path)
    ingested(run, raw(run, [{"amount_eur": -1.0}, {}]))
    with pytest.raises(DataError):
        validate(run)
    ingested(run, raw(run, [{}, {}]))
    assert validate(run)["quarantined"] == 0
    deduplicate(run)
    assert quarantined(run) == {}
    assert accounting(run) == ("clean", 2, 2, 0, 0)


def test_second_run_changes_nothing(tmp_path: Path) -> None:
    run = context(tmp_path)
    ingested(run, raw(run, [{}, {}]))
    first, version = validate(run), run.snapshot("quarantine").version
    assert validate(run) == {**first, "state": "unchanged"}
    assert run.snapshot("quarantine").version == version


def test_changed_suite_is_applied(tmp_path: Path) -> None:
    run = context(tmp_path, **LOOSE)
    ingested(run, raw(run, [{"country": "??"}, {}]))
    assert validate(run)["quarantined"] == 0
    write_suite(tmp_path, [KNOWN_COUNTRY])
    assert validate(run)["quarantined"] == 1


def test_volume_is_judged_against_accepted_days(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        run = context(tmp_path, partition=f"2026-03-0{number}")
        ingested(run, raw(run, [{}] * 20))
        validate(run)
        deduplicate(run)
    small = context(tmp_path, partition="2026-03-04")
    ingested(small, raw(small, [{}] * 3))
    with pytest.raises(DataError, match=r"E-DQ-VOLUME.*between 4 and 100 rows.*got 3"):
        validate(small)


def test_partition_above_the_row_limit_is_a_setting_error(tmp_path: Path) -> None:
    run = context(tmp_path, validate={"gx_row_limit": 2})
    ingested(run, raw(run, [{}, {}, {}]))
    with pytest.raises(ConfigError, match=r"E-DQ-ROW-LIMIT.*at least the 3 rows.*got 2"):
        validate(run)


def test_partition_that_was_never_ingested_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"E-DQ-INPUT.*Run 'ingest' first"):
        validate(context(tmp_path))


def test_absent_partition_is_skipped(tmp_path: Path) -> None:
    run = context(tmp_path)
    counts = dict.fromkeys(("read", "clean", "quarantined", "duplicate"), 0)
    run.ledger.set_accounting(run.name, run.key, state="absent", reason=None, run_id="run-1", **counts)
    assert validate(run)["state"] == "skipped"


def test_pages_hold_no_text_value_and_load_nothing(tmp_path: Path) -> None:
    run = context(tmp_path, [KNOWN_COUNTRY], **LOOSE)
    ingested(run, raw(run, [{"country": "Canary<b>Secret"}, {}]))
    summary = validate(run)
    html = page(run)
    assert "Xxxxxx&lt;x&gt;Xxxxxx" in html
    assert "Canary" not in html + json.dumps(summary)
    assert "http" not in html
    assert "<script" not in html
    assert run.key in (run.home.root / "reports" / run.name / "data_docs" / "index.html").read_text()


@pytest.mark.parametrize("point", ["validate.mid", "quarantine.after_write", "quarantine/validate.after_commit"])
def test_crash_then_retry_ends_as_if_nothing_had_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    results = []
    for name in ("quiet", "crash"):
        run = context(tmp_path / name, [POSITIVE, KNOWN_COUNTRY])
        ingested(run, raw(run, [{"amount_eur": -1.0}, {}]))
        if name == "crash":
            monkeypatch.setenv("NIGHTSHIFT_FAILPOINT", f"{point}=error")
            with pytest.raises(OSError, match="failpoint"):
                validate(run)
            monkeypatch.delenv("NIGHTSHIFT_FAILPOINT")
        with pytest.raises(DataError) as caught:
            validate(run)
        digests = run.content_digests("quarantine/validate", [run.key])
        results.append((str(caught.value), digests, quarantined(run), accounting(run), page(run)))
    assert results[0] == results[1]
