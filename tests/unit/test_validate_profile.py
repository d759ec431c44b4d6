"""Profiles of a few rows, worked out by hand."""

from __future__ import annotations

import json
import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.validate.profile import ColumnProfile, Profile, profile, profile_column
from tests.builders import utc

START = utc("2026-03-01")


def column(values: list[Any], kind: pa.DataType | None = None) -> ColumnProfile:
    return profile_column(pa.array(values, kind), START)


def test_numbers_are_described_without_nulls_and_nans() -> None:
    found = column([1.0, 3.0, 3.0, -1.5, None, float("nan")])
    assert (found.rows, found.values, found.distinct) == (6, 4, 3)
    wanted = {"missing": 2 / 6, "distinct": 0.75, "most_frequent": 0.5, "min": -1.5, "max": 3.0, "mean": 1.375}
    wanted |= {"q05": -1.5, "q50": 1.0, "q75": 3.0, "zero": 0.0, "negative": 0.25, "whole": 0.75}
    assert {name: found.statistics[name] for name in wanted} == pytest.approx(wanted)
    assert found.top == (("3", 2), ("-1.5", 1), ("1", 1))


def test_texts_are_described_by_letters_and_forms() -> None:
    found = column(["AB-1", "AB-1", "cd 22", " ", None])
    wanted = {"missing": 0.2, "length_min": 1, "length_mean": 3.5, "length_max": 5, "digits": 4 / 14, "upper": 4 / 14}
    wanted |= {"lower": 2 / 14, "spaces": 2 / 14, "other": 2 / 14, "blank": 0.25}
    assert {name: found.statistics[name] for name in wanted} == pytest.approx(wanted)
    assert found.patterns == (("A-9", 2), (" ", 1), ("a 9", 1))


def test_times_are_seconds_since_the_partition_began() -> None:
    found = column([utc("2026-03-01T00:01"), utc("2026-02-28T23:59:30")])
    assert (found.statistics["min"], found.statistics["max"], found.statistics["negative"]) == (-30, 60, 0.5)


def test_typing_error_makes_letters_follow_unusually() -> None:
    right = column(["United Kingdom"] * 50)
    wrong = column(["United Kingdom"] * 45 + ["Unoted Kingdom"] * 5)
    assert wrong.statistics["peculiarity"] > 2 * right.statistics["peculiarity"]


def test_peculiarity_is_that_of_the_formula() -> None:
    """Of 'abc' and 'abd': n(ab) = 2, all others 1, so (log 2 + log 1) / 2 - log 1 for both; of one text alone 0."""
    assert column(["abc"] * 3).statistics["peculiarity"] == 0
    assert column(["abc", "abd", "x"]).statistics["peculiarity"] == pytest.approx(math.log(2) / 2)
    assert column(["ab", "cd", ""]).statistics["peculiarity"] == 0


def test_column_without_a_value_has_only_its_missing_share() -> None:
    assert column([None, None], pa.string()).statistics == {"missing": 1.0}
    assert column([], pa.float64()).statistics == {"missing": 0.0}


def test_orders_are_the_shares_of_rows_with_both() -> None:
    table = pa.table({"a": [1, 2, 3, None], "b": [1.0, 5.0, 2.0, 9.0], "c": ["x"] * 4})
    (order,) = profile(table, START).orders
    assert (order.first, order.second) == ("a", "b")
    assert (order.below, order.equal) == pytest.approx((1 / 3, 1 / 3))


def test_sample_holds_the_same_values_in_every_partition() -> None:
    """Of many distinct values those with the smallest hashes are kept, so that partitions can be compared."""
    first = dict(column([f"v{number}" for number in range(1000)]).sample)
    second = dict(column([f"v{number}" for number in range(500, 1500)]).sample)
    limit = min(max(first), max(second))
    shared = {value for value in first if value <= limit} & {value for value in second if value <= limit}
    assert len(first) == len(second) == 256
    assert 0.25 < len(shared) / sum(value <= limit for value in first) < 0.75


@given(st.lists(st.one_of(st.none(), st.floats(), st.integers(-5, 5).map(float)), max_size=30), st.randoms())
def test_order_of_rows_changes_nothing(values: list[float | None], random: Any) -> None:
    shuffled = random.sample(values, len(values))
    assert column(values, pa.float64()) == column(shuffled, pa.float64())


@given(st.lists(st.one_of(st.none(), st.text(max_size=6)), max_size=12))
def test_profile_survives_json(values: list[str | None]) -> None:
    found = profile(pa.table({"text": pa.array(values, pa.string())}), START)
    assert Profile.from_json(json.loads(json.dumps(found.to_json()))) == found
