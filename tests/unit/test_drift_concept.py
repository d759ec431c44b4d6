"""Losses that rise for certain, and what scores expect before labels come."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.monitoring.change import LIMIT, risen
from pipelines.monitoring.concept import Losses, concept_drift, expected_quality
from pipelines.monitoring.measures import t_tail, usual_bound

LEVEL = [0.10, 0.11, 0.09, 0.10, 0.105, 0.095, 0.10, 0.11, 0.09, 0.10]


def losses(realised: list[float], expected: list[float] | None = None) -> Losses:
    days = [f"2026-03-{day:02d}" for day in range(1, 1 + max(len(realised), len(expected or [])))]
    return Losses(
        "the Brier score", dict(zip(days, realised, strict=False)), dict(zip(days, expected or [], strict=False))
    )


def test_first_surplus_by_hand() -> None:
    # 1, 2, 3 have mean 2 and spread 1; 4 lies (4 - 2) / (1 * sqrt(1 + 1/3)) = sqrt(3) above: t with 2 degrees exceeds
    # it with chance 1/2 - sqrt(3/5)/2 = 0.1127, a normal value 1.2124 does; less half a spread 0.7124.
    assert t_tail(2, np.sqrt(3)) == pytest.approx(0.1127, abs=1e-4)
    found = risen([1, 2, 3, 4], 0.0)
    assert found is not None
    assert (found.sum, found.start, found.before, found.since) == pytest.approx((0.7124, 3, 2.0, 4.0), abs=1e-3)


def test_three_values_tell_nothing() -> None:
    assert risen([1, 2, 30], 0.0) is None


def test_a_rise_is_found_and_dated() -> None:
    found = risen([*LEVEL, 0.14, 0.15, 0.14], 0.01)
    assert found is not None
    assert found.is_certain
    assert (found.start, found.before, found.since) == pytest.approx((10, 0.10, 0.1433), abs=1e-3)


@pytest.mark.parametrize(
    ("values", "least"),
    [
        pytest.param(LEVEL * 3, 0.01, id="level"),
        pytest.param([*LEVEL, 0.06, 0.05, 0.06, 0.05], 0.01, id="a fall is no rise"),
        pytest.param([0.1] * 10, 0.01, id="no spread at all"),
        pytest.param([*LEVEL, 0.102, 0.103, 0.102, 0.103, 0.102], 0.01, id="certain one day, but too small to count"),
        pytest.param([0.1 + day * 1e-6 for day in range(40)], 0.01, id="certain and far too small"),
    ],
)
def test_no_rise(values: list[float], least: float) -> None:
    found = risen(values, least)
    assert found is not None
    assert not found.is_certain


@given(st.lists(st.floats(0.01, 1.0), min_size=5, max_size=20), st.floats(0.1, 100.0))
def test_units_do_not_matter(values: list[float], scale: float) -> None:
    if np.std(values) < 1e-3:
        return
    one, other = risen(values, 0.05), risen([value * scale for value in values], 0.05 * scale)
    assert one is not None
    assert other is not None
    assert one.sum == pytest.approx(other.sum, rel=1e-3, abs=1e-3)


def test_quiet_series_seldom_alarm() -> None:
    """About one false alarm in 930 values; 40 series of 50 values hold two on average."""
    random = np.random.default_rng(5)
    sums = [found.sum for _ in range(40) if (found := risen(random.normal(1, 0.1, 50).tolist(), 0.0))]
    assert sum(one > LIMIT for one in sums) <= 4


def test_concept_drift_says_since_when() -> None:
    ((grade, reason),), numbers = concept_drift(losses([*LEVEL, 0.14, 0.15, 0.14]), 0.1)
    assert grade == "alarm"
    assert reason.startswith(
        "CONCEPT the Brier score of released scores on matured labels rose: 0.1433 since 2026-03-11, 0.1 before"
    )
    assert numbers["since"] == "2026-03-11"


@pytest.mark.parametrize(
    ("realised", "expected", "rise"),
    [
        pytest.param([*LEVEL, 0.14, 0.15, 0.14], [*LEVEL, 0.14, 0.15, 0.14], 0.1, id="hard cases, as scores expected"),
        pytest.param([*LEVEL, 0.14, 0.15, 0.14], None, None, id="not asked for"),
        pytest.param([], None, 0.1, id="no labels yet"),
    ],
)
def test_no_concept_drift(realised: list[float], expected: list[float] | None, rise: float | None) -> None:
    assert concept_drift(losses(realised, expected), rise)[0] == []


@pytest.mark.parametrize(
    ("today", "matured", "grade"),
    [
        pytest.param(0.105, 8, None, id="as ever"),
        pytest.param(0.20, 2, "watch", id="worse, but no labels have shown what an estimate is worth"),
        pytest.param(0.20, 8, "alarm", id="worse, and earlier estimates came true"),
    ],
)
def test_scores_that_expect_worse_quality(today: float, matured: int, grade: str | None) -> None:
    realised = [value + error for value, error in zip(LEVEL, [0.001, -0.001] * 5, strict=True)][:matured]
    found = expected_quality(losses(realised, [*LEVEL, today]), "2026-03-11", 0.1, 0.01)
    assert [one for one, _ in found] == ([grade] if grade else [])


def test_estimates_that_never_came_true_have_no_vote() -> None:
    realised = [0.3, 0.05, 0.25, 0.02, 0.3, 0.01, 0.2, 0.05]
    ((grade, _),) = expected_quality(losses(realised, [*LEVEL, 0.2]), "2026-03-11", 0.1, 0.01)
    assert grade == "watch"


def test_usual_bound_is_the_prediction_bound() -> None:
    # 1, 2, 3: mean 2, spread 1; t with 2 degrees of freedom is exceeded by 2.920 in 5 %: 2 + 2.920 * sqrt(4/3)
    assert usual_bound([1, 2, 3], 0.05) == pytest.approx(2 + 2.920 * np.sqrt(4 / 3), abs=1e-3)
    assert usual_bound([1, 2], 0.05) == np.inf
