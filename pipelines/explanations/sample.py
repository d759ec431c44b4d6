"""The rows that explanations are computed on: few, drawn by a seed, and weighted back to the holdout."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

# Each explanation scores its sample some hundred times.
MOST_ROWS = 1_000
# Of a wide table fewer rows: what costs time are the cells that are prepared for the model.
_MOST_CELLS = 500_000
_FEWEST_ROWS = 200
# Their predictions go through all training rows.
_SLOW = ("KNeighbors", "RadiusNeighbors", "SVC", "NuSVC", "SVR", "NuSVR", "GaussianProcess")


@dataclass(frozen=True)
class Sample:
    """`labels` and `weights` are `(n_rows,)`; weighted, the rows stand for `of_rows` of the holdout."""

    table: pa.Table
    labels: np.ndarray
    weights: np.ndarray
    of_rows: int

    def __len__(self) -> int:
        return self.table.num_rows


def rows_for(features: int, estimator: str) -> int:
    """How many rows a model with so many features is explained on."""
    if estimator.startswith(_SLOW):
        return _FEWEST_ROWS
    return int(min(MOST_ROWS, max(_FEWEST_ROWS, _MOST_CELLS // max(features, 1))))


def draw(table: pa.Table, labels: np.ndarray, most: int, seed: int) -> Sample:
    """At most `most` rows. Of the rarer of two labels up to half of them, with the weight that it has in the holdout:

    among a thousand rows drawn plainly there may be no fraud at all.
    """
    rows = len(labels)
    if rows <= most:
        return Sample(table, labels, np.ones(rows), rows)
    random = generator(seed, "rows")
    values = np.unique(labels)
    parts = [np.flatnonzero(labels == value) for value in values] if len(values) == 2 else [np.arange(rows)]
    rare, *others = sorted(parts, key=len)
    sizes = [most] if not others else [min(len(rare), most // 2), most - min(len(rare), most // 2)]
    chosen, weights = [], []
    for part, size in zip((rare, *others), sizes, strict=True):
        chosen.append(random.choice(part, size, replace=False))
        weights.append(np.full(size, len(part) / size))
    picked = np.concatenate(chosen)
    order = np.argsort(picked)
    picked = picked[order]
    return Sample(table.take(pa.array(picked)), labels[picked], np.concatenate(weights)[order], rows)


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Random numbers of their own for each purpose: another feature more changes nobody else's."""
    return np.random.default_rng([abs(seed), *(zlib.crc32(str(name).encode()) for name in names)])
