"""A column as numbers: its distinct values in order, and for each row which of them it holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Kind = Literal["number", "time", "text", "size"]


@dataclass(frozen=True)
class Coded:
    """One column of one partition.

    `values`: distinct ones, ascending, without missing ones (NaN and infinities are missing, too); `counts
    (n_values,)`: the rows of each; `codes (n_rows,)`: the place of each row's value in `values`, -1 where missing.
    """

    kind: Kind
    values: pa.Array
    counts: np.ndarray
    codes: np.ndarray

    @property
    def is_ordered(self) -> bool:
        """Whether less and more mean something."""
        return self.kind in ("number", "time")

    @cached_property
    def ranks(self) -> np.ndarray:
        """Per distinct value the mean rank of its rows, as a share of all rows with a value: `(n_values,)`."""
        return (np.cumsum(self.counts) - self.counts / 2) / max(1, int(self.counts.sum()))


def coded(column: pa.ChunkedArray | pa.Array, start: datetime) -> Coded:
    """Times become seconds since `start` (aware), binary values their size, everything but texts a float."""
    kind, plain = _plain(column, start)
    encoded = plain.dictionary_encode()
    found = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    places = np.empty(len(order) + 1, np.int64)
    places[order], places[-1] = np.arange(len(order)), -1
    codes = places[found]
    counts = np.bincount(codes[codes >= 0], minlength=len(order))
    return Coded(kind, encoded.dictionary.take(pa.array(order)), counts, codes)


def _plain(column: pa.ChunkedArray | pa.Array, start: datetime) -> tuple[Kind, pa.Array]:
    """Texts, or numbers without NaN and infinities."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_string(whole.type) or pa.types.is_large_string(whole.type):
        return "text", whole
    if pa.types.is_binary(whole.type) or pa.types.is_large_binary(whole.type):
        return "size", pc.binary_length(whole).cast(pa.float64())
    if pa.types.is_date(whole.type):
        whole = whole.cast(pa.timestamp("us"))
    if pa.types.is_timestamp(whole.type):
        since = pc.subtract(whole.cast(pa.timestamp("us", "UTC")).cast(pa.int64()), int(start.timestamp() * 1_000_000))
        return "time", pc.divide(since.cast(pa.float64(), safe=False), 1e6)
    numbers = (whole.cast(pa.int8()) if pa.types.is_boolean(whole.type) else whole).cast(pa.float64(), safe=False)
    return "number", pc.if_else(pc.is_finite(numbers), numbers, pa.scalar(None, pa.float64()))
