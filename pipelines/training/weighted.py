"""Metrics as functions of row weights, for many resamples at once, with what each row contributes.

A resample of the rows is a row of weights: how often each was drawn. The influence of a row is the derivative of the
metric by its weight; the sum of the squared influences is the variance of the metric (infinitesimal jackknife, Efron
1982, chapter 6; of ROC AUC it is the estimate of DeLong et al. 1988 up to a factor of (n - 1) / n).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

# Up to so many columns a dense product is faster than a sparse one.
_MOST_DENSE = 16
# Of the central difference, relative to the size of a sum: the cube root of the rounding of a double.
_STEP = 6e-6


class Weighted(Protocol):
    """One metric of one pair (labels, scores). Weights are `(b, n)`, not negative."""

    def values(self, weights: np.ndarray) -> np.ndarray:
        """`(b,)`; NaN where the metric is undefined."""
        ...

    def influences(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The values `(b,)` and the influence of one copy of each row `(b, n)`."""
        ...


class Sums:
    """A smooth function of weighted sums over rows. `rows`: `(n, m)`, dense or a scipy sparse array."""

    def __init__(self, rows: Any, value: Callable[[np.ndarray], np.ndarray]) -> None:
        self._rows, self._value = rows, value
        self._across: np.ndarray | None = None  # `(m, n)`, in the weights' precision

    def values(self, weights: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._value(self._summed(weights))

    def influences(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sums = self._summed(weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._value(sums), self._spread(self._gradient(sums), weights.dtype)

    def _spread(self, gradient: np.ndarray, kind: np.dtype[Any]) -> np.ndarray:
        """`(b, n)` in rows that lie together: what the weight of each row changes."""
        if self._rows.shape[1] > _MOST_DENSE:
            return np.asarray((self._rows @ gradient.T).T)
        if self._across is None or self._across.dtype != kind:
            dense = self._rows.toarray() if hasattr(self._rows, "toarray") else self._rows
            self._across = np.ascontiguousarray(dense.T, dtype=kind)
        return np.asarray(gradient.astype(kind) @ self._across)

    def _summed(self, weights: np.ndarray) -> np.ndarray:
        return np.asarray(weights.astype(np.float64, copy=False) @ self._rows)

    def _gradient(self, sums: np.ndarray) -> np.ndarray:
        """`(b, m)`, by central differences."""
        found = np.empty_like(sums)
        scale = np.abs(sums).max(axis=1)
        for column in range(sums.shape[1]):
            step = _STEP * np.maximum(np.abs(sums[:, column]), 1e-3 * scale)
            up, down = sums.copy(), sums.copy()
            up[:, column] += step
            down[:, column] -= step
            found[:, column] = (self._value(up) - self._value(down)) / (2 * step)
        return found


class Mean:
    """The plain mean of several metrics of the same rows: one class against the rest, for each class."""

    def __init__(self, each: Sequence[Weighted]) -> None:
        self._each = each

    def values(self, weights: np.ndarray) -> np.ndarray:
        return np.mean([one.values(weights) for one in self._each], axis=0)

    def influences(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = [one.influences(weights) for one in self._each]
        values, influences = zip(*found, strict=True)
        return np.mean(values, axis=0), np.mean(influences, axis=0)
