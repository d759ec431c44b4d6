"""Which earlier partitions matter, whether they are settled, and what became stale."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.context import Context
from pipelines.errors import DataError
from pipelines.features import build_features
from pipelines.history import (
    feature_partitions,
    history_partitions,
    require_history,
    stale_partitions,
    unsettled_history,
)
from pipelines.report.nights import EVER
from tests.builders import context, payments, pipeline, put, utc
from tests.unit.test_features_names import COUNT, group

WINDOWS = {"groups": [group(COUNT)], "lookback": "2d"}
PASSED = {"columns": ["amount_eur"], "lookback": "2d"}
FILL = {"amount_eur": {"strategy": "forward_fill", "entity": ["card_id"]}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"features": PASSED}, [], id="nothing-looks-back"),
        pytest.param({"features": WINDOWS}, ["2026-03-08", "2026-03-09"], id="windows"),
        pytest.param(
            {"features": PASSED, "training": {"task": "binary", "missing": FILL}},
            ["2026-03-08", "2026-03-09"],
            id="forward-fill",
        ),
        pytest.param({"features": PASSED, "deduplicate": {"lookback_partitions": 1}}, ["2026-03-09"], id="duplicates"),
        pytest.param(
            {"features": WINDOWS, "deduplicate": {"lookback_partitions": 3}},
            ["2026-03-07", "2026-03-08", "2026-03-09"],
            id="the-longer-of-both",
        ),
        pytest.param({"features": WINDOWS, "start": "2026-03-09"}, ["2026-03-09"], id="nothing-before-the-start"),
        pytest.param({"features": WINDOWS, "start": "2026-03-10"}, [], id="first-partition-has-no-history"),
        pytest.param(
            {"features": WINDOWS | {"lookback": "25h"}}, ["2026-03-08", "2026-03-09"], id="part-of-a-day-is-a-day"
        ),
        pytest.param({"features": WINDOWS | {"lookback": "24h"}}, ["2026-03-09"], id="a-day-is-one-day"),
    ],
)
def test_history_of_a_day(changes: dict[str, Any], expected: list[str]) -> None:
    settings = pipeline(**({"start": "2026-01-01"} | changes))
    assert history_partitions(settings, settings.parse("2026-03-10")) == expected


def test_day_after_a_short_night_needs_one_day_more() -> None:
    """On 2026-03-29 Berlin has 23 hours, so that 24 hours before the next midnight lie two dates back."""
    settings = pipeline(timezone="Europe/Berlin", features=WINDOWS | {"lookback": "24h"})
    assert feature_partitions(settings, settings.parse("2026-03-30")) == ["2026-03-28", "2026-03-29", "2026-03-30"]


@pytest.mark.parametrize(
    ("grain", "key", "expected"),
    [
        pytest.param("hour", "2026-03-10T01", ["2026-03-09T23", "2026-03-10T00", "2026-03-10T01"], id="hours"),
        pytest.param("week", "2026-03-09", ["2026-03-02", "2026-03-09"], id="weeks"),
        pytest.param("month", "2026-03-01", ["2026-02-01", "2026-03-01"], id="months"),
    ],
)
def test_look_back_in_other_grains(grain: str, key: str, expected: list[str]) -> None:
    settings = pipeline(
        start="2026-01-01",
        partition=grain,
        features={"groups": [group(COUNT | {"windows": ["2h"]})], "lookback": "2h"},
    )
    assert feature_partitions(settings, settings.parse(key)) == expected


def settle(run: Context, key: str, state: str) -> None:
    counts = dict.fromkeys(("read", "clean", "quarantined", "duplicate"), 0)
    run.ledger.set_accounting(run.name, key, state=state, reason=None, run_id="r", **counts)


def test_refused_and_absent_partitions_are_settled_and_unfinished_ones_are_not(tmp_path: Path) -> None:
    run = context(tmp_path, "2026-03-05", features=WINDOWS | {"lookback": "4d"})
    for key, state in [("2026-03-01", "clean"), ("2026-03-02", "refused"), ("2026-03-03", "absent")]:
        settle(run, key, state)
    assert unsettled_history(run) == ["2026-03-04"]
    settle(run, "2026-03-05", "clean")  # its own state does not matter
    assert unsettled_history(run) == ["2026-03-04"]
    settle(run, "2026-03-04", "clean")
    require_history(run)


def test_missing_history_names_the_partitions_and_the_command(tmp_path: Path) -> None:
    run = context(tmp_path, "2026-03-04", features=WINDOWS | {"lookback": "3d"})
    settle(run, "2026-03-02", "clean")
    with pytest.raises(
        DataError,
        match=r"E-HISTORY-MISSING payments 2026-03-04: .* 2 never ran or did not finish: '2026-03-01', '2026-03-03'\. "
        r"Run: nightshift run payments --from 2026-03-01 --to 2026-03-03",
    ):
        require_history(run)


def _day(run: Context, key: str, *ids: str) -> Context:
    day = replace(run, partition=run.pipeline.parse(key))
    rows = [
        {"row_id": row_id, "payment_id": row_id, "card_id": "c1", "paid_at": utc(f"{key}T10:00:00")} for row_id in ids
    ]
    put(day, "clean", payments(rows, partition=key))
    return day


def _stale(run: Context) -> list[str]:
    return sorted(stale_partitions(run.ledger, {run.name: ("", EVER)}).get(run.name, set()))


def test_late_data_makes_the_following_days_stale_until_they_are_built_again(tmp_path: Path) -> None:
    run = context(tmp_path, features=WINDOWS)
    days = [_day(run, f"2026-03-0{n}", f"r{n}") for n in range(1, 6)]
    for day in days:
        build_features(day)
    assert _stale(run) == []
    _day(run, "2026-03-02", "r2", "late")
    assert _stale(run) == ["2026-03-02", "2026-03-03", "2026-03-04"]
    for day in days[1:4]:
        assert build_features(day)["state"] == "done"
    assert _stale(run) == []


def test_day_that_was_missing_and_then_came_makes_later_days_stale(tmp_path: Path) -> None:
    run = context(tmp_path, features=WINDOWS)
    build_features(_day(run, "2026-03-02", "r2"))
    _day(run, "2026-03-01", "r1")
    assert _stale(run) == ["2026-03-02"]


def test_corrected_day_is_unsettled_until_it_was_judged_again(tmp_path: Path) -> None:
    today = context(tmp_path, "2026-03-02", features=WINDOWS)
    yesterday = replace(today, partition=today.pipeline.parse("2026-03-01"))
    counts = {"read": 1, "clean": 1, "quarantined": 0, "duplicate": 0, "reason": None, "run_id": "r"}
    put(yesterday, "raw", payments([{"row_id": "a"}]))
    yesterday.ledger.set_accounting(today.name, "2026-03-01", state="clean", **counts)
    assert unsettled_history(today) == []
    put(yesterday, "raw", payments([{"row_id": "b"}]))  # the corrected file was read, nothing more yet
    assert unsettled_history(today) == ["2026-03-01"]
    yesterday.ledger.set_accounting(today.name, "2026-03-01", state="clean", **counts)
    assert unsettled_history(today) == []
