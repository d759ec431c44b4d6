"""Whether a partition covers its usual hours: the share of the rows of others that lies outside of its own times.

A file cut by a fifth is within what days differ by; but that it ends at three, when a tenth of the orders is to come
on other Mondays, is not. In hours alone it would not show: that nobody ordered after six means little.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.validate.profile import QUANTILES, ColumnProfile

OUTSIDE = "outside"
_COMPARED = 10  # latest partitions, of the same season where there is one
_LEAST = 3
_SHARES = np.array([0.0, *QUANTILES, 1.0])
_NAMES = ("min", *(f"q{round(100 * share):02d}" for share in QUANTILES), "max")


def outside(column: ColumnProfile, others: np.ndarray) -> float:
    """The median share of the rows of `others` before the first or after the last time of `column`.

    `others (n_partitions, 7)`: their quantiles (see `quantiles_of`), between which rows are taken to lie evenly. NaN
    with fewer than three of them.
    """
    if not column.values or len(others) < _LEAST:
        return float("nan")
    low, high = column.statistics["min"], column.statistics["max"]
    after = [1.0 - np.interp(high, one, _SHARES) for one in others]
    before = [1.0 - np.interp(-low, -one[::-1], 1.0 - _SHARES[::-1]) for one in others]
    return float(np.median(np.add(after, before)))


def outside_as_they_came(columns: Sequence[ColumnProfile | None], seasons: Sequence[int | None]) -> list[float]:
    """`outside` of each partition by those before it; NaN where it has no such column."""
    quantiles = quantiles_of(columns)
    return [
        outside(column, comparable(quantiles[:at], seasons[:at], seasons[at])) if column else float("nan")
        for at, column in enumerate(columns)
    ]


def quantiles_of(history: Sequence[ColumnProfile | None]) -> np.ndarray:
    """`(n_partitions, 7)`: smallest, five quantiles, largest; NaN where a partition has no value."""
    return np.array(
        [
            [column.statistics[name] for name in _NAMES] if column and column.values else [np.nan] * len(_NAMES)
            for column in history
        ]
    )


def comparable(quantiles: np.ndarray, seasons: Sequence[int | None], season: int | None) -> np.ndarray:
    """The rows of `quantiles` that a partition of `season` after them is compared with."""
    usable = np.isfinite(quantiles[:, 0]) & np.array([one == season for one in seasons], dtype=bool)
    return quantiles[usable][-_COMPARED:]
