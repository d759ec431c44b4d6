"""DeLong's test of two correlated ROC AUCs: a second opinion on the bootstrap, by other arithmetic.

DeLong, DeLong & Clarke-Pearson 1988; the algorithm of Sun & Xu 2014: all placements by midranks, in n log n steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

_NORMAL = NormalDist()


@dataclass(frozen=True)
class DeLong:
    """The difference of two areas. `p_value`: of so large a difference if the true one were 0, one-sided."""

    difference: float
    standard_error: float
    lower: float
    upper: float
    p_value: float


def delong(labels: np.ndarray, challenger: np.ndarray, other: np.ndarray, confidence: float) -> DeLong | None:
    """Bounds are one-sided at `confidence` each. None with fewer than two rows of either class: no variance.

    `labels` are 0 and 1, scores `(n,)` and finite.
    """
    is_positive = labels == 1
    if min(is_positive.sum(), (~is_positive).sum()) <= 1:
        return None
    mine, theirs = (_placements(one[is_positive], one[~is_positive]) for one in (challenger, other))
    difference = float(mine[0].mean() - theirs[0].mean())
    parts = [one - two for one, two in zip(mine, theirs, strict=True)]
    error = float(np.sqrt(sum(part.var(ddof=1) / len(part) for part in parts)))
    reach = _NORMAL.inv_cdf(confidence) * error
    p_value = 1 - _NORMAL.cdf(difference / error) if error > 0 else float(difference <= 0)
    return DeLong(difference, error, difference - reach, difference + reach, p_value)


def _placements(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each positive the share of negatives below it, of each negative the share of positives above it."""
    from scipy.stats import rankdata

    together = rankdata(np.concatenate([positive, negative]))
    below = (together[: len(positive)] - rankdata(positive)) / len(negative)
    above = 1 - (together[len(positive) :] - rankdata(negative)) / len(positive)
    return below, above
