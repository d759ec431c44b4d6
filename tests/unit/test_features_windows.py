"""Windows per entity against hand-worked tables and against a plain loop over all pairs of rows."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.engine import Engine
from pipelines.errors import DataError
from pipelines.features.names import WindowColumn
from pipelines.features.windows import window_table
from pipelines.settings.pipeline import Resources
from tests.builders import utc

SCHEMA = pa.schema(
    [
        ("row_id", pa.string()),
        ("time_us", pa.int64()),
        ("is_current", pa.bool_()),
        ("card", pa.string()),
        ("shop", pa.string()),
        ("amount", pa.float64()),
        ("items", pa.int64()),
        ("is_online", pa.bool_()),
    ]
)
STATISTICS = {
    "amount": ["count", "sum", "mean", "std", "min", "max", "last", "distinct", "seconds_since_last"],
    "items": ["sum", "mean", "std", "max"],
    "is_online": ["mean", "last", "min"],
    "shop": ["count", "distinct", "last", "seconds_since_last"],
    None: ["count", "seconds_since_last"],
}


def _window(statistic: str, column: str | None, seconds: int) -> WindowColumn:
    return WindowColumn(f"{column}_{statistic}_{seconds}", statistic, column, seconds, 6)  # type: ignore[arg-type]


EVERYTHING = [_window(name, column, w) for column, names in STATISTICS.items() for name in names for w in (60, 3600)]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(tmp_path_factory.mktemp("duckdb"), Resources(cpus=1, memory_gib=1)) as opened:
        yield opened


def _run(
    engine: Engine, rows: list[dict[str, Any]], windows: list[WindowColumn], entity: tuple[str, ...] = ("card",)
) -> list[dict[str, Any]]:
    complete = [{"row_id": f"r{number}", "is_current": True, **row} for number, row in enumerate(rows)]
    events = engine.memory(pa.Table.from_pylist(complete, schema=SCHEMA))
    return engine.table(window_table(engine, events, entity, windows, "test 2026-03-02"), ["row_id"]).to_pylist()


def _reference(
    rows: list[dict[str, Any]], windows: list[WindowColumn], entity: tuple[str, ...]
) -> list[dict[str, Any]]:
    """One row at a time, one window at a time: slow and obvious."""
    result = []
    for row in rows:
        if not row["is_current"] or row["time_us"] is None or any(row[part] is None for part in entity):
            continue
        made = {"row_id": row["row_id"]}
        for window in windows:
            start = row["time_us"] - window.seconds * 1_000_000
            inside = [
                other
                for other in rows
                if all(other[part] == row[part] for part in entity)
                and other["time_us"] is not None
                and start <= other["time_us"] < row["time_us"]
            ]
            made[window.name] = _statistic(window, row["time_us"], inside)
        result.append(made)
    return sorted(result, key=lambda made: made["row_id"])


def _statistic(window: WindowColumn, now: int, inside: list[dict[str, Any]]) -> Any:
    inside = sorted(inside, key=lambda other: (other["time_us"], other["row_id"]))
    if window.column is not None:
        inside = [
            other
            for other in inside
            if other[window.column] is not None and other[window.column] == other[window.column]  # NaN is not itself
        ]
    values = [other[window.column] for other in inside] if window.column else inside
    match window.statistic:
        case "count":
            return float(len(values))
        case "distinct":
            return float(len(set(values)))
        case "seconds_since_last":
            return (now - inside[-1]["time_us"]) / 1e6 if inside else None
        case "last":
            return (values[-1] if isinstance(values[-1], str) else float(values[-1])) if values else None
    numbers = [float(value) for value in values]
    match window.statistic:
        case "sum":
            return math.fsum(numbers)
        case "mean":
            return statistics.fmean(numbers) if numbers else None
        case "std":
            return statistics.stdev(numbers) if len(numbers) > 1 else None
        case "min":
            return min(numbers, default=None)
        case _:
            return max(numbers, default=None)


_ROW = st.fixed_dictionaries(
    {
        # Few moments and few entities, so that ties, windows that just end and repeats of a value are common.
        "time_us": st.one_of(
            st.none(),
            st.sampled_from([0, 1, 59_999_999, 60_000_000, 60_000_001, 120_000_000, 3_600_000_000, 3_600_000_001]),
            st.integers(0, 4_000_000_000),
        ),
        "is_current": st.booleans(),
        "card": st.sampled_from(["a", "b", None]),
        "shop": st.sampled_from(["x", "y", "z", None]),
        "amount": st.one_of(st.none(), st.just(float("nan")), st.integers(-100_000, 100_000).map(lambda n: n / 100)),
        "items": st.one_of(st.none(), st.integers(-5, 5)),
        "is_online": st.sampled_from([True, False, None]),
    }
)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(_ROW, max_size=14),
    entity=st.sampled_from([("card",), ("card", "shop")]),
    windows=st.lists(st.sampled_from(EVERYTHING), min_size=1, max_size=4, unique=True),
)
def test_windows_equal_a_loop_over_all_pairs(
    engine: Engine, rows: list[dict[str, Any]], entity: tuple[str, ...], windows: list[WindowColumn]
) -> None:
    numbered = [{"row_id": f"r{number:02d}", **row} for number, row in enumerate(rows)]
    made = _run(engine, numbered, windows, entity)
    expected = _reference(numbered, windows, entity)
    assert [row["row_id"] for row in made] == [row["row_id"] for row in expected]
    for got, wanted in zip(made, expected, strict=True):
        assert got == {
            name: pytest.approx(value, rel=1e-9, abs=1e-9) if isinstance(value, float) else value
            for name, value in wanted.items()
        }


def test_one_card_by_hand(engine: Engine) -> None:
    windows = [
        _window("count", None, 3600),
        _window("sum", "amount", 3600),
        _window("mean", "amount", 3600),
        _window("std", "amount", 3600),
        _window("distinct", "shop", 3600),
        _window("last", "shop", 3600),
        _window("seconds_since_last", None, 3600),
    ]
    hour = 3600 * 10**6
    made = _run(
        engine,
        [
            {"card": "a", "time_us": 0, "amount": 0.1, "shop": "x"},
            {"card": "a", "time_us": hour // 2, "amount": 0.2, "shop": "x"},
            {"card": "a", "time_us": hour, "amount": 7.0, "shop": "y"},
            {"card": "a", "time_us": hour + 1, "amount": None, "shop": None},
        ],
        windows,
    )
    # count, sum, mean, std, distinct shops, last shop, seconds since the last event
    assert [list(row.values())[1:] for row in made] == [
        [0.0, 0.0, None, None, 0.0, None, None],
        [1.0, 0.1, 0.1, None, 1.0, "x", 1800.0],
        [2.0, 0.3, 0.15, pytest.approx(math.sqrt(0.005), abs=1e-15), 1.0, "x", 1800.0],  # the first is just inside
        [2.0, 7.2, 3.6, pytest.approx(math.sqrt(23.12)), 2.0, "y", 0.000001],  # 1 us later it is just outside
    ]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([("a", 5), ("a", 5)], [0.0, 0.0], id="rows-of-one-moment-do-not-see-each-other"),
        pytest.param([("a", 5), ("b", 6)], [0.0, 0.0], id="another-card-is-not-counted"),
        pytest.param([("a", 6), ("a", 5)], [1.0, 0.0], id="order-of-rows-is-not-order-of-time"),
        pytest.param([("a", 1_000_000), ("a", 1_000_001)], [0.0, 1.0], id="a-microsecond-is-enough-to-be-earlier"),
        pytest.param([("a", 0), ("a", 60_000_000)], [0.0, 1.0], id="the-start-of-the-window-is-inside"),
        pytest.param([("a", 0), ("a", 60_000_001)], [0.0, 0.0], id="before-the-window-is-outside"),
        pytest.param([(None, 1), (None, 2)], [], id="null-is-not-an-entity"),
        pytest.param([("a", None), ("a", 2)], [0.0], id="a-row-without-time-is-no-event"),
    ],
)
def test_count_of_one_minute(engine: Engine, rows: list[tuple[str | None, int | None]], expected: list[float]) -> None:
    made = _run(engine, [{"card": card, "time_us": time} for card, time in rows], [_window("count", None, 60)])
    assert [row["None_count_60"] for row in made] == expected


def test_sums_are_exact_and_do_not_depend_on_the_order_of_rows(engine: Engine) -> None:
    rows = [{"row_id": f"r{n:03d}", "card": "a", "time_us": n % 7, "amount": 0.1 + n / 100} for n in range(300)]
    windows = [_window(name, "amount", 60) for name in ("sum", "mean", "std", "last")]
    assert _run(engine, rows, windows) == _run(engine, rows[::-1], windows)


def test_std_of_large_equal_values_is_zero_not_rounding_noise(engine: Engine) -> None:
    rows = [{"card": "a", "time_us": n, "amount": 123_456_789.01} for n in range(4)]
    assert _run(engine, rows, [_window("std", "amount", 60)])[3] == {"row_id": "r3", "amount_std_60": 0.0}


def test_value_beyond_exact_sums_is_refused_with_the_column_and_the_limit(engine: Engine) -> None:
    rows = [{"card": "a", "time_us": 1, "amount": 1e308}]
    with pytest.raises(DataError, match=r"E-FEATURE-RANGE .*'amount' must be at most 1e\+10 .* got 1e\+308"):
        _run(engine, rows, [_window("sum", "amount", 60)])


def test_last_of_two_rows_at_one_moment_is_that_with_the_highest_row_id(engine: Engine) -> None:
    rows = [
        {"row_id": "b", "card": "a", "time_us": 1, "shop": "second"},
        {"row_id": "a", "card": "a", "time_us": 1, "shop": "first"},
        {"row_id": "c", "card": "a", "time_us": 2, "shop": None},
    ]
    assert _run(engine, rows, [_window("last", "shop", 60)])[2]["shop_last_60"] == "second"


def test_microseconds_count_from_1970(engine: Engine) -> None:
    from pipelines.features.windows import microseconds

    moments = [utc("1969-12-31T23:59:59.999999"), utc("2026-03-01T12:00:00.000001")]
    table = engine.memory(pa.table({"at": pa.array(moments, pa.timestamp("us", "UTC"))}))
    made = engine.table(table.select(us=microseconds(table["at"]))).column("us").to_pylist()
    assert made == [-1, (moments[1] - utc("1970-01-01T00:00:00")) // timedelta(microseconds=1)]
