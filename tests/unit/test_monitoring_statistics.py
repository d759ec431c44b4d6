"""Statistics of small tables, worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.engine import Engine
from pipelines.monitoring.inputs import measured_parts, monitored_columns, rows_of
from pipelines.monitoring.reference import ColumnReference, Reference
from pipelines.monitoring.statistics import (
    Bins,
    ColumnStatistics,
    column_kinds,
    fixed_bins,
    merged,
    profiles,
)
from pipelines.monitoring.verdict import judge_partition
from pipelines.settings.monitor import Monitor
from pipelines.settings.pipeline import Resources
from tests.builders import context, put


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(tmp_path / "scratch", Resources()) as opened:
        yield opened


def one(engine: Engine, values: list[Any], bins: Bins, dtype: pa.DataType | None = None) -> ColumnStatistics:
    table = pa.table({"partition": ["a"] * len(values), "x": pa.array(values, dtype)})
    return profiles(engine, engine.memory(table), {"x": bins})["a"]["x"]


@pytest.mark.parametrize(
    ("values", "counts", "nulls"),
    [
        pytest.param([0.0, 1.0, 1.5, 2.0, 9.0], (1, 2, 2), 0, id="an edge belongs to the bin above it"),
        pytest.param([None, 1.0, None], (0, 1, 0), 2, id="nulls are in no bin"),
        pytest.param([float("nan"), float("inf"), -float("inf"), 5.0], (0, 0, 1), 3, id="NaN and infinity are missing"),
        pytest.param([None, None], (0, 0, 0), 2, id="all null"),
        pytest.param([1e308, -1e308, 1e308], (1, 0, 2), 0, id="huge values do not overflow"),
    ],
)
def test_numbers_are_counted(engine: Engine, values: list[Any], counts: tuple[int, ...], nulls: int) -> None:
    found = one(engine, values, Bins("number", edges=(1.0, 2.0)), pa.float64())
    assert (found.counts, found.nulls) == (counts, nulls)


def test_mean_and_spread(engine: Engine) -> None:
    found = one(engine, [1.0, 3.0, None], Bins("number", edges=(2.0,)))
    assert (found.mean, found.std, found.minimum, found.maximum) == (2.0, 1.0, 1.0, 3.0)


def test_categories_are_counted_known_other_and_new(engine: Engine) -> None:
    bins = Bins("category", categories=("DE",), known=("AT", "DE"))
    found = one(engine, ["DE", "AT", "XX", "YY", "DE", None], bins)
    assert (found.counts, found.nulls, found.distinct) == ((2, 1, 2), 1, 4)


def test_new_cannot_be_told_with_too_many_known_categories(engine: Engine) -> None:
    assert one(engine, ["DE", "XX"], Bins("category", categories=("DE",), known=None)).counts == (1, 1, 0)


def test_deciles_of_one_to_eleven(engine: Engine) -> None:
    table = engine.memory(pa.table({"x": [float(value) for value in range(1, 12)]}))
    assert fixed_bins(engine, table, {"x": "number"})["x"].edges == (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0)


def test_a_value_that_fills_several_deciles_gets_a_bin_of_its_own(engine: Engine) -> None:
    table = engine.memory(pa.table({"x": [0.0] * 8 + [1.0, 2.0]}))
    bins = fixed_bins(engine, table, {"x": "number"})["x"]
    assert bins.edges[0] == 0.0
    below, zero, *above = one(engine, [-1.0, 0.0, 0.0, 0.5], bins).counts
    assert (below, zero, sum(above)) == (1, 2, 1)


def test_categories_are_ordered_by_count_then_name(engine: Engine) -> None:
    table = engine.memory(pa.table({"x": ["b", "a", "c", "c", None]}))
    assert fixed_bins(engine, table, {"x": "category"})["x"].categories == ("c", "a", "b")


@pytest.mark.parametrize(
    ("values", "is_dead"),
    [
        pytest.param([None, None], True, id="all null"),
        pytest.param([4.0, 4.0, None], True, id="constant apart from nulls"),
        pytest.param([4.0, 5.0], False, id="varies"),
        pytest.param([4.0], False, id="one row says nothing"),
    ],
)
def test_dead_columns(engine: Engine, values: list[Any], is_dead: bool) -> None:
    assert one(engine, values, Bins("number", edges=(1.0,)), pa.float64()).is_dead == is_dead


def test_merged_is_the_statistics_of_all_rows(engine: Engine) -> None:
    bins = Bins("number", edges=(2.0, 5.0))
    parts = [one(engine, values, bins, pa.float64()) for values in ([1.0, 3.0], [None, None], [6.0, None])]
    whole = one(engine, [1.0, 3.0, None, None, 6.0, None], bins, pa.float64())
    assert merged(parts) == whole


def test_times_are_not_monitored() -> None:
    schema = pa.schema(
        [("n", pa.int64()), ("b", pa.bool_()), ("s", pa.string()), ("t", pa.timestamp("us", "UTC")), ("d", pa.date32())]
    )
    assert column_kinds(schema, ["s", "b", "t", "d", "n", "absent"]) == {"s": "category", "b": "number", "n": "number"}


def test_a_text_is_watched_by_its_length_for_no_text_occurs_twice(tmp_path: Path) -> None:
    run = context(tmp_path)
    rows = {"row_id": ["a", "b", "c"], "partition": [run.key] * 3, "note": ["four", None, ""], "country": ["DE"] * 3}
    put(run, "features", pa.table(rows))
    model: Any = {"record": {"features": {"note": "text", "country": "category"}}}
    snapshot = run.snapshot("features")
    kinds = monitored_columns(run, snapshot, model)
    assert kinds == {"note": "number", "country": "category"}
    with run.engine("monitor") as engine:
        watched = engine.table(rows_of(engine, snapshot, [run.key], kinds), order_by=["row_id"])
    assert measured_parts(snapshot, kinds) == {"note": "the length of "}
    assert watched["note"].to_pylist() == [4, None, 0]
    assert watched["country"].to_pylist() == ["DE"] * 3


def test_a_sentence_about_a_text_says_that_its_length_moved() -> None:
    usual = ColumnStatistics(100, 0, (30, 40, 30), mean=15.0, std=6.0, minimum=1.0, maximum=40.0)
    long = ColumnStatistics(100, 0, (0, 0, 100), mean=300.0, std=9.0, minimum=250.0, maximum=400.0)
    days = [f"2026-03-{number:02d}" for number in range(1, 15)]
    column = ColumnReference(Bins("number", edges=(10.0, 20.0)), (usual,) * len(days))
    reference = Reference(dict.fromkeys(days, 100), {"note": column})
    measured = {"note": "the length of "}
    found = judge_partition(reference, {"note": long}, 100, {"note": 1.0}, Monitor(), measured=measured)
    assert found.reasons[0].startswith("SHIFT the length of 'note' (100% of the model's importance) shifted: PSI ")
    assert "mean 15 -> 300" in found.reasons[0]
