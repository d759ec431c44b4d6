"""Distances between two distributions that were counted in the same bins, and how large chance makes them.

Everything here works on counts of rows, so it is exact over all rows, the same on every engine, and independent of
the order of rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Counts = Sequence[int] | NDArray[np.int64]


def shares(counts: Counts) -> NDArray[np.float64]:
    """Share per bin `(n_bins,)` with half a row added to each bin; never zero, sums to 1.

    Half a row (the Jeffreys prior of a multinomial) keeps logarithms finite, and unlike a fixed epsilon it shrinks
    as partitions grow: one empty bin says little in 100 rows and much in a million.
    """
    padded = np.asarray(counts, dtype=np.float64) + 0.5
    return padded / padded.sum()


def psi(reference: Counts, current: Counts) -> float:
    """Population stability index: sum of (current - reference) * ln(current / reference) over bins; 0 when equal.

    Symmetric. Rule of thumb: below 0.1 no change, above 0.25 a major one (Siddiqi, Credit Risk Scorecards, 2006).
    0.0 when either side has no rows: then nothing can be said about values.
    """
    if not sum(reference) or not sum(current):
        return 0.0
    expected, actual = shares(reference), shares(current)
    return float(np.sum((actual - expected) * np.log(actual / expected)))


def jensen_shannon(reference: Counts, current: Counts) -> float:
    """Jensen-Shannon distance to base 2, in [0, 1]; 0 when equal, 1 without overlap (Lin 1991; as in SciPy).

    No padding is needed, for empty bins have a finite limit. 0.0 when either side has no rows.
    """
    if not sum(reference) or not sum(current):
        return 0.0
    left = np.asarray(reference, dtype=np.float64) / sum(reference)
    right = np.asarray(current, dtype=np.float64) / sum(current)
    middle = (left + right) / 2
    return math.sqrt(max(0.0, (_divergence(left, middle) + _divergence(right, middle)) / 2))


def _divergence(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    held = left > 0
    return float(np.sum(left[held] * np.log2(left[held] / right[held])))


def wasserstein(
    reference: Counts, current: Counts, edges: Sequence[float], low: float, high: float, scale: float
) -> float:
    """Area between both cumulative distributions, divided by `scale` (the reference's standard deviation).

    Both are known exactly at the edges and taken as straight lines between them; `low` and `high` are the smallest
    and largest value on either side. Unit: standard deviations of the reference, as Evidently's "normed" Wasserstein
    distance, whose rule of thumb is 0.1. 0.0 when a side has no rows or the reference does not vary.
    """
    if not sum(reference) or not sum(current) or not scale > 0 or not math.isfinite(scale):
        return 0.0
    points = np.array([min([low, *edges]), *edges, max([high, *edges])])
    gap = np.abs(_cumulative(current) - _cumulative(reference))
    area = float(np.sum((gap[1:] + gap[:-1]) / 2 * np.diff(points)))
    return area / scale if math.isfinite(area) else math.inf


def _cumulative(counts: Counts) -> NDArray[np.float64]:
    total = np.cumsum(np.asarray(counts, dtype=np.float64))
    return np.concatenate([[0.0], total / total[-1]])


def psi_mean(reference_rows: int, current_rows: int, bins: int) -> float:
    """PSI that two samples of one distribution show on average: (bins-1) * (1/n + 1/m)."""
    if not reference_rows or not current_rows:
        return 0.0
    return (bins - 1) * (1 / reference_rows + 1 / current_rows)


def psi_noise(reference_rows: int, current_rows: int, bins: int, chance: float = 0.001) -> float:
    """PSI that two samples of one distribution exceed only with this chance.

    PSI of two samples is about (1/n + 1/m) * chi-squared with bins-1 degrees of freedom, so its mean is
    (bins-1) * (1/n + 1/m) (Yurdakul & Naranjo, "Statistical properties of the population stability index", 2020);
    the quantile is by Wilson and Hilferty (1931).
    """
    if not reference_rows or not current_rows or bins < 2:
        return 0.0
    degrees = bins - 1
    spread = 2 / (9 * degrees)
    quantile = degrees * (1 - spread + normal_quantile(chance) * math.sqrt(spread)) ** 3
    return (1 / reference_rows + 1 / current_rows) * quantile


@lru_cache(maxsize=256)
def normal_quantile(chance: float) -> float:
    """What a standard normal value exceeds with this chance."""
    return NormalDist().inv_cdf(1 - chance)


@lru_cache(maxsize=256)
def t_quantile(degrees: int, chance: float) -> float:
    """What a value of Student's t distribution exceeds with this chance."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 1 - chance))


def usual_bound(values: Sequence[float], chance: float) -> float:
    """What one more value of the same normal population exceeds with this chance; infinite for fewer than three.

    The prediction bound: mean + t * s * sqrt(1 + 1/k), t with k-1 degrees of freedom. With few values t is wide, as it
    must be: of three values nobody knows the spread.
    """
    if len(values) < 3:
        return math.inf
    known = np.asarray(values, dtype=np.float64)
    spread = float(known.std(ddof=1)) * math.sqrt(1 + 1 / len(known))
    return float(known.mean()) + t_quantile(len(known) - 1, chance) * spread


def t_tail(degrees: int, value: float) -> float:
    """The chance with which Student's t is above this value."""
    from scipy.special import stdtr

    return float(stdtr(degrees, -value))
