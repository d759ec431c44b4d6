"""Partitions that look unlike those before them, in small feeds whose truth is known."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.context import Context
from pipelines.errors import DataError
from pipelines.validate import validate
from pipelines.validate.anomaly import Past, forecast_next, judge, limit_of
from pipelines.validate.profile import profile
from tests import builders
from tests.builders import utc
from tests.validating import accounting, context, ingested, raw

START = utc("2026-03-01")
ROWS = 200


def day(number: int, **changes: object) -> pa.Table:
    """One day of a feed: Sundays have half the rows, amounts grow by a percent a day."""
    random = np.random.default_rng(number)
    rows = ROWS // 2 if number % 7 == 6 else ROWS
    columns: dict[str, object] = {
        "amount": random.gamma(4.0, 5.0 * 1.01**number, rows).round(2),
        "country": random.choice(["DE", "FR", "NL"], rows, p=[0.6, 0.3, 0.1]),
        "code": [f"K{random.integers(100, 999)}" for _ in range(rows)],
        "flag": np.full(rows, int(number % 7 == 6)),
    }
    return pa.table(columns | changes)


def past(days: int) -> list[Past]:
    return [Past(str(number), number % 7, profile(day(number), START)) for number in range(days)]


HISTORY = past(40)


def cut(table: pa.Table, name: str, values: list[object]) -> pa.Table:
    """The first rows of a column replaced."""
    kept = table.column(name).to_pylist()
    return table.set_column(
        table.column_names.index(name), name, pa.array(values + kept[len(values) :], table.column(name).type)
    )


GOOD = day(40)
BAD = {
    "cents instead of euros": (cut(GOOD, "amount", [v * 100 for v in GOOD["amount"].to_pylist()[:40]]), "amount"),
    "a fifth without a value": (cut(GOOD, "country", [None] * 40), "country"),
    "unknown value floods": (cut(GOOD, "country", ["UNKNOWN"] * 20), "country"),
    "default floods": (cut(GOOD, "amount", [0.0] * 40), "amount"),
    "typing errors in codes": (cut(GOOD, "code", ["K1w3"] * 40), "code"),
    "cut-off file": (GOOD.slice(0, 80), ""),
    "flag mixed as never before": (cut(GOOD, "flag", [1] * 40), "flag"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_partition_is_found_and_its_column_named(case: str) -> None:
    table, column = BAD[case]
    judgement = judge(profile(table, START), 40 % 7, HISTORY)
    assert judgement.is_anomalous
    assert judgement.findings[0].column == column


@pytest.mark.parametrize("number", [40, 41, 48], ids=["weekday", "Sunday", "a week later"])
def test_next_days_of_a_growing_weekly_feed_are_quiet(number: int) -> None:
    judgement = judge(profile(day(number), START), number % 7, past(number))
    assert not judgement.is_anomalous
    assert judgement.findings == ()


def test_forecast_follows_what_came_nearest() -> None:
    """A constant, a week, and a trend: the same-weekday median and the shortest window win where they should."""
    seasons = [number % 7 for number in range(42)]
    table = np.array([[5.0, float(season), float(number)] for number, season in enumerate(seasons)])
    forecast = forecast_next(table, seasons, 0)
    assert forecast.expected.tolist() == [5.0, 0.0, 40.0]
    assert forecast.spread[:2].tolist() == [0.0, 0.0]


def test_one_bad_day_in_the_history_does_not_widen_the_limits() -> None:
    spoilt = [*HISTORY[:20], Past("20", 6, profile(BAD["default floods"][0], START)), *HISTORY[21:]]
    assert judge(profile(BAD["default floods"][0], START), 5, spoilt).is_anomalous


def test_limit_grows_slowly_with_the_number_of_statistics() -> None:
    assert limit_of(200) == 6
    assert limit_of(20) == limit_of(5) < 6 < limit_of(2000) < 7.5


# ---- in the step

_FEW = {"min_history": 14, "history_partitions": 30}


def accepted_days(root: Path, days: int, **validate_: object) -> Context:
    """The context of the day after `days` accepted ones of four rows each."""
    for number in range(1, days + 1):
        run = _run(root, number, validate_)
        ingested(run, raw(run, [{"amount_eur": 10.0 + (number + row) % 5} for row in range(8)]))
        run.ledger.set_accounting(
            run.name, run.key, state="clean", read=8, clean=8, quarantined=0, duplicate=0, reason=None, run_id="r"
        )
    return _run(root, days + 1, validate_)


def _run(root: Path, number: int, validate_: dict[str, object]) -> Context:
    return context(root, partition=f"2026-03-{number:02d}", validate={**_FEW, **validate_})


def unusual(run: Context) -> pa.Table:
    return raw(run, [{"amount_eur": 1000.0 + row} for row in range(8)])


def test_unusual_partition_is_a_warning_that_says_what_was_and_what_is(tmp_path: Path) -> None:
    run = accepted_days(tmp_path, 15)
    ingested(run, unusual(run))
    summary = validate(run)
    told = [text for text in summary["warnings"] if text.startswith("unlike before: amount_eur: ")]
    assert "in the last 15 accepted partitions" in told[0]
    facts = run.ledger.publication(run.name, "quarantine/validate", run.key)["facts"]["anomaly"]  # type: ignore[index]
    assert (facts["partitions"], facts["first"], facts["last"]) == (15, "2026-03-01", "2026-03-15")
    assert facts["score"] > facts["limit"]
    assert validate(run)["state"] == "unchanged"


def test_refused_partition_keeps_its_rows_and_says_how_to_accept_it(tmp_path: Path) -> None:
    run = accepted_days(tmp_path, 15, anomaly="refuse")
    ingested(run, unusual(run))
    for _ in range(2):
        with pytest.raises(DataError, match=r"E-DQ-ANOMALY .*amount_eur.*'validate\.accept'"):
            validate(run)
    assert accounting(run) == ("refused", 8, 0, 8, 0)
    again = _run(tmp_path, 16, {"anomaly": "refuse", "accept": ["2026-03-16"]})
    summary = validate(again)
    assert (summary["state"], summary["quarantined"]) == ("done", 0)
    assert summary["warnings"][-1].startswith("accepted by 'validate.accept' although amount_eur: ")


@pytest.mark.parametrize(
    ("days", "settings"),
    [(13, {}), (15, {"anomaly": "ignore"}), (15, {"history_start": "2026-03-05"})],
    ids=["too little history", "switched off", "history begins anew"],
)
def test_nothing_is_said(tmp_path: Path, days: int, settings: dict[str, object]) -> None:
    run = accepted_days(tmp_path, days, **settings)
    ingested(run, unusual(run))
    assert [text for text in validate(run)["warnings"] if "unlike" in text] == []


def test_only_accepted_earlier_partitions_count(tmp_path: Path) -> None:
    """A refused day and one that comes later are no history, so the same day is judged alike whenever it runs."""
    accepted_days(tmp_path, 18)
    run = _run(tmp_path, 16, {})
    run.ledger.set_accounting(
        run.name, "2026-03-15", state="refused", read=8, clean=0, quarantined=8, duplicate=0, reason="x", run_id="r"
    )
    validate(run)
    facts = run.ledger.publication(run.name, "quarantine/validate", run.key)["facts"]["anomaly"]  # type: ignore[index]
    assert (facts["partitions"], facts["last"]) == (14, "2026-03-14")


def test_lost_profiles_are_made_again_from_the_rows(tmp_path: Path) -> None:
    run = accepted_days(tmp_path, 15)
    ingested(run, unusual(run))
    first = validate(run)["warnings"]
    run.home.files("profiles").remove_folder(run.name)
    (run.home.root / "reports" / run.name / "data_docs" / f"{run.key}.html").unlink()
    assert validate(run)["warnings"] == first


def test_profile_that_was_replaced_goes_when_no_run_can_ask_for_it(tmp_path: Path) -> None:
    """Of corrected rows and of older versions: after a day the next profile of the partition takes them away."""
    run = accepted_days(tmp_path, 15)
    files = run.home.files("profiles", run.name)
    for name, age_s in (("old", 90_000), ("young", 3_600)):
        files.write(f"{run.key}/{name}.json", b"{}")
        moment = time.time() - age_s
        os.utime(files.address(f"{run.key}/{name}.json"), (moment, moment))
    ingested(run, unusual(run))
    validate(run)
    kept = {entry.name.rpartition("/")[2] for entry in files.entries(f"{run.key}/")}
    assert len(kept) == 2
    assert "young.json" in kept


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accept": ["2026-3-4"]}, "a day must be written like '2026-03-02', got '2026-3-4'"),
        ({"history_start": "yesterday"}, "a day must be written like '2026-03-02', got 'yesterday'"),
        ({"history_partitions": 20}, "'history_partitions' must be at least 'min_history' 60, got 20"),
        ({"anomaly": "ignore", "accept": ["2026-03-04"]}, "mean nothing with 'anomaly: ignore'"),
        ({"min_history": 3}, "greater than or equal to 14"),
    ],
    ids=["no such partition", "no date", "less history than needed", "nothing to accept", "too little to judge by"],
)
def test_senseless_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        builders.pipeline(validate=settings)
