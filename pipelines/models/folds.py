"""Parts of the training rows that a model must not have seen when it is asked about them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from pipelines.models.recipe import Rows

_LATE = 5


def folds(columns: Sequence[str], table: pa.Table, count: int) -> np.ndarray:
    """`(n_rows,)` numbers below `count`: equal blocks of rows, which lie in the order of time; with `columns` groups.

    All rows with the same values in `columns` have the same number.
    """
    if not columns:
        return np.arange(table.num_rows) * count // max(1, table.num_rows)
    keys = zip(*(table[column].to_pylist() for column in columns), strict=True)
    return np.array([zlib.crc32(repr(key).encode()) % count for key in keys], dtype=np.int64)


def latest(rows: Rows) -> np.ndarray | None:
    """`(n_rows,)` True for one row in five, the latest; None unless both sides have two label values to tell apart."""
    late = np.arange(len(rows)) >= len(rows) - len(rows) // _LATE
    sides = (rows.target[late], rows.target[~late])
    return late if all(len(np.unique(side)) > 1 for side in sides) else None
