"""Columns that are typed already (Parquet) to their declared types, where no value can change by it."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kind

from pipelines.errors import DataError
from pipelines.ingest.columns import arrow_type
from pipelines.ingest.records import Failures
from pipelines.ingest.text_types import TEXT_TYPES, cast_text, finite, in_zone
from pipelines.settings.source import Column

_FIRST = datetime(1900, 1, 1, tzinfo=UTC)
_END = datetime(2201, 1, 1, tzinfo=UTC)
_TICKS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def is_text(type_: pa.DataType) -> bool:
    return kind.is_string(type_) or kind.is_large_string(type_) or kind.is_string_view(type_)


def check_castable(field: pa.Field, name: str, column: Column, where: str) -> None:
    """Raises DataError E-SCHEMA-TYPE when the file's type could only be forced into the declared one."""
    type_ = field.type.value_type if kind.is_dictionary(field.type) else field.type
    if is_text(type_) or kind.is_null(type_) or _fits(type_, column):
        return
    raise DataError(
        "E-SCHEMA-TYPE",
        where,
        f"column '{name}' must be {column.type}, but the file holds it as {field.type}",
        "Nothing was published. Correct the declared type, or have the file written with the right one.",
    )


def _fits(type_: pa.DataType, column: Column) -> bool:
    if column.type == "image":
        return kind.is_binary(type_) or kind.is_large_binary(type_) or kind.is_binary_view(type_)
    if column.type in TEXT_TYPES or column.type == "integer":
        return kind.is_integer(type_)
    if column.type == "number":
        return kind.is_floating(type_) or kind.is_integer(type_) or kind.is_decimal(type_)
    if column.type == "boolean":
        return kind.is_boolean(type_)
    return kind.is_timestamp(type_) if column.type == "timestamp" else kind.is_date(type_)


def cast_arrow(cells: pa.Array, name: str, column: Column, tokens: tuple[str, ...]) -> tuple[pa.Array, Failures]:
    """The column as its declared type; text is read as strictly as in CSV.

    NaN is a missing value only when 'nan' is one of the null tokens. Fractions of a microsecond are cut off.
    """
    if is_text(cells.type):
        return cast_text(cells.cast(pa.string()), name, column, tokens)
    if kind.is_null(cells.type):
        return pa.nulls(len(cells), arrow_type(column)), {}
    if column.type == "number":
        return _numbers(cells, name, tokens)
    if column.type == "integer" and kind.is_uint64(cells.type):
        return _unsigned(cells, name)
    if column.type == "timestamp":
        return _timestamps(cells, name, column)
    return cells.cast(arrow_type(column)), {}


def _numbers(cells: pa.Array, name: str, tokens: tuple[str, ...]) -> tuple[pa.Array, Failures]:
    numbers = cells.cast(pa.float64(), safe=False)
    if any(token.lower() == "nan" for token in tokens):
        numbers = pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
    return finite(numbers, name, {})


def _unsigned(cells: pa.Array, name: str) -> tuple[pa.Array, Failures]:
    is_large = pc.greater(cells, pa.scalar(2**63 - 1, pa.uint64()))
    failures = {int(row): f"TYPE: '{name}' is above 2^63 - 1" for row in np.flatnonzero(pc.fill_null(is_large, False))}
    return pc.if_else(is_large, pa.scalar(None, pa.uint64()), cells).cast(pa.int64()), failures


def _timestamps(cells: pa.Array, name: str, column: Column) -> tuple[pa.Array, Failures]:
    """Times outside 1900 to 2200 are refused before the unit changes, because a far year may overflow."""
    ticks = cells.cast(pa.int64())
    unit = _TICKS[cells.type.unit]
    is_far = (
        pc.or_(
            pc.less(ticks, int(_FIRST.timestamp()) * unit - 86_400 * unit),
            pc.greater(ticks, int(_END.timestamp()) * unit + 86_400 * unit),
        )
        if unit < 1_000_000_000
        else pa.array(np.zeros(len(cells), bool))
    )
    failures = {
        int(row): f"TIME_RANGE: '{name}' must lie from 1900 to 2200"
        for row in np.flatnonzero(pc.fill_null(is_far, False))
    }
    near = pc.if_else(is_far, pa.scalar(None, cells.type), cells)
    if cells.type.tz:
        return near.cast(pa.timestamp("us", "UTC"), safe=False), failures
    naive = near.cast(pa.timestamp("us"), safe=False)
    if column.timezone in (None, "UTC"):
        return in_zone(naive, None), failures
    local, others = cast_text(
        pc.strftime(naive, "%Y-%m-%dT%H:%M:%S"), name, column.model_copy(update={"format": None}), ()
    )
    return local, others | failures
