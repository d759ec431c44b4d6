"""The rules that every record meets, whatever its format: cell length, types, required values, times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.ingest.images import ImageReader
from pipelines.ingest.records import Chunk
from pipelines.partitions import Partition
from pipelines.settings.source import Column, FileSource, SqlSource

_FIRST_YEAR, _END_YEAR = 1900, 2201

Reasons = dict[int, list[str]]


@dataclass(frozen=True)
class Rules:
    """`required` columns may not be null; `time_column`, if any, must lie in `partition`. `images` reads those of
    type `image`."""

    source: FileSource | SqlSource
    required: frozenset[str]
    time_column: str | None
    partition: Partition
    images: ImageReader | None = None

    def apply(self, chunk: Chunk) -> tuple[dict[str, pa.Array], Reasons]:
        """The typed columns, and for each refused row every reason. A refused cell is null."""
        reasons: Reasons = {}
        typed = {}
        for name, column in self.source.columns.items():
            cells: Any = chunk.cells[name]
            failures: dict[int, str] = {}
            if column.type != "image":  # whose own limits are about bytes and pixels
                cells, failures = _without_long_cells(cells, name, self.source.limits.max_cell_chars)
            tokens = self.source.null_tokens if column.null_tokens is None else column.null_tokens
            cast = self.images.cast if self.images and column.type == "image" else chunk.cast
            typed[name], refused = cast(cells, name, column, tokens)
            failures |= {row: reason for row, reason in refused.items() if row not in failures}
            failures |= self._nulls(typed[name], name, failures)
            typed[name] = self._times(typed[name], name, column, failures)
            for row, reason in failures.items():
                reasons.setdefault(row, []).append(reason)
        return typed, reasons

    def _nulls(self, cells: pa.Array, name: str, failures: dict[int, str]) -> dict[int, str]:
        if name not in self.required or not cells.null_count:
            return {}
        empty = [row for row in _rows(pc.is_null(cells)) if row not in failures]
        return dict.fromkeys(empty, f"REQUIRED: '{name}' must not be null")

    def _times(self, cells: pa.Array, name: str, column: Column, failures: dict[int, str]) -> pa.Array:
        """Adds times that are impossible (null afterwards) or belong to another partition to `failures`."""
        if column.type not in ("timestamp", "date"):
            return cells
        is_odd = _outside(cells, *_bounds(column))
        failures |= dict.fromkeys(_rows(is_odd), f"TIME_RANGE: '{name}' must lie from 1900 to 2200")
        cells = pc.if_else(is_odd, pa.scalar(None, cells.type), cells)
        if name == self.time_column:
            must = f"TIME_OUTSIDE_PARTITION: '{name}' must lie in partition {self.partition.key}"
            for row in _rows(_outside(cells, *partition_window(self.partition, column))):
                failures[row] = f"{must}, got {cells[row].as_py().isoformat()}"
        return cells


def partition_window(partition: Partition, column: Column) -> tuple[Any, Any]:
    """`[start, end)` of the partition as values of the column; dates are days in the pipeline's time zone."""
    if column.type == "timestamp":
        return partition.start, partition.end
    zone = ZoneInfo(partition.timezone)
    start, last = partition.start.astimezone(zone).date(), partition.end.astimezone(zone).date()
    return start, last if last > start else date.fromordinal(start.toordinal() + 1)


def _bounds(column: Column) -> tuple[Any, Any]:
    if column.type == "date":
        return date(_FIRST_YEAR, 1, 1), date(_END_YEAR, 1, 1)
    return datetime(_FIRST_YEAR, 1, 1, tzinfo=UTC), datetime(_END_YEAR, 1, 1, tzinfo=UTC)


def _rows(mask: pa.Array) -> list[int]:
    return [int(row) for row in np.flatnonzero(mask)]


def _outside(cells: pa.Array, start: Any, end: Any) -> pa.Array:
    """True where the value lies outside `[start, end)`; null is not outside."""
    outside = pc.or_(pc.less(cells, pa.scalar(start, cells.type)), pc.greater_equal(cells, pa.scalar(end, cells.type)))
    return pc.fill_null(outside, False)


def _without_long_cells(cells: Any, name: str, longest: int) -> tuple[Any, dict[int, str]]:
    """Replaces text above the limit by null and a reason."""
    if isinstance(cells, list):
        long = [row for row, cell in enumerate(cells) if isinstance(cell, str | bytes) and len(cell) > longest]
        if not long:
            return cells, {}
        cells = list(cells)
        failures = {row: _too_long(name, len(cells[row]), longest) for row in long}
        for row in long:
            cells[row] = None
        return cells, failures
    if not (pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type)):
        return cells, {}
    if (pc.max(pc.binary_length(cells)).as_py() or 0) <= longest:  # characters are never more than bytes
        return cells, {}
    lengths = pc.fill_null(pc.utf8_length(cells), 0)
    is_long = pc.greater(lengths, longest)
    failures = {int(row): _too_long(name, lengths[int(row)].as_py(), longest) for row in np.flatnonzero(is_long)}
    return pc.if_else(is_long, pa.scalar(None, cells.type), cells), failures


def _too_long(name: str, length: int, longest: int) -> str:
    return f"CELL_TOO_LONG: '{name}' has {length:,} characters, at most {longest:,} are allowed"
