"""What the pages say, as plain facts: late nights, trends, needs, the calendar, drift of columns."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from pipelines.pages import calendar_grid
from pipelines.pages.drift_map import drift_map
from pipelines.partitions import Grain, parse_partition
from pipelines.report.lateness import missing, newest_due
from pipelines.report.needs import needs, plain
from pipelines.report.trend import champion_changes, quality
from tests.builders import pipeline, utc


@pytest.mark.parametrize(
    ("settings", "now", "due"),
    [
        pytest.param({}, "2026-03-05T03:30:00", "2026-03-04", id="the night before, an hour after its tick"),
        pytest.param({}, "2026-03-05T02:30:00", "2026-03-03", id="half an hour is no delay yet"),
        pytest.param({}, "2026-03-01T12:00:00", None, id="the first day has not ended"),
        pytest.param({"schedule": None}, "2026-03-05T03:30:00", None, id="nothing is due without a schedule"),
        pytest.param({"end": "2026-03-02"}, "2026-05-01T00:00:00", "2026-03-02", id="the feed has ended"),
        pytest.param({"timezone": "America/New_York"}, "2026-03-05T07:30:00", "2026-03-03", id="2:30 in New York"),
        pytest.param({"partition": "hour"}, "2026-03-05T03:30:00", "2026-03-05T01", id="the hour before the last tick"),
        pytest.param({"partition": "week"}, "2026-03-10T00:00:00", "2026-03-02", id="the week that ended on Sunday"),
        pytest.param({"partition": "month"}, "2026-05-02T00:00:00", "2026-04-01", id="April"),
    ],
)
def test_newest_due_partition_follows_the_schedule(settings: dict[str, Any], now: str, due: str | None) -> None:
    found = newest_due(pipeline(**settings), utc(now))
    assert (found and found.key) == due


def test_missing_names_gaps_and_what_has_not_come() -> None:
    now = utc("2026-03-06T04:00:00")
    assert missing(pipeline(), {"2026-03-01", "2026-03-03"}, now) == ["2026-03-02", "2026-03-04", "2026-03-05"]
    assert missing(pipeline(), {"2026-03-04", "2026-03-05"}, now) == []
    assert missing(pipeline(), set(), now) == []  # it never ran, which is not late


def _night(day: int, value: float | None = None, **more: Any) -> dict[str, Any]:
    realised = None
    if value is not None:
        drop = round(0.9 - value, 6)
        realised = {"metric": "roc_auc", "value": value, "holdout": 0.9, "drop": drop}
        realised |= {"drop_low": drop - 0.02, "drop_high": drop + 0.02}
    numbers = {"realised": realised, "estimated": {"accuracy": 0.99, "roc_auc": 0.7}}
    return {"partition": f"2026-03-{day:02d}", "model": 1, "drift_numbers": numbers} | more


@pytest.mark.parametrize(
    ("values", "word"),
    [([0.85, 0.80], "worse"), ([0.80, 0.85], "better"), ([0.80, 0.81], "same"), ([0.85], None)],
    ids=["worse", "better", "within its own doubt", "one value"],
)
def test_quality_is_compared_with_the_oldest_night_shown(values: list[float], word: str | None) -> None:
    found = quality([_night(day, value) for day, value in enumerate(values, start=1)][::-1])
    assert found is not None
    assert (found["metric"], found["newest"], found["is_estimate"]) == ("roc_auc", values[-1], False)
    assert (found["change"] and found["change"]["word"]) == word
    if word:
        assert (found["change"]["before"], found["change"]["nights"]) == (values[0], 1)


def test_less_of_a_loss_is_better() -> None:
    def night(day: int, value: float) -> dict[str, Any]:
        loss = {"metric": "log_loss", "value": value, "holdout": 0.3, "drop": value - 0.3}
        loss |= {"drop_low": value - 0.31, "drop_high": value - 0.29}
        return {"partition": f"2026-03-0{day}", "model": 1, "drift_numbers": {"realised": loss}}

    found = quality([night(2, 0.4), night(1, 0.5)])
    assert found is not None
    assert found["change"] == {"word": "better", "before": 0.5, "nights": 1}


def test_quality_keeps_gaps_and_says_what_is_an_estimate() -> None:
    found = quality([_night(3, 0.8), _night(2), _night(1, 0.9)])
    assert found is not None
    assert (found["values"], found["estimated"]) == ([0.9, None, 0.8], [0.7, 0.7, 0.7])
    guessed = quality([_night(2), _night(1)])
    assert guessed is not None
    assert (guessed["metric"], guessed["is_estimate"], guessed["values"]) == ("roc_auc", True, [0.7, 0.7])
    assert quality([{"partition": "2026-03-01", "model": None, "drift_numbers": {}}]) is None


def test_a_champion_change_is_where_another_version_scores() -> None:
    nights = [_night(day, model=model) for day, model in ((1, None), (2, 1), (3, None), (4, 1), (5, 2))]
    assert champion_changes(nights[::-1]) == {"2026-03-05": "v2"}


_QUIET: dict[str, Any] = {"partition": "2026-03-02", "state": "released", "error": None, "step": None}
_QUIET |= {"drift": "OK", "drift_reasons": [], "model": 2}
_FINE: dict[str, Any] = {
    "pipeline": "p",
    "nights": [_QUIET],
    "missing": [],
    "stale": [],
    "waiting": None,
    "retrain": {"state": "done", "error": None, "step": "promote", "run_id": "r"},
    "champion": 2,
    "problem": "",
}
_REFUSED = _QUIET | {"state": "refused", "step": "validate"}
_ASKED = _QUIET | {"partition": "2026-03-01", "drift": "RETRAIN", "drift_reasons": ["QUALITY fell."]}
_REFUSED |= {"error": "E-DQ-EMPTY p 2026-03-02: no rows came. Send the file again."}


@pytest.mark.parametrize(
    ("changed", "kind", "short", "command"),
    [
        pytest.param(
            {"nights": [_REFUSED, _REFUSED | {"partition": "2026-03-01"}]},
            "refused",
            "was refused at validate on 2026-03-02",
            "",
            id="refused",
        ),
        pytest.param(
            {"missing": ["2026-03-03", "2026-03-04"]},
            "late",
            "is late: 2026-03-03 to 2026-03-04 have not come",
            "nightshift run p --from 2026-03-03 --to 2026-03-04",
            id="late",
        ),
        pytest.param(
            {"waiting": {"model_version": 3, "reasons": ["waits for a person"], "run_id": "r"}},
            "approval",
            "asks whether version 3 may become champion",
            "",
            id="approval",
        ),
        pytest.param(
            {"stale": ["2026-03-01"]},
            "stale",
            "has nights built from inputs that changed",
            "nightshift run p --from 2026-03-01 --to 2026-03-01",
            id="stale",
        ),
        pytest.param(
            {"retrain": {"state": "failed", "error": "E-MODEL-NAN p: no number.", "step": "train", "run_id": "r"}},
            "retrain",
            "could not retrain (train stopped)",
            "",
            id="retrain",
        ),
        pytest.param(
            {"nights": [_QUIET, _ASKED]},
            "drift",
            "keeps version 2 although drift asked for a new model",
            "",
            id="the version that drift was about is still champion",
        ),
        pytest.param(
            {"problem": "E-CONFIG-UNKNOWN a.yaml:3: unknown key 'ower'."},
            "settings",
            "has settings that cannot be used",
            "nightshift check p",
            id="settings",
        ),
    ],
)
def test_each_trouble_says_what_to_do(changed: dict[str, Any], kind: str, short: str, command: str) -> None:
    (found,) = needs(_FINE | changed)
    assert (found["kind"], found["short"], found["command"]) == (kind, short, command)


def test_a_quiet_pipeline_needs_nothing() -> None:
    assert needs(_FINE) == []


def test_a_new_champion_settles_what_drift_asked_for() -> None:
    assert needs(_FINE | {"nights": [_QUIET, _ASKED | {"model": 1}]}) == []
    assert needs(_FINE | {"nights": [_ASKED | {"model": None}], "champion": None}) == []


def test_a_refused_night_is_told_in_plain_words() -> None:
    (found,) = needs(_FINE | {"nights": [_REFUSED, _REFUSED | {"partition": "2026-03-01"}]})
    assert found["text"] == (
        "The night 2026-03-02 was refused at validate: no rows came. Send the file again. 1 earlier night stopped, too."
    )
    assert plain("RuntimeError: disk full") == "RuntimeError: disk full"


def _period(key: str, grain: Grain, first: str, newest: str) -> tuple[str, str, str | None, str | None]:
    found = calendar_grid.period(parse_partition(key, grain), first, newest)
    return found.first, found.last, found.older, found.newer


@pytest.mark.parametrize(
    ("key", "grain", "first", "newest", "expected"),
    [
        (
            "2026-03-15",
            "day",
            "2025-01-01",
            "2026-06-02",
            ("2026-02-01", "2026-03-31", "2026-01-31", "2026-05-31"),
        ),
        ("2026-03-15", "day", "2026-02-01", "2026-03-31", ("2026-02-01", "2026-03-31", None, None)),
        (
            "2026-03-15T05",
            "hour",
            "2026-01-01T00",
            "2026-04-01T00",
            ("2026-03-09T00", "2026-03-15T23", "2026-03-08T23", "2026-03-22T23"),
        ),
        ("2026-03-02", "week", "2024-01-01", "2026-03-02", ("2026-01-05", "2026-12-28", "2025-12-29", None)),
        ("2026-03-01", "month", "2024-01-01", "2026-03-01", ("2024-01-01", "2026-12-01", None, None)),
    ],
    ids=[
        "two months of days",
        "nothing else is known",
        "seven days of hours",
        "a year of weeks",
        "three years of months",
    ],
)
def test_a_page_shows_one_period(
    key: str, grain: Grain, first: str, newest: str, expected: tuple[str, str, str | None, str | None]
) -> None:
    assert _period(key, grain, first, newest) == expected


@pytest.mark.parametrize("grain", ["hour", "day", "week", "month"])
def test_walking_back_leaves_no_partition_out(grain: Grain) -> None:
    key = "2026-03-01T00" if grain == "hour" else "2026-03-02" if grain == "week" else "2026-03-01"
    later = calendar_grid.period(parse_partition(key, grain), "2020-01-01", key)
    assert later.older is not None
    earlier = calendar_grid.period(parse_partition(later.older, grain), "2020-01-01", key)
    assert earlier.partitions[-1].shift(1).key == later.first
    assert earlier.newer is not None
    again = calendar_grid.period(parse_partition(earlier.newer, grain), "2020-01-01", "2030-01-01")
    assert again.last >= later.first


def test_days_stand_under_their_weekday() -> None:
    shown = calendar_grid.period(parse_partition("2026-03-15"), "2026-02-01", "2026-03-31")
    february, march = calendar_grid.blocks(shown.partitions, lambda one: {"key": one.key, "state": None})
    assert (february["title"], march["title"]) == ("February 2026", "March 2026")
    first_week = march["rows"][0][1]
    assert [cell and cell["key"] for cell in first_week] == [None] * 6 + ["2026-03-01"]  # a Sunday
    assert date(2026, 3, 1).weekday() == 6
    assert not calendar_grid.says_anything(march)


@pytest.mark.parametrize(
    ("grain", "key", "columns", "row"),
    [
        ("hour", "2026-03-15T05", 24, "2026-03-09"),
        ("week", "2026-03-02", 5, "2026-01"),
        ("month", "2026-03-01", 12, "2024"),
    ],
)
def test_other_grains_have_rows_of_their_own(grain: Grain, key: str, columns: int, row: str) -> None:
    shown = calendar_grid.period(parse_partition(key, grain), None, key)
    (block,) = calendar_grid.blocks(shown.partitions, lambda one: {"key": one.key, "state": "clean"})
    assert len(block["columns"]) == columns
    assert {len(cells) for _, cells in block["rows"]} == {columns}
    assert block["rows"][0][0] == row


def _watched(day: int, **columns: dict[str, Any]) -> dict[str, Any]:
    return {"partition": f"2026-03-0{day}", "drift_numbers": {"columns": columns}}


def test_drift_map_puts_the_most_important_column_on_top() -> None:
    amount = {"grade": "quiet", "importance": 0.2, "psi": 0.1, "psi_retrain": 0.2, "null_share": 0.0, "new_share": 0.0}
    country = amount | {"importance": 0.5, "psi": 0.3}
    dead = amount | {"importance": 0.1, "psi": 0.0, "grade": "alarm"}
    nights = [_watched(2, amount=amount, country=country, flag=dead), {"partition": "2026-03-01", "drift_numbers": {}}]
    found = drift_map(nights)
    assert found is not None
    assert (found["keys"], found["columns"]) == (["2026-03-01", "2026-03-02"], ["country", "amount", "flag"])
    # 0.3 of 0.2 allowed; 0.1 of 0.2; no shift at all, but an alarm for another reason is past the limit
    assert found["values"] == [[None, pytest.approx(1.5)], [None, 0.5], [None, 1.2]]
    assert [row["passed"] for row in found["rows"]] == [1, 0, 1]
    assert drift_map(nights[1:]) is None
