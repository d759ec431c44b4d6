"""Values of JSON objects and SQL rows to typed columns: nothing changes its kind silently."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pyarrow as pa

from pipelines.ingest.columns import arrow_type
from pipelines.ingest.records import Failures
from pipelines.ingest.text_types import TEXT_TYPES, Unfit, cast_text, finite, to_utc, type_reason
from pipelines.settings.source import Column

_NOTHING = type(None)


def cast_json(cells: list[Any], name: str, column: Column, tokens: tuple[str, ...]) -> tuple[pa.Array, Failures]:
    """Numbers must be JSON numbers and booleans JSON booleans; times are text. Whole numbers may stand for text."""
    return _cast(cells, name, column, tokens, text_is_read=column.type in ("timestamp", "date"))


def cast_sql(cells: list[Any], name: str, column: Column, tokens: tuple[str, ...]) -> tuple[pa.Array, Failures]:
    """What a database driver returns; text is read strictly as in CSV, 0 and 1 stand for booleans (SQLite)."""
    if column.type == "boolean":
        cells = [bool(cell) if type(cell) is int and cell in (0, 1) else cell for cell in cells]
    return _cast(cells, name, column, tokens, text_is_read=True)


def _cast(
    cells: list[Any], name: str, column: Column, tokens: tuple[str, ...], text_is_read: bool
) -> tuple[pa.Array, Failures]:
    kinds = set(map(type, cells)) - {_NOTHING}
    try:
        if kinds == {str} and (text_is_read or column.type in TEXT_TYPES):
            return cast_text(pa.array(cells, pa.string()), name, column, tokens)
        if column.type == "integer" and kinds <= {int}:
            return pa.array(cells, pa.int64()), {}
        if column.type == "number" and kinds <= {int, float}:
            return finite(pa.array(cells, pa.float64()), name, {})
        if column.type == "boolean" and kinds <= {bool}:
            return pa.array(cells, pa.bool_()), {}
    except (OverflowError, UnicodeEncodeError, pa.ArrowInvalid):
        pass  # one cell does not fit: find out which, below
    return _one_by_one(cells, name, column, tokens, text_is_read)


def _one_by_one(
    cells: list[Any], name: str, column: Column, tokens: tuple[str, ...], text_is_read: bool
) -> tuple[pa.Array, Failures]:
    values: list[Any] = []
    failures: Failures = {}
    for row, cell in enumerate(cells):
        try:
            values.append(_value(cell, name, column, tokens, text_is_read))
        except Unfit as unfit:
            what = unfit.what if unfit.what.startswith("'") else f"'{name}' {unfit.what}"
            failures[row] = f"{unfit.code}: {what}"
            values.append(None)
        except (ValueError, OverflowError):
            failures[row] = type_reason(name, column, cell)
            values.append(None)
    array = pa.array(values, arrow_type(column))
    return finite(array, name, failures) if column.type == "number" else (array, failures)


def _value(cell: Any, name: str, column: Column, tokens: tuple[str, ...], text_is_read: bool) -> Any:
    """Raises Unfit or ValueError when the cell is of another kind than the column."""
    if cell is None or (isinstance(cell, str) and cell in tokens):
        return None
    if isinstance(cell, str):
        try:
            cell.encode()
        except UnicodeEncodeError:
            raise Unfit("ENCODING", f"'{name}' holds half a surrogate pair") from None
        if text_is_read or column.type in TEXT_TYPES:
            array, failures = cast_text(pa.array([cell]), name, column, ())
            if failures:
                code, _, what = failures[0].partition(": ")
                raise Unfit(code, what)
            return array[0].as_py()
    return _READERS[column.type](cell, column)


def _text(cell: Any, _column: Column) -> str:
    if isinstance(cell, UUID):
        return str(cell)
    if isinstance(cell, Decimal) and cell.is_finite() and cell == cell.to_integral_value():
        return str(int(cell))
    if type(cell) is not int:
        raise ValueError(cell)
    return str(cell)


def _integer(cell: Any, _column: Column) -> int:
    if isinstance(cell, Decimal) and cell.is_finite() and cell == cell.to_integral_value():
        cell = int(cell)
    if type(cell) is not int or not -(2**63) <= cell < 2**63:
        raise ValueError(cell)
    return cell


def _number(cell: Any, _column: Column) -> float:
    if isinstance(cell, bool) or not isinstance(cell, int | float | Decimal):
        raise ValueError(cell)
    return float(cell)


def _boolean(cell: Any, _column: Column) -> bool:
    if not isinstance(cell, bool):
        raise ValueError(cell)
    return cell


def _timestamp(cell: Any, column: Column) -> datetime:
    if not isinstance(cell, datetime):
        raise ValueError(cell)
    return to_utc(cell, ZoneInfo(column.timezone or "UTC")).astimezone(UTC)


def _date(cell: Any, _column: Column) -> date:
    if not isinstance(cell, date) or isinstance(cell, datetime):
        raise ValueError(cell)
    return cell


_READERS: dict[str, Callable[[Any, Column], Any]] = {
    "id": _text,
    "text": _text,
    "category": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "timestamp": _timestamp,
    "date": _date,
}
