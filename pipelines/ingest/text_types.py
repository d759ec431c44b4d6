"""Text to typed columns: vectorised where Arrow's reading is exact, row by row where it is not or refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.ingest.columns import arrow_type
from pipelines.ingest.records import Failures, shape
from pipelines.settings.source import Column

TEXT_TYPES = ("id", "text", "category")
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?"
_ZONE = r"(Z|[+-][0-9]{2}:?[0-9]{2})"
_ISO = re.compile(rf"{_DAY}([T ]{_CLOCK}0*({_ZONE})?)?")
_NANOSECONDS = re.compile(r"(\.[0-9]{6})0+")


class Unfit(ValueError):
    """A cell that its column refuses: a rule code and the readable rest."""

    def __init__(self, code: str, what: str) -> None:
        self.code, self.what = code, what
        super().__init__(f"{code}: {what}")


def cast_text(cells: pa.Array, name: str, column: Column, null_tokens: tuple[str, ...]) -> tuple[pa.Array, Failures]:
    """A string column as its declared type. Null tokens become null first; nothing is trimmed or guessed."""
    cells = without_tokens(cells, null_tokens)
    if column.type in TEXT_TYPES:
        return cells, {}
    if column.type == "boolean":
        return _booleans(cells, name, column)
    if column.type == "integer":
        return _cast(cells, name, column, _cast_integers, _integer)
    if column.type == "number":
        return _numbers(cells, name, column)
    if column.type == "date":
        return _cast(cells, name, column, _cast_dates if not column.format else None, lambda text: _date(text, column))
    return _timestamps(cells, name, column)


def without_tokens(cells: pa.Array, null_tokens: tuple[str, ...]) -> pa.Array:
    if not null_tokens:
        return cells
    is_null = pc.is_in(cells, value_set=pa.array(null_tokens, pa.string()))
    return pc.if_else(is_null, pa.scalar(None, pa.string()), cells) if pc.any(is_null).as_py() else cells


def expected(column: Column) -> str:
    """What a cell of this column must be, for people."""
    if column.format:
        return f"a {column.type} written like '{column.format}'"
    return {
        "integer": "a whole number",
        "number": "a number with a decimal point",
        "boolean": f"one of {', '.join(column.true_tokens + column.false_tokens)}",
        "timestamp": "an ISO 8601 timestamp",
        "date": "a date like 2026-03-02",
    }.get(column.type, "text")


def type_reason(name: str, column: Column, value: object) -> str:
    return f"TYPE: '{name}' must be {expected(column)}, got {shape(value)}"


def _cast(
    cells: pa.Array,
    name: str,
    column: Column,
    fast: Callable[[pa.Array], pa.Array] | None,
    slow: Callable[[str], Any],
) -> tuple[pa.Array, Failures]:
    """`fast` for the whole column; when it refuses anything, `slow` once per distinct text."""
    try:
        if fast is not None:
            return fast(cells), {}
    except pa.ArrowInvalid:
        pass
    known: dict[str | None, Any] = {None: None}
    values: list[Any] = []
    failures: Failures = {}
    for row, text in enumerate(cells.to_pylist()):
        if text not in known:
            known[text] = _attempt(text, name, column, slow)
        value = known[text]
        if isinstance(value, Unfit):
            failures[row] = str(value)
            value = None
        values.append(value)
    return pa.array(values, arrow_type(column)), failures


def _attempt(text: str, name: str, column: Column, slow: Callable[[str], Any]) -> Any:
    try:
        return slow(text)
    except Unfit as unfit:
        return Unfit(unfit.code, f"'{name}' {unfit.what}")
    except (ValueError, OverflowError):
        return Unfit("TYPE", type_reason(name, column, text).removeprefix("TYPE: "))


def _cast_integers(cells: pa.Array) -> pa.Array:
    """Arrow also reads hexadecimal; that must go the slow way, which refuses it."""
    if pc.any(pc.match_substring(cells, "x", ignore_case=True)).as_py():
        raise pa.ArrowInvalid("hexadecimal")
    return cells.cast(pa.int64())


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(text)
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise ValueError(text)
    return value


def _numbers(cells: pa.Array, name: str, column: Column) -> tuple[pa.Array, Failures]:
    numbers, failures = _cast(cells, name, column, lambda texts: texts.cast(pa.float64()), _number)
    return finite(numbers, name, failures)


def finite(numbers: pa.Array, name: str, failures: Failures) -> tuple[pa.Array, Failures]:
    """Replaces NaN and infinities by null and a reason."""
    is_odd = pc.invert(pc.fill_null(pc.is_finite(numbers), True))
    if not pc.any(is_odd).as_py():
        return numbers, failures
    odd = {int(row): f"NUMBER_NOT_FINITE: '{name}' is NaN or infinite" for row in np.flatnonzero(is_odd)}
    return pc.if_else(is_odd, pa.scalar(None, pa.float64()), numbers), odd | failures


def _number(text: str) -> float:
    """Infinite and NaN values pass here; they are refused by name afterwards."""
    if not _NUMBER.fullmatch(text) and not _NOT_FINITE.fullmatch(text):
        raise ValueError(text)
    return float(text)


def _booleans(cells: pa.Array, name: str, column: Column) -> tuple[pa.Array, Failures]:
    """Tokens are compared without regard to case."""
    lower = pc.utf8_lower(cells)
    is_true = pc.is_in(lower, value_set=pa.array([token.lower() for token in column.true_tokens]))
    is_false = pc.is_in(lower, value_set=pa.array([token.lower() for token in column.false_tokens]))
    values = pc.if_else(is_true, True, pc.if_else(is_false, False, pa.scalar(None, pa.bool_())))
    unknown = pc.and_(pc.is_null(values), pc.is_valid(cells))
    return values, {int(row): type_reason(name, column, cells[int(row)].as_py()) for row in np.flatnonzero(unknown)}


def _cast_dates(cells: pa.Array) -> pa.Array:
    if not pc.all(pc.match_substring_regex(cells, f"^{_DAY}$"), min_count=0).as_py():
        raise pa.ArrowInvalid("not a date")
    return cells.cast(pa.date32())


def _date(text: str, column: Column) -> date:
    if column.format:
        return datetime.strptime(text, column.format).date()
    if not re.fullmatch(_DAY, text):
        raise ValueError(text)
    return date.fromisoformat(text)


def _timestamps(cells: pa.Array, name: str, column: Column) -> tuple[pa.Array, Failures]:
    zone = ZoneInfo(column.timezone or "UTC")
    return _cast(
        cells, name, column, lambda texts: _cast_timestamps(texts, column), lambda text: _timestamp(text, column, zone)
    )


def _cast_timestamps(cells: pa.Array, column: Column) -> pa.Array:
    """Raises ArrowInvalid unless every text is read exactly: one kind of zone, no roll-over such as 30 February."""
    if column.format:
        return in_zone(_cast_formatted(cells, column.format), column.timezone)
    try:
        if not pc.all(pc.match_substring_regex(cells, f"^{_DAY}([T ]{_CLOCK})?$"), min_count=0).as_py():
            raise pa.ArrowInvalid("not plain")
        return in_zone(cells.cast(pa.timestamp("us")), column.timezone)
    except pa.ArrowInvalid:
        if not pc.all(pc.match_substring_regex(cells, f"^{_DAY}[T ]{_CLOCK}{_ZONE}$"), min_count=0).as_py():
            raise
        return cells.cast(pa.timestamp("us", "UTC"))


def _cast_formatted(cells: pa.Array, form: str) -> pa.Array:
    """The C library reads 30 February as 2 March; only what is written back to the very same text is taken."""
    if re.search(r"%[zZfpcxX]", form):
        raise pa.ArrowInvalid("read row by row")
    parsed = pc.strptime(cells, format=form, unit="s")
    if not pc.all(pc.equal(pc.strftime(parsed, format=form), cells), min_count=0).as_py():
        raise pa.ArrowInvalid("not exact")
    return parsed.cast(pa.timestamp("us"))


def in_zone(naive: pa.Array, timezone: str | None) -> pa.Array:
    """Local times as UTC. Raises ArrowInvalid when one does not exist or exists twice."""
    if timezone in (None, "UTC"):
        return naive.cast(pa.timestamp("us", "UTC"))
    return pc.assume_timezone(naive, timezone).cast(pa.timestamp("us", "UTC"))


def _timestamp(text: str, column: Column, zone: ZoneInfo) -> datetime:
    if column.format:
        return to_utc(datetime.strptime(text, column.format), zone)
    if not _ISO.fullmatch(text):
        raise ValueError(text)
    return to_utc(datetime.fromisoformat(_NANOSECONDS.sub(r"\1", text)), zone)


def to_utc(moment: datetime, zone: ZoneInfo) -> datetime:
    """The moment in UTC; one without zone is local time of `zone`.

    Raises:
        Unfit: TIME_NONEXISTENT or TIME_AMBIGUOUS when clocks changed at that local time.
    """
    if moment.tzinfo is not None:
        return moment.astimezone(UTC)
    first, second = (moment.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return first
    if first.astimezone(zone).replace(tzinfo=None) != moment:
        raise Unfit("TIME_NONEXISTENT", f"is a local time that {zone.key} skipped when clocks changed")
    raise Unfit("TIME_AMBIGUOUS", f"is a local time that {zone.key} had twice when clocks changed; send UTC")
