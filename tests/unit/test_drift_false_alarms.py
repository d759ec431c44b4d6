"""How often quiet partitions raise an alarm, and how often shifted ones do not: by simulation, seeded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from pipelines.monitoring.reference import ColumnReference, Reference, with_profile
from pipelines.monitoring.statistics import Bins, ColumnStatistics
from pipelines.monitoring.verdict import judge_partition
from pipelines.settings.monitor import Monitor

DAYS, COLUMNS, BINS, REFERENCE = 60, 20, 10, 28
EVEN = np.full(BINS, 1 / BINS)
Shares = Callable[[int], np.ndarray]


def steady(_day: int) -> np.ndarray:
    return EVEN


def weekly(day: int) -> np.ndarray:
    """Weekends put half as much into the lower half of the bins: PSI 0.21 against the mean of a week."""
    tilt = np.where(np.arange(BINS) < BINS / 2, 0.4 if day % 7 >= 5 else 1.0, 1.0)
    return tilt / tilt.sum()


def shifted(_day: int) -> np.ndarray:
    """A fifth of the rows moved from the lowest three bins to the highest one: PSI 0.47."""
    moved = EVEN.copy()
    moved[:3] -= 0.2 / 3
    moved[-1] += 0.2
    return moved


def weekend_on_a_monday(_day: int) -> np.ndarray:
    return weekly(5)


def grades(rows: int, reference: Shares, current: Shares, weekday: Callable[[int], int]) -> Counter[str]:
    random = np.random.default_rng(rows)
    bins = Bins("number", edges=tuple(float(edge) for edge in range(BINS - 1)))

    def column(chances: np.ndarray) -> ColumnStatistics:
        counts = tuple(int(count) for count in random.multinomial(rows, chances))
        return ColumnStatistics(rows, 0, counts, mean=4.5, std=2.9, minimum=-1.0, maximum=9.0)

    names = [f"x{number}" for number in range(COLUMNS)]
    days = [f"{day:03d}" for day in range(REFERENCE)]
    trained = with_profile(
        Reference(
            dict.fromkeys(days, rows),
            {name: ColumnReference(bins, tuple(column(reference(day)) for day in range(REFERENCE))) for name in names},
        ),
        {key: int(key) % 7 for key in days},
        "auto",
    )
    found = (
        judge_partition(trained, {name: column(current(day)) for name in names}, rows, {}, Monitor(), weekday(day))
        for day in range(DAYS)
    )
    return Counter(one.grade for one in found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "pattern"),
    [
        pytest.param(100, steady, id="small"),
        pytest.param(1_000, steady, id="medium"),
        pytest.param(100_000, steady, id="large"),
        pytest.param(100, weekly, id="small with weekends"),
        pytest.param(1_000, weekly, id="medium with weekends"),
        pytest.param(100_000, weekly, id="large with weekends"),
    ],
)
def test_quiet_days_stay_quiet(rows: int, pattern: Shares) -> None:
    """20 equally important columns over 60 days; one alarm and three days to look at are what the setting allows."""
    found = grades(rows, pattern, pattern, lambda day: day % 7)
    assert found["alarm"] <= 3
    assert found["watch"] <= 6


@pytest.mark.slow
@pytest.mark.parametrize("rows", [100, 1_000, 100_000])
def test_shifted_days_raise_an_alarm(rows: int) -> None:
    assert grades(rows, steady, shifted, lambda day: day % 7)["alarm"] == DAYS


@pytest.mark.slow
def test_a_weekend_on_a_monday_is_no_weekend() -> None:
    assert grades(1_000, weekly, weekend_on_a_monday, lambda _day: 0)["alarm"] == DAYS
