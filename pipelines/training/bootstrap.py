"""Is one set of scores better than another on the same rows? A paired bootstrap answers with a bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from pipelines.training.metrics import direction, metric, prepared


@dataclass(frozen=True)
class Comparison:
    """`gain` > 0 means that the challenger is better, whatever the metric's direction.

    `lower` and `upper` are one-sided bounds of the gain at `confidence` each. NaN where the metric is undefined.
    """

    metric: str
    challenger: float
    other: float
    gain: float
    lower: float
    upper: float
    confidence: float
    resamples: int
    rows: int
    units: int


def compare(
    name: str,
    labels: np.ndarray,
    challenger: np.ndarray,
    other: np.ndarray,
    *,
    confidence: float,
    resamples: int,
    seed: int,
    groups: np.ndarray | None = None,
) -> Comparison:
    """Resamples rows (or whole `groups`, integer codes `(n,)`) with replacement, both scores on the same ones.

    Resamples in which the metric is undefined (no positive row) are left out; if that is more than one in ten,
    the bounds are NaN. Percentile bootstrap (Efron & Tibshirani 1993, chapter 13).
    """
    sign = 1.0 if direction(name) == "higher" else -1.0
    rows = len(labels)
    mine, theirs = metric(name, labels, challenger), metric(name, labels, other)
    units = rows if groups is None else int(groups.max()) + 1 if rows else 0
    lower = upper = float("nan")
    if np.isfinite(mine) and np.isfinite(theirs):
        # Sums over rows are too small for several BLAS threads: waiting for each other cost up to seven times the CPU.
        with threadpool_limits(1):
            gains = sign * _differences(name, labels, challenger, other, resamples, seed, groups, units)
        usable = gains[np.isfinite(gains)]
        if len(usable) >= 0.9 * resamples:
            lower, upper = (float(np.quantile(usable, share)) for share in (1 - confidence, confidence))
    return Comparison(name, mine, theirs, sign * (mine - theirs), lower, upper, confidence, resamples, rows, units)


def intervals(
    names: Sequence[str],
    labels: np.ndarray,
    scores: np.ndarray,
    *,
    confidence: float,
    resamples: int,
    seed: int,
    groups: np.ndarray | None = None,
) -> dict[str, tuple[float, float]]:
    """Two-sided percentile interval of each metric; all are computed on the same resamples of rows (or `groups`).

    NaN where a metric is undefined in more than one resample of ten.
    """
    units = len(labels) if groups is None else int(groups.max()) + 1 if len(labels) else 0
    if not units or not np.isfinite(scores).all():
        return dict.fromkeys(names, (float("nan"), float("nan")))
    weighted = [prepared(name, labels, scores) for name in names]
    random = np.random.default_rng(seed)
    values = np.empty((resamples, len(names)))
    with threadpool_limits(1):
        for index in range(resamples):
            weights = _weights(random, units, groups)
            values[index] = [one(weights) for one in weighted]
    return {name: _middle(values[:, column], confidence) for column, name in enumerate(names)}


def _middle(values: np.ndarray, confidence: float) -> tuple[float, float]:
    usable = values[np.isfinite(values)]
    if len(usable) < 0.9 * len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(usable, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _weights(random: np.random.Generator, units: int, groups: np.ndarray | None) -> np.ndarray:
    """`(n_rows,)` how often each row, or its whole group, was drawn."""
    weights = np.bincount(random.integers(0, units, units, dtype=np.int32), minlength=units).astype(np.float64)
    return weights if groups is None else weights[groups]


def _differences(
    name: str,
    labels: np.ndarray,
    challenger: np.ndarray,
    other: np.ndarray,
    resamples: int,
    seed: int,
    groups: np.ndarray | None,
    units: int,
) -> np.ndarray:
    """`(resamples,)` metric of the challenger minus that of the other."""
    of_challenger, of_other = prepared(name, labels, challenger), prepared(name, labels, other)
    random = np.random.default_rng(seed)
    gains = np.empty(resamples)
    for index in range(resamples):
        weights = _weights(random, units, groups)
        gains[index] = of_challenger(weights) - of_other(weights)
    return gains
