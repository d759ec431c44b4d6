from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.settings.validation import Volume
from pipelines.validate import checks
from tests.validating import context, raw


@pytest.mark.parametrize(
    ("read", "history", "refused"),
    [
        pytest.param(0, [], True, id="below min_rows without history"),
        pytest.param(1, [100, 100], False, id="short history is not judged"),
        pytest.param(19, [100, 100, 100], True, id="less than a fifth"),
        pytest.param(20, [100, 100, 100], False, id="just a fifth"),
        pytest.param(500, [100, 100, 100], False, id="just five times"),
        pytest.param(501, [100, 100, 100], True, id="more than five times"),
        pytest.param(40, [1000, 1000, 100, 100, 100], False, id="only the last three count"),
    ],
)
def test_volume_is_judged_against_the_median(read: int, history: list[int], refused: bool) -> None:
    problem = checks.volume(read, history, Volume(history_partitions=3))
    assert (problem is not None) is refused
    assert problem is None or problem.code == "E-DQ-VOLUME"


def test_volume_history_is_earlier_and_accepted() -> None:
    rows = [
        {"partition": "2026-03-01", "state": "clean", "read": 10},
        {"partition": "2026-03-02", "state": "refused", "read": 0},
        {"partition": "2026-03-03", "state": "absent", "read": 0},
        {"partition": "2026-03-04", "state": "clean", "read": 12},
        {"partition": "2026-03-05", "state": "clean", "read": 900},
    ]
    assert checks.volume_history(rows, "2026-03-05") == [10, 12]


def test_column_without_a_value_is_named(tmp_path: Path) -> None:
    run = context(tmp_path)
    problem = checks.nulls(raw(run, [{"amount_eur": None}, {"amount_eur": float("nan")}]), run.pipeline)
    assert problem is not None
    assert problem.code == "E-DQ-NULLS"
    assert "'amount_eur'" in problem.what


@pytest.mark.parametrize(
    ("value", "changes"),
    [
        pytest.param({"is_fraud": None}, {}, id="labels may arrive later"),
        pytest.param({}, {}, id="values are there"),
    ],
)
def test_column_that_may_be_empty_is_accepted(tmp_path: Path, value: dict[str, Any], changes: dict[str, Any]) -> None:
    run = context(tmp_path, **changes)
    assert checks.nulls(raw(run, [value, value]), run.pipeline) is None


def test_one_value_is_enough(tmp_path: Path) -> None:
    run = context(tmp_path)
    assert checks.nulls(raw(run, [{"country": None}, {"country": "DE"}]), run.pipeline) is None


def test_oddities_are_constant_columns_and_missing_labels(tmp_path: Path) -> None:
    run = context(tmp_path)
    rows = raw(run, [{"is_fraud": None, "country": "DE"}, {"is_fraud": None, "country": None}])
    assert checks.oddities(rows, run.pipeline) == [
        "label 'is_fraud' has no value yet",
        "column 'card_id' is constant",
        "column 'paid_at' is constant",
    ]


@pytest.mark.parametrize(
    ("age_hours", "limit", "refused"),
    [(5, 6, False), (6, 6, False), (7, 6, True), (7, None, False)],
    ids=["young", "just young enough", "too old", "not asked"],
)
def test_freshness_is_measured_from_the_end(tmp_path: Path, age_hours: int, limit: int | None, refused: bool) -> None:
    run = context(tmp_path, validate={"max_age_hours": limit})
    rows = raw(run, [{}, {"paid_at": run.partition.end - timedelta(hours=age_hours)}])
    problem = checks.freshness(rows, run.pipeline, run.partition)
    assert (problem is not None) is refused
    assert problem is None or problem.code == "E-DQ-FRESHNESS"


@pytest.mark.parametrize(
    ("read", "bad", "most", "refused"),
    [(10, 1, 0.1, False), (10, 2, 0.1, True), (10, 10, 1.0, True), (10, 9, 1.0, False), (0, 0, 0.1, False)],
    ids=["just allowed", "too many", "none good", "one good", "no rows"],
)
def test_share_of_bad_rows(read: int, bad: int, most: float, refused: bool) -> None:
    problem = checks.quarantine_share(read, bad, {"A": 1, "B": 7}, most)
    assert (problem is not None) is refused
    assert problem is None or "B 7, A 1" in problem.what
