"""Calendar parts on the wall clock of the pipeline's time zone, also where clocks change."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.engine import Engine
from pipelines.features.calendar_parts import calendar_parts, offset_changes
from pipelines.settings.features import CalendarPart
from pipelines.settings.pipeline import Resources
from tests.builders import utc

PARTS: tuple[CalendarPart, ...] = ("hour", "day_of_week", "day_of_month", "day_of_year", "month", "is_weekend")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(tmp_path_factory.mktemp("duckdb"), Resources(cpus=1, memory_gib=1)) as opened:
        yield opened


def parts(engine: Engine, values: pa.Array, timezone: str) -> list[tuple[float | None, ...]]:
    rows = engine.memory(pa.table({"n": pa.array(range(len(values)), pa.int64()), "at": values}))
    made = engine.table(rows.select("n", **calendar_parts(engine, rows, "at", PARTS, timezone)), ["n"])
    return [tuple(entry[f"at_{part}"] for part in PARTS) for entry in made.to_pylist()]


def moments(*texts: str | None) -> pa.Array:
    return pa.array([utc(text) if text else None for text in texts], pa.timestamp("us", "UTC"))


@pytest.mark.parametrize(
    ("timezone", "moment", "expected"),
    [
        # hour, day_of_week (Monday 0), day_of_month, day_of_year, month, is_weekend
        pytest.param("UTC", "2026-03-02T00:00:00", (0, 0, 2, 61, 3, 0), id="monday-midnight"),
        pytest.param("UTC", "2026-03-01T23:59:59.999999", (23, 6, 1, 60, 3, 1), id="last-microsecond-of-sunday"),
        pytest.param("UTC", "2024-12-31T12:00:00", (12, 1, 31, 366, 12, 0), id="leap-year"),
        pytest.param("UTC", "1969-12-31T23:00:00", (23, 2, 31, 365, 12, 0), id="before-1970"),
        pytest.param("Europe/Berlin", "2026-03-01T23:30:00", (0, 0, 2, 61, 3, 0), id="already-tomorrow-in-berlin"),
        pytest.param("America/New_York", "2026-03-01T03:00:00", (22, 5, 28, 59, 2, 1), id="still-february-in-new-york"),
        pytest.param("Asia/Kolkata", "2026-03-01T18:30:00", (0, 0, 2, 61, 3, 0), id="half-hour-offset"),
    ],
)
def test_parts_by_hand(engine: Engine, timezone: str, moment: str, expected: tuple[int, ...]) -> None:
    assert parts(engine, moments(moment), timezone) == [tuple(float(value) for value in expected)]


def test_clock_change_inside_one_partition(engine: Engine) -> None:
    """New York, 2026-03-08: 01:59 is followed by 03:00; on 2026-11-01 the hour 1 comes twice."""
    spring = parts(engine, moments("2026-03-08T06:59:59", "2026-03-08T07:00:00"), "America/New_York")
    autumn = parts(engine, moments("2026-11-01T05:30:00", "2026-11-01T06:30:00"), "America/New_York")
    assert [entry[0] for entry in spring] == [1.0, 3.0]
    assert [entry[0] for entry in autumn] == [1.0, 1.0]


def test_unknown_moment_has_no_parts_and_no_rows_are_fine(engine: Engine) -> None:
    assert parts(engine, moments(None), "Europe/Berlin") == [(None,) * 6]
    assert parts(engine, moments(), "Europe/Berlin") == []


def test_date_has_no_clock_and_no_zone(engine: Engine) -> None:
    made = parts(engine, pa.array([date(2026, 3, 1)], pa.date32()), "America/New_York")
    assert made == [(0.0, 6.0, 1.0, 60.0, 3.0, 1.0)]


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(
    values=st.lists(st.datetimes(datetime(1950, 1, 1), datetime(2040, 1, 1)), min_size=1, max_size=20),
    timezone=st.sampled_from(["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
def test_parts_equal_zoneinfo(engine: Engine, values: list[datetime], timezone: str) -> None:
    aware = [value.replace(tzinfo=UTC) for value in values]
    local = [value.astimezone(ZoneInfo(timezone)) for value in aware]
    expected = [
        (item.hour, item.weekday(), item.day, item.timetuple().tm_yday, item.month, int(item.weekday() >= 5))
        for item in local
    ]
    assert parts(engine, pa.array(aware, pa.timestamp("us", "UTC")), timezone) == expected


def test_offset_changes_of_berlin() -> None:
    found = offset_changes(utc("2026-01-01T00:00:00"), utc("2026-12-31T00:00:00"), "Europe/Berlin")
    assert found == [(utc("2026-03-29T01:00:00"), 7200), (utc("2026-10-25T01:00:00"), 3600)]
