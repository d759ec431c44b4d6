"""How far from the reference a quiet partition may lie: chance, the usual differences, and a least effect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.monitoring.measures import psi_mean, psi_noise, t_quantile

Matrix = NDArray[np.float64]
WATCHES_PER_ALARM = 5  # so much more often than an alarm a quiet partition may be worth a look
_FEWEST_DEGREES = 3  # below it Student's t has no bounds that mean anything
_MOST_WEIGHT = 2.0
# A squared normal offset is below 1.642 variances in 80 % of partitions. That quantile rather than the mean: up to a
# fifth of the reference may be days on which something was broken. It tells as much as 63 % of the partitions would.
_QUANTILE, _QUANTILE_OF_SQUARE, _EFFICIENCY = 0.8, 1.642, 0.63


@dataclass(frozen=True)
class Limits:
    """Above `watch` a value is worth a look, above `retrain` it asks for a new model."""

    watch: float
    retrain: float


@dataclass(frozen=True)
class Usual:
    """Variance of the offsets by which partitions differ beyond chance, as a PSI; `degrees` of freedom behind it."""

    variance: float
    degrees: int


@dataclass(frozen=True)
class Chances:
    """With which a single test of a quiet partition may go beyond its limits.

    All tests of a partition share the rate that is allowed for the partition (Bonferroni), so that fifty columns raise
    no more false alarms than one.
    """

    watch: float
    alarm: float

    @classmethod
    def shared(cls, false_alarm_rate: float, tests: int) -> Chances:
        each = false_alarm_rate / max(1, tests)
        return cls(min(0.05, WATCHES_PER_ALARM * each), each)


@dataclass(frozen=True)
class Floors:
    """The least effect that counts, however certain it is."""

    watch: float
    retrain: float

    def weighted(self, weight: float) -> Floors:
        """For a column of `weight` times the even importance: an even one needs the floor to raise an alarm, one of
        half that weight twice as much."""
        factor = min(_MOST_WEIGHT, max(1.0, 1 / weight if weight else _MOST_WEIGHT))
        return Floors(self.watch, self.retrain * factor)


def psi_limits(
    usual: Usual, reference_rows: int, current_rows: int, bins: int, floors: Floors, chances: Chances
) -> Limits:
    """Limits of a PSI between a reference and a partition of so many rows.

    If partitions differ by a normal offset, the PSI beyond chance is its square, and the ratio of a new one to the
    variance as learnt from past ones follows F(1, degrees): Student's t, squared. One offset for all bins is the
    widest case.
    """

    def limit(floor: float, chance: float) -> float:
        factor = t_quantile(max(usual.degrees, _FEWEST_DEGREES), chance / 2) ** 2
        return max(floor, psi_noise(reference_rows, current_rows, bins, chance) + factor * usual.variance)

    retrain = limit(floors.retrain, chances.alarm)
    return Limits(min(retrain, limit(floors.watch, chances.watch)), retrain)


def others(counts: Matrix, groups: NDArray[np.int64]) -> Matrix:
    """For each row of `counts` `(n_parts, n_bins)` the sum of the other rows of its group."""
    totals = np.zeros((int(groups.max(initial=0)) + 1, counts.shape[1]))
    np.add.at(totals, groups, counts)
    rest: Matrix = totals[groups] - counts
    return rest


def excess(reference: Matrix, current: Matrix, chance: float | None = None) -> Matrix:
    """PSI row by row, less its mean by chance, or less what chance exceeds that often; NaN where a side has no rows."""
    rows = np.stack([reference.sum(axis=-1), current.sum(axis=-1)])
    expected, actual = (_padded(side) for side in (reference, current))
    found = ((actual - expected) * np.log(actual / expected)).sum(axis=-1)
    bins = reference.shape[-1]
    unit = psi_mean(1, 1, bins) if chance is None else psi_noise(1, 1, bins, chance)
    with np.errstate(divide="ignore"):
        by_chance = unit / 2 * (1 / rows).sum(axis=0)
    return np.where((rows > 0).all(axis=0), found - by_chance, np.nan)


def usual(counts: Matrix, groups: NDArray[np.int64]) -> Usual:
    """How far partitions `(n_parts, n_bins)` lie from the others of their group, which costs a degree of freedom."""
    found = excess(others(counts, groups), counts, 1 - _QUANTILE)
    known = np.isfinite(found)
    if not known.any():
        return Usual(0.0, 0)
    degrees = int(known.sum()) - len(np.unique(groups[known]))
    variance = float(np.quantile(found[known], _QUANTILE)) / _QUANTILE_OF_SQUARE
    return Usual(max(0.0, variance), int(_EFFICIENCY * degrees))


def _padded(counts: Matrix) -> Matrix:
    """Shares with half a row added to each bin, as in `measures.shares`."""
    return (counts + 0.5) / (counts + 0.5).sum(axis=-1, keepdims=True)
