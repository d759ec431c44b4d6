"""Whether the weekday explains how a column differs between reference partitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_FEWEST_OF_A_DAY = 3  # with two Sundays nobody knows how far Sundays differ
_CERTAINTY = 0.99


def explained(counts: NDArray[np.float64], weekdays: Sequence[int]) -> bool:
    """Whether partitions of one weekday are more alike than partitions of different ones.

    `counts` `(n_partitions, n_bins)`, null as a bin. The ratio of the spread between weekdays to that within them, over
    square roots of shares, where chance is alike in all bins (Anderson 2001, "A new method for non-parametric
    multivariate analysis of variance"), against F with degrees of freedom as if the offset were one number: cautious.
    False with fewer than three partitions of each of two weekdays.
    """
    seen = Counter(weekdays)
    rows = [i for i, day in enumerate(weekdays) if seen[day] >= _FEWEST_OF_A_DAY and counts[i].sum()]
    days = np.array([weekdays[i] for i in rows])
    groups = np.unique(days)
    if len(groups) < 2:
        return False
    points = np.sqrt(counts[rows] / counts[rows].sum(axis=1, keepdims=True))
    means = np.stack([points[days == day].mean(axis=0) for day in groups])
    sizes = np.array([(days == day).sum() for day in groups])
    between = float((sizes[:, None] * (means - points.mean(axis=0)) ** 2).sum())
    within = float(((points - means[np.searchsorted(groups, days)]) ** 2).sum())
    degrees = len(groups) - 1, len(rows) - len(groups)
    return between / degrees[0] > _critical(*degrees) * within / degrees[1]


def _critical(between: int, within: int) -> float:
    from scipy.special import fdtri

    return float(fdtri(between, within, _CERTAINTY))
