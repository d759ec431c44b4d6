"""What one column says about another, in tables whose answer is worked out by hand; and errors that only that shows."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.validate.anomaly import Judgement, Past, judge
from pipelines.validate.coded import coded
from pipelines.validate.likeness import sentence
from pipelines.validate.profile import Profile, profile
from pipelines.validate.relations import Relation, relations_of, strong
from tests.builders import utc

START = utc("2026-03-01")


def relations(**columns: list[Any]) -> dict[tuple[str, str], Relation]:
    table = pa.table(columns)
    found = relations_of({name: coded(table.column(name), START) for name in table.column_names})
    return {(one.first, one.second): one for one in found}


def test_share_of_rows_unlike_their_group_counts_missing_as_a_value() -> None:
    """Orders 1 and 2 hold five rows: of order 1 two are 'a' and one is missing, of order 2 both are missing."""
    found = relations(order=["1", "1", "1", "2", "2", "3"], customer=["a", "a", None, None, None, "c"])
    assert found["order", "customer"].differs == pytest.approx(1 / 5)


def test_group_of_one_row_says_nothing() -> None:
    assert ("key", "other") not in relations(key=["1", "2", "3"], other=["a", "a", "b"])


def test_rank_correlation_is_that_of_the_formula() -> None:
    """Ranks 1 2 3 4 and 1 2 4 3: 1 - 6 * 2 / (4 * 15) = 0.8; a null takes its row out of both."""
    found = relations(a=[1.0, 20.0, 300.0, 4000.0, None], b=[5, 6, 8, 7, 1], constant=[1] * 5)
    assert found["a", "b"].follows == pytest.approx(0.8)
    assert ("a", "constant") not in found


def test_large_partition_is_measured_on_whole_groups_whatever_the_order_of_rows() -> None:
    """30,000 orders of two rows: 20,000 rows are looked at; in every tenth order the customers differ."""
    order = np.repeat(np.arange(30_000), 2)
    customer = order + np.where((order % 10 == 0) & (np.arange(60_000) % 2 == 1), 100_000, 0)
    places = np.random.default_rng(1).permutation(60_000)
    first, second = (
        relations(order=order[rows].astype(str).tolist(), customer=customer[rows].tolist())["order", "customer"].differs
        for rows in (np.arange(60_000), places)
    )
    assert first == second == pytest.approx(0.05, abs=0.005)


def test_only_relationships_that_usually_hold_are_followed() -> None:
    """`order` decides `customer`; `shop` says little more about it than that most rows are 'a'."""
    table = pa.table(
        {
            "order": ["1", "1", "2", "2", "3", "3"],
            "customer": ["a", "a", "b", "b", "a", "a"],
            "shop": ["x", "x", "x", "y", "y", "y"],
        }
    )
    found = strong([profile(table, START)] * 2)
    assert ("order", "customer", "differs") in found
    assert ("shop", "customer", "differs") not in found


# ---- a shop: orders of four rows from 8 to 18 o'clock, a quarter of them without a customer, more or fewer by the day

ORDERS, ROWS = 60, 4


@cache
def day(number: int) -> pa.Table:
    random = np.random.default_rng(number)
    orders = random.integers(ORDERS // 2, ORDERS * 2)
    known = random.random(orders) > random.uniform(0.1, 0.4)
    hours = np.sort(random.uniform(8, 18, orders))
    order = np.repeat(np.arange(orders), ROWS)
    price = random.gamma(2.0, 5.0, orders * ROWS)
    return pa.table(
        {
            "order": [f"{number}-{one}" for one in order],
            "customer": [f"C{one % 40}" if known[one] else None for one in order],
            "ordered_at": [START + timedelta(hours=float(hours[one])) for one in order],
            "price_eur": price,
            "paid_eur": price * random.normal(1.0, 0.02, orders * ROWS),
        }
    )


@cache
def history() -> list[Past]:
    return [Past(str(number), number % 7, profile(day(number), START)) for number in range(70)]


def judged(table: pa.Table) -> Judgement:
    return judge(profile(table, START), 0, history())


def replaced(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    at = table.column_names.index(name)
    return table.set_column(at, name, pa.array(values, table.column(name).type))


def customers_lost() -> pa.Table:
    return replaced(
        day(70), "customer", [v if at % 5 else None for at, v in enumerate(day(70)["customer"].to_pylist())]
    )


def payments_of_other_rows() -> pa.Table:
    return replaced(day(70), "paid_eur", np.random.default_rng(0).permutation(day(70)["paid_eur"]).tolist())


def last_half_cut_off() -> pa.Table:
    return day(70).slice(0, day(70).num_rows // 2)


@pytest.mark.parametrize(
    ("table", "statistic", "words"),
    [
        (customers_lost, ("customer", "differs:order"), "is not what most rows with the same order have"),
        (payments_of_other_rows, ("price_eur", "follows:paid_eur"), "how far it rises and falls with paid_eur"),
        (last_half_cut_off, ("ordered_at", "outside"), "before its first or after its last time"),
    ],
    ids=["a fifth of the customers lost", "columns of different rows side by side", "file cut by half"],
)
def test_errors_that_no_column_shows_by_itself(table: Any, statistic: tuple[str, str], words: str) -> None:
    found = {(one.column, one.statistic): one for one in judged(table()).findings}
    assert words in sentence(found[statistic], 70)


@pytest.mark.parametrize("number", [70, 77, 84])
def test_clean_days_of_the_shop_are_quiet(number: int) -> None:
    assert not judged(day(number)).is_anomalous


def test_hours_are_compared_with_the_same_weekday() -> None:
    """A Sunday that ends at noon, as all Sundays do, lacks nothing; a Monday that does lacks the rows after noon."""

    def profile_of(hours: list[int]) -> Profile:
        return profile(pa.table({"at": [START + timedelta(hours=hour) for hour in hours]}), START)

    whole, half = profile_of(list(range(8, 19))), profile_of(list(range(8, 13)))
    days = [Past(str(number), number % 7, half if number % 7 == 6 else whole) for number in range(70)]
    assert not judge(half, 6, days).is_anomalous
    (found,) = (one for one in judge(half, 0, days).findings if one.statistic == "outside")
    # Of eleven hours 8 to 18 the quartiles are 10, 13 and 15.5 -> 16: at 12 o'clock 5/12 of the rows are past.
    assert (found.expected, found.found) == (0, pytest.approx(1 - (0.25 + 0.25 * 2 / 3)))
