"""Lags of an entity's events against hand-worked tables and against a plain loop over all rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.engine import Engine
from pipelines.features.lags import lag_table
from pipelines.features.names import LagColumns
from pipelines.settings.pipeline import Resources

SCHEMA = pa.schema(
    [
        ("row_id", pa.string()),
        ("time_us", pa.int64()),
        ("is_current", pa.bool_()),
        ("card", pa.string()),
        ("shop", pa.string()),
        ("amount", pa.float64()),
        ("is_online", pa.bool_()),
    ]
)
MINUTE = 60_000_000


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(tmp_path_factory.mktemp("duckdb"), Resources(cpus=1, memory_gib=1)) as opened:
        yield opened


def lags(steps: int, *columns: str) -> LagColumns:
    values = {column: [f"{column}_lag_{step}" for step in range(1, steps + 1)] for column in columns}
    return LagColumns(values, [f"seconds_lag_{step}" for step in range(1, steps + 1)])


def run(
    engine: Engine, rows: list[dict[str, Any]], wanted: LagColumns, lookback: int, entity: tuple[str, ...] = ("card",)
) -> list[dict[str, Any]]:
    complete = [{"row_id": f"r{number:02d}", "is_current": True, **row} for number, row in enumerate(rows)]
    events = engine.memory(pa.Table.from_pylist(complete, schema=SCHEMA))
    return engine.table(lag_table(engine, events, entity, wanted, lookback), ["row_id"]).to_pylist()


def reference(
    rows: list[dict[str, Any]], wanted: LagColumns, lookback: int, entity: tuple[str, ...]
) -> list[dict[str, Any]]:
    """One row at a time: slow and obvious."""
    result = []
    for number, row in enumerate(rows):
        if not row["is_current"] or row["time_us"] is None or any(row[part] is None for part in entity):
            continue
        seen = [
            (other["time_us"], index, other)
            for index, other in enumerate(rows)
            if all(other[part] == row[part] for part in entity)
            and other["time_us"] is not None
            and row["time_us"] - lookback * 1_000_000 <= other["time_us"] < row["time_us"]
        ]
        newest_first = [other for _, _, other in sorted(seen, key=lambda one: one[:2], reverse=True)]
        made: dict[str, Any] = {"row_id": f"r{number:02d}"}
        for column, names in wanted.values.items():
            made |= {name: _value(newest_first, step, column) for step, name in enumerate(names)}
        for step, name in enumerate(wanted.ages):
            made[name] = (row["time_us"] - newest_first[step]["time_us"]) / 1e6 if step < len(newest_first) else None
        result.append(made)
    return result


def _value(events: list[dict[str, Any]], step: int, column: str) -> float | None:
    value = events[step][column] if step < len(events) else None
    return None if value is None or value != value else float(value)


_ROW = st.fixed_dictionaries(
    {
        # Few moments and few entities, so that ties and events at the edge of the look-back are common.
        "time_us": st.one_of(st.none(), st.sampled_from([0, 1, MINUTE, MINUTE + 1, 2 * MINUTE]), st.integers(0, 200)),
        "is_current": st.booleans(),
        "card": st.sampled_from(["a", "b", None]),
        "shop": st.sampled_from(["x", "y", None]),
        "amount": st.one_of(st.none(), st.just(float("nan")), st.integers(-9, 9).map(float)),
        "is_online": st.sampled_from([True, False, None]),
    }
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(_ROW, max_size=12),
    entity=st.sampled_from([("card",), ("card", "shop")]),
    steps=st.integers(1, 4),
    lookback=st.sampled_from([60, 3600]),
)
def test_lags_equal_a_loop_over_all_rows(
    engine: Engine, rows: list[dict[str, Any]], entity: tuple[str, ...], steps: int, lookback: int
) -> None:
    wanted = lags(steps, "amount", "is_online")
    assert run(engine, rows, wanted, lookback, entity) == reference(rows, wanted, lookback, entity)


def test_one_card_by_hand(engine: Engine) -> None:
    rows = [
        {"card": "a", "time_us": 0, "amount": 1.0},
        {"card": "a", "time_us": MINUTE, "amount": None},
        {"card": "a", "time_us": MINUTE, "amount": 3.0},
        {"card": "b", "time_us": MINUTE, "amount": 9.0},
        {"card": "a", "time_us": 2 * MINUTE, "amount": 4.0},
        {"card": "a", "time_us": 2 * MINUTE + 1, "amount": 5.0},
    ]
    made = run(engine, rows, lags(3, "amount"), lookback=120)
    # amount 1, 2, 3 events back, then seconds
    assert [list(row.values())[1:] for row in made] == [
        [None, None, None, None, None, None],
        [1.0, None, None, 60.0, None, None],
        [1.0, None, None, 60.0, None, None],  # the row of the same moment is not seen
        [None, None, None, None, None, None],  # another card
        [3.0, None, 1.0, 60.0, 60.0, 120.0],  # of two rows at one moment that with the higher id is the newer
        [4.0, 3.0, None, 0.000001, 60.000001, 60.000001],  # the first is 1 us beyond the look-back; a null stays null
    ]


def test_an_event_of_an_earlier_partition_counts_and_is_not_published_again(engine: Engine) -> None:
    rows = [
        {"card": "a", "time_us": 5, "amount": 1.0, "is_current": False},
        {"card": "a", "time_us": 6, "amount": 2.0},
    ]
    assert run(engine, rows, lags(1, "amount"), 60) == [{"row_id": "r01", "amount_lag_1": 1.0, "seconds_lag_1": 1e-6}]


def test_the_order_of_rows_changes_nothing(engine: Engine) -> None:
    rows = [{"row_id": f"r{n:03d}", "card": "a", "time_us": n % 7, "amount": n / 10} for n in range(100)]
    wanted = lags(5, "amount")
    assert run(engine, rows, wanted, 60) == run(engine, rows[::-1], wanted, 60)
