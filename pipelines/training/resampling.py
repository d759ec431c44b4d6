"""Resamples of rows, or of whole groups of rows, in blocks that stay in the processor's cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipelines.training.metrics import direction, prepared
from pipelines.training.weighted import Weighted

# Weights that are worked on at once: a few arrays of this size fit the cache of one core.
_BLOCK = 250_000
_LEVELS = 2**16
_MOST_TIMES = 12
# Whole numbers are exact in single precision up to here.
_EXACT_IN_SINGLE = 2**23


@dataclass(frozen=True)
class Units:
    """What is drawn: rows, or the groups that they belong to. `order` puts the rows of a group side by side."""

    count: int
    order: np.ndarray
    sizes: np.ndarray | None = None

    @classmethod
    def of(cls, labels: np.ndarray, groups: np.ndarray | None) -> Units:
        """`groups`: any codes `(n,)`. Rows alone are ordered by label, so that rankings read neighbouring weights."""
        if groups is None or len(np.unique(groups)) == len(labels):
            return cls(len(labels), np.argsort(labels, kind="stable"))
        _, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        return cls(len(sizes), np.argsort(codes, kind="stable"), sizes)

    def weights(self, drawn: np.ndarray) -> np.ndarray:
        """`(b, n_rows)` of the times `(b, count)` that each unit was drawn."""
        return drawn if self.sizes is None else np.repeat(drawn, self.sizes, axis=1)

    def summed(self, per_row: np.ndarray) -> np.ndarray:
        """`(b, count)` of values per row."""
        if self.sizes is None:
            return per_row
        return np.add.reduceat(per_row, np.concatenate([[0], np.cumsum(self.sizes)[:-1]]), axis=1)


def draws(units: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks `(b, units)` of how often each unit was drawn; `resamples` rows in all.

    Poisson weights: given their sum they are those of drawing with replacement, and they need no counting (Hanley &
    MacGibbon 2006). Metrics do not depend on the sum of the weights.
    """
    random = np.random.default_rng(seed)
    size = max(1, _BLOCK // units)
    table = _times().astype(np.float32 if units < _EXACT_IN_SINGLE else np.float64)
    for start in range(0, resamples, size):
        count = min(size, resamples - start)
        numbers = random.integers(0, _LEVELS, (count, units), dtype=np.uint16)
        yield np.take(table, numbers, mode="clip")


def _times() -> np.ndarray:
    """`(2 ** 16,)` quantiles of the Poisson distribution of mean 1, for equally likely levels."""
    chances = np.exp(-1.0) / np.cumprod([1.0, *range(1, _MOST_TIMES)])
    return np.searchsorted(np.cumsum(chances), (np.arange(_LEVELS) + 0.5) / _LEVELS)


class Gain:
    """By how much one set of scores is better than another, whatever the metric's direction, per resample."""

    def __init__(self, name: str, labels: np.ndarray, challenger: np.ndarray, other: np.ndarray, units: Units) -> None:
        self._sign = 1.0 if direction(name) == "higher" else -1.0
        self._units = units
        order = units.order
        self._pair: tuple[Weighted, Weighted] = (
            prepared(name, labels[order], challenger[order]),
            prepared(name, labels[order], other[order]),
        )

    def measured(self, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gains `(b,)` and their standard errors `(b,)` of the times `(b, units)` that each unit was drawn."""
        gains, each = self.influences(drawn)
        weighted = each * drawn
        variance = np.vecdot(weighted, each).astype(np.float64)
        return gains, np.sqrt(variance * self._units.count / max(self._units.count - 1, 1))

    def influences(self, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gains `(b,)` and what one copy of each unit adds to them `(b, units)`."""
        weights = self._units.weights(drawn)
        (mine, own), (theirs, others) = (one.influences(weights) for one in self._pair)
        return self._sign * (mine - theirs), self._sign * self._units.summed(own - others)
