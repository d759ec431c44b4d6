"""Partition arithmetic: a partition is one interval of event data, written as its start in the pipeline's time zone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from pipelines.errors import ConfigError, quote

Grain = Literal["hour", "day", "week", "month"]
KEY_FORMAT: dict[str, str] = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "week": "%Y-%m-%d", "month": "%Y-%m-%d"}


@dataclass(frozen=True, order=True)
class Partition:
    """One half-open interval `[start, end)` of event time.

    `start` and `end` are aware and in UTC; `key` is the start in the pipeline's time zone. A day on which clocks
    change therefore has 23 or 25 hours.
    """

    start: datetime
    end: datetime
    key: str
    grain: Grain
    timezone: str

    def __str__(self) -> str:
        return self.key

    def shift(self, count: int) -> Partition:
        """The partition `count` steps later (earlier when negative)."""
        moment = self
        for _ in range(abs(count)):
            moment = partition_at(
                moment.end if count > 0 else moment.start - timedelta(microseconds=1), self.grain, self.timezone
            )
        return moment


def parse_partition(key: str, grain: Grain = "day", timezone: str = "UTC") -> Partition:
    """The partition that `key` names.

    Raises:
        ConfigError: `key` has another format or is not the start of a partition of this grain.
    """
    try:
        local = datetime.strptime(key, KEY_FORMAT[grain]).replace(tzinfo=ZoneInfo(timezone))
        if local.strftime(KEY_FORMAT[grain]) != key:
            raise ValueError("strptime takes '2026-3-1'; a day must not have two names")
    except ValueError:
        example = datetime(2026, 3, 2).strftime(KEY_FORMAT[grain])
        raise ConfigError(
            "E-RUN-PARTITION", "partition", f"a {grain} must be written like '{example}', got {quote(key)}"
        ) from None
    found = partition_at(local, grain, timezone)
    if found.key != key:
        raise ConfigError(
            "E-RUN-PARTITION", "partition", f"{quote(key)} is not the start of a {grain}; that one starts {found.key}"
        )
    return found


def partition_at(moment: datetime, grain: Grain = "day", timezone: str = "UTC") -> Partition:
    """The partition that holds the aware `moment`."""
    zone = ZoneInfo(timezone)
    start = _floor(moment.astimezone(zone).replace(tzinfo=None), grain)
    return Partition(
        start=_to_utc(start, zone),
        end=_to_utc(_next(start, grain), zone),
        key=start.strftime(KEY_FORMAT[grain]),
        grain=grain,
        timezone=timezone,
    )


def partitions_between(first: Partition, last: Partition) -> Iterator[Partition]:
    """All partitions from `first` to `last`, both included; nothing when `last` is earlier."""
    current = first
    while current.start <= last.start:
        yield current
        current = current.shift(1)


def _floor(local: datetime, grain: Grain) -> datetime:
    hour = local.replace(minute=0, second=0, microsecond=0)
    if grain == "hour":
        return hour
    day = hour.replace(hour=0)
    if grain == "day":
        return day
    return day - timedelta(days=day.weekday()) if grain == "week" else day.replace(day=1)


def _next(local: datetime, grain: Grain) -> datetime:
    if grain == "month":
        return (local + timedelta(days=32)).replace(day=1)
    return local + {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}[grain]


def _to_utc(local: datetime, zone: ZoneInfo) -> datetime:
    return local.replace(tzinfo=zone).astimezone(UTC)
