"""How often quiet partitions raise an alarm, and how often shifted ones do not: by simulation, seeded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from pipelines.monitoring.reference import ColumnReference, Reference
from pipelines.monitoring.statistics import Bins, ColumnStatistics
from pipelines.monitoring.verdict import judge_partition
from pipelines.settings.pipeline import Monitor

DAYS, COLUMNS, BINS = 200, 20, 10
EVEN = np.full(BINS, 1 / BINS)
Chances = Callable[[int], np.ndarray]


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


def grades(rows: int, reference: Chances, current: Chances) -> Counter[str]:
    random = np.random.default_rng(rows)
    bins = Bins("number", edges=tuple(float(edge) for edge in range(BINS - 1)))

    def column(chances: np.ndarray) -> ColumnStatistics:
        counts = tuple(int(count) for count in random.multinomial(rows, chances))
        return ColumnStatistics(rows, 0, counts, mean=4.5, std=2.9, minimum=-1.0, maximum=9.0)

    names = [f"x{number}" for number in range(COLUMNS)]
    trained = Reference(
        {f"{day:03d}": rows for day in range(14)},
        {name: ColumnReference(bins, tuple(column(reference(day)) for day in range(14))) for name in names},
    )
    found = (
        judge_partition(trained, {name: column(current(day)) for name in names}, rows, {}, Monitor())
        for day in range(DAYS)
    )
    return Counter(one.grade for one in found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "pattern", "most_alarms", "most_watched"),
    [
        pytest.param(100, steady, 1, 4, id="small"),
        pytest.param(1_000, steady, 0, 4, id="medium"),
        pytest.param(100_000, steady, 0, 0, id="large"),
        # 14 partitions hold four weekend days, so what is usual on them is known least where chance is large.
        pytest.param(100, weekly, 8, 40, id="small with weekends"),
        pytest.param(1_000, weekly, 0, 12, id="medium with weekends"),
        pytest.param(100_000, weekly, 0, 0, id="large with weekends"),
    ],
)
def test_quiet_days_stay_quiet(rows: int, pattern: Chances, most_alarms: int, most_watched: int) -> None:
    """20 equally important columns over 200 days, days with an alarm and days to look at."""
    found = grades(rows, pattern, pattern)
    assert found["alarm"] <= most_alarms
    assert found["watch"] <= most_watched


@pytest.mark.slow
@pytest.mark.parametrize("rows", [100, 1_000, 100_000])
def test_shifted_days_raise_an_alarm(rows: int) -> None:
    assert grades(rows, steady, shifted)["alarm"] == DAYS
