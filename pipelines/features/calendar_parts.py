"""Parts of a moment on the wall clock of the pipeline's time zone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import ibis
import ibis.expr.types as ir

from pipelines.engine import Engine
from pipelines.features.windows import microseconds
from pipelines.settings.features import CalendarPart

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_SECONDS = 86_400
_STEP = timedelta(days=7)


def calendar_parts(
    engine: Engine, rows: ir.Table, column: str, parts: Sequence[CalendarPart], timezone: str
) -> dict[str, ir.Value]:
    """`<column>_<part>` per part, as numbers; null where the moment is null.

    hour 0-23, day_of_week 0 (Monday) - 6, day_of_month 1-31, day_of_year 1-366, month 1-12, is_weekend 0 or 1.
    A date has no clock: its hour is 0 and no zone moves it. Offsets come from Python's zoneinfo, not from the engine,
    so that DuckDB and Spark agree.
    """
    moment = rows[column]
    seconds = (microseconds(moment) // 1_000_000).cast("int64")
    if moment.type().is_timestamp():
        seconds = seconds + _offset(engine, rows, seconds, timezone)
    day = (seconds // _DAY_SECONDS).cast("int64")
    weekday = (day + 3) % 7  # 1970-01-01 was a Thursday
    weekday = (weekday + 7) % 7
    local = seconds.as_timestamp("s")
    values: dict[CalendarPart, ir.Value] = {
        "hour": ((seconds - day * _DAY_SECONDS) // 3600),
        "day_of_week": weekday,
        "day_of_month": local.day(),
        "day_of_year": local.day_of_year(),
        "month": local.month(),
        "is_weekend": (weekday >= 5).cast("int64"),
    }
    return {f"{column}_{part}": values[part].cast("float64") for part in parts}


def offset_changes(first: datetime, last: datetime, timezone: str) -> list[tuple[datetime, int]]:
    """(moment, offset in seconds from then on) for every change of the zone's offset in `(first, last]`, in order."""
    zone = ZoneInfo(timezone)
    found = []
    start = first
    while start < last:
        end = min(start + _STEP, last)
        if _seconds(start, zone) != _seconds(end, zone):
            change = _bisect(start, end, zone)
            found.append((change, _seconds(change, zone)))
        start = end
    return found


def _offset(engine: Engine, rows: ir.Table, seconds: ir.IntegerValue, timezone: str) -> ir.Value:
    if timezone == "UTC":
        return ibis.literal(0, "int64")
    bounds = engine.table(rows.aggregate(first=seconds.min(), last=seconds.max())).to_pylist()[0]
    if bounds["first"] is None:
        return ibis.literal(0, "int64")
    first, last = (_EPOCH + timedelta(seconds=bounds[name]) for name in ("first", "last"))
    before = ibis.literal(_seconds(first, ZoneInfo(timezone)), "int64")
    changes = offset_changes(first, last, timezone)
    if not changes:
        return before
    newest_first = [
        (seconds >= int((change - _EPOCH).total_seconds()), ibis.literal(after, "int64"))
        for change, after in reversed(changes)
    ]
    return ibis.cases(*newest_first, else_=before)


def _bisect(start: datetime, end: datetime, zone: ZoneInfo) -> datetime:
    """The first whole second in `(start, end]` at which the offset of `start` no longer holds."""
    low, high, before = 0, int((end - start).total_seconds()), _seconds(start, zone)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _seconds(start + timedelta(seconds=middle), zone) == before else (low, middle)
    return start + timedelta(seconds=high)


def _seconds(moment: datetime, zone: ZoneInfo) -> int:
    offset = moment.astimezone(zone).utcoffset()
    return int(offset.total_seconds()) if offset else 0
