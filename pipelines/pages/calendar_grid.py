"""The calendar of a pipeline's partitions: which ones a page shows, and in which rows and columns they stand."""

from __future__ import annotations

import calendar
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from pipelines.partitions import KEY_FORMAT, Grain, Partition, partition_at, partitions_between

# A sign beside the colour, for those who do not see the one or do not know it.
SIGNS = {
    "released": "✓",
    "clean": "○",
    "refused": "✕",
    "failed": "!",
    "held": "‖",
    "retracted": "↶",
    "running": "…",
    "absent": "–",
    "missing": "?",
}
WORDS = {
    "released": "released",
    "clean": "accepted, no scores released",
    "refused": "refused: the data was not accepted",
    "failed": "failed",
    "held": "scores held back by the audit",
    "retracted": "scores taken back",
    "running": "running",
    "absent": "no file came",
    "missing": "late: nothing has come",
}
Cell = Callable[[Partition], Mapping[str, Any]]
_HOURS_SHOWN = 7  # days
_MONTHS_SHOWN = 3  # years


@dataclass(frozen=True)
class Period:
    """The partitions of one page, and the last key of the page before and after it (None: there is none)."""

    partitions: list[Partition]
    older: str | None
    newer: str | None

    @property
    def first(self) -> str:
        return self.partitions[0].key

    @property
    def last(self) -> str:
        return self.partitions[-1].key


def period(anchor: Partition, first: str | None, newest: str) -> Period:
    """What a page shows that holds `anchor`: two months of days, seven days of hours, a year of weeks, three years of
    months.

    Args:
        first: the oldest key that is known; no page lies before it.
        newest: the newest key that is known or due.
    """
    day = date.fromisoformat(anchor.key[:10])
    begin, end = _limits(day, anchor.grain)
    partitions = list(partitions_between(_at(begin, anchor), _at(end, anchor, is_end=True)))
    older = partitions[0].shift(-1).key
    following = {
        "hour": end + timedelta(days=_HOURS_SHOWN),
        "day": _month_end(end, 2),
        "week": date(end.year + 1, 12, 31),
        "month": date(end.year + _MONTHS_SHOWN, 12, 31),
    }[anchor.grain]
    return Period(
        partitions,
        older if first is not None and first < partitions[0].key else None,
        _at(following, anchor, is_end=True).key if newest > partitions[-1].key else None,
    )


def grain_of(key: str) -> Grain:
    """Of a pipeline whose settings are gone: a key tells hours from days."""
    return "hour" if "T" in key else "day"


def blocks(partitions: list[Partition], cell: Cell) -> list[dict[str, Any]]:
    """Tables of `title`, `columns`, and `rows` of (label, cells); None is a place where no partition stands."""
    by_grain = {"hour": _hours, "day": _days, "week": _weeks, "month": _months}
    return by_grain[partitions[0].grain](partitions, cell)


def _days(partitions: list[Partition], cell: Cell) -> list[dict[str, Any]]:
    found = []
    for _, month in groupby(partitions, key=lambda one: one.key[:7]):
        days = list(month)
        start = date.fromisoformat(days[0].key)
        places: list[Mapping[str, Any] | None] = [None] * start.weekday() + [cell(day) for day in days]
        places += [None] * (-len(places) % 7)
        weeks = [("", places[place : place + 7]) for place in range(0, len(places), 7)]
        found.append(_block(f"{start:%B %Y}", list(calendar.day_abbr), weeks))
    return found


def _hours(partitions: list[Partition], cell: Cell) -> list[dict[str, Any]]:
    rows = [(day, [cell(one) for one in hours]) for day, hours in groupby(partitions, key=lambda one: one.key[:10])]
    title = f"{partitions[0].key[:10]} to {partitions[-1].key[:10]}"
    return [_block(title, [f"{hour:02d}" for hour in range(24)], rows)]


def _weeks(partitions: list[Partition], cell: Cell) -> list[dict[str, Any]]:
    """A row per month in which the weeks begin."""
    rows = []
    for month, weeks in groupby(partitions, key=lambda one: one.key[:7]):
        cells: list[Mapping[str, Any] | None] = [cell(one) for one in weeks]
        rows.append((month, cells + [None] * (5 - len(cells))))
    return [_block("Weeks by the month in which they begin", ["1st", "2nd", "3rd", "4th", "5th"], rows)]


def _months(partitions: list[Partition], cell: Cell) -> list[dict[str, Any]]:
    rows = [(year, [cell(one) for one in months]) for year, months in groupby(partitions, key=lambda one: one.key[:4])]
    return [_block("Months", list(calendar.month_abbr)[1:], rows)]


def _block(title: str, columns: list[str], rows: list[tuple[str, Any]]) -> dict[str, Any]:
    return {"title": title, "columns": columns, "rows": rows}


def _limits(day: date, grain: Grain) -> tuple[date, date]:
    """First and last day of the page that holds `day`."""
    if grain == "hour":
        return day - timedelta(days=_HOURS_SHOWN - 1), day
    if grain == "day":
        return (day.replace(day=1) - timedelta(days=1)).replace(day=1), _month_end(day, 0)
    years = 0 if grain == "week" else _MONTHS_SHOWN - 1
    return date(day.year - years, 1, 1), date(day.year, 12, 31)


def _month_end(day: date, later: int) -> date:
    """The last day of the month that comes `later` months after that of `day`."""
    month = day.month - 1 + later
    year, month = day.year + month // 12, month % 12 + 1
    return date(year, month, calendar.monthrange(year, month)[1])


def _at(day: date, like: Partition, is_end: bool = False) -> Partition:
    """The partition of that day; of hours the first one or the last one."""
    hour = 23 if is_end and like.grain == "hour" else 0 if like.grain == "hour" else 12
    moment = datetime(day.year, day.month, day.day, hour, tzinfo=ZoneInfo(like.timezone))
    found = partition_at(moment, like.grain, like.timezone)
    if like.grain == "week" and not is_end and found.key < day.isoformat():
        return found.shift(1)  # a week that began in the year before stands there
    return found


def says_anything(block: Mapping[str, Any]) -> bool:
    """Whether any of its partitions is known or late; a month before the first partition is not."""
    return any(cell and cell["state"] for _, cells in block["rows"] for cell in cells)


def label_of(partition: Partition) -> str:
    """What a cell shows beside its sign: the day of the month, or nothing where row and column say it."""
    local = datetime.strptime(partition.key, KEY_FORMAT[partition.grain])
    return str(local.day) if partition.grain in ("day", "week") else ""
