"""Each suite accepts a good table, and each of its rules finds the row or table that was made to break it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from pipelines.home import REPOSITORY
from pipelines.ingest.columns import arrow_schema
from pipelines.settings import load_pipeline, pipeline_names
from pipelines.validate.rules import RuleResult, run_suite
from pipelines.validate.suites import load_suite

NOON, EVENING = datetime(2026, 3, 1, 12, tzinfo=UTC), datetime(2026, 3, 1, 18, tzinfo=UTC)

# pipeline -> one good row; the good table holds `rows` copies of it, told apart by `distinct`.
GOOD: dict[str, dict[str, Any]] = {
    "card_payments": {
        "payment_id": "p1",
        "card_id": "000042",
        "merchant_id": "m1",
        "paid_at": NOON,
        "received_at": EVENING,
        "amount_eur": 12.5,
        "country": "DE",
        "channel": "pos",
        "merchant_category": "food",
        "device_score": 0.5,
    },
    "electricity": {
        "interval_start": NOON,
        "period": 0.5,
        "nswprice": 0.06,
        "nswdemand": 0.4,
        "vicprice": 0.0,
        "vicdemand": 0.4,
        "transfer": 0.4,
        "class": 1,
    },
    "bike_sharing": {
        "instant": "1",
        "observed_at": NOON,
        "season": 1,
        "holiday": 0,
        "workingday": 1,
        "weathersit": 2,
        "temp": 0.3,
        "atemp": 0.3,
        "hum": 0.6,
        "windspeed": 0.1,
        "cnt": 120,
    },
    "online_retail": {
        "invoice_no": "536365",
        "stock_code": "85123A",
        "description": "WHITE HANGING HEART T-LIGHT HOLDER",
        "quantity": 6,
        "invoiced_at": NOON,
        "unit_price_gbp": 2.55,
        "customer_id": "17850.0",
        "country": "United Kingdom",
    },
}
ROWS = 48
DISTINCT = {"online_retail": ("invoice_no", [f"{536365 + number}" for number in range(ROWS)])}

# pipeline -> rule -> what one row is changed to ("*": every row), or None: the last row is left out.
BAD: dict[str, dict[str, Any]] = {
    "card_payments": {
        "amount_positive": {"amount_eur": 0.0},
        "country_known": {"country": "XX"},
        "channel_known": {"channel": "moto"},
        "card_id_form": {"card_id": "42"},
        "received_after_paid": {"received_at": NOON.replace(hour=11)},
        "device_score_range": {"device_score": 1.01},
        "amount_mean_usual": {"*": {"amount_eur": 1250.0}},
    },
    "electricity": {
        "class_known": {"class": 2},
        "nswprice_scaled": {"nswprice": 1.2},
        "nswdemand_scaled": {"nswdemand": -0.1},
        "whole_day": None,
    },
    "bike_sharing": {
        "cnt_plausible": {"cnt": 0},
        "hum_scaled": {"hum": 1.1},
        "weathersit_known": {"weathersit": 5},
        "hum_sensor_alive": {"hum": 0.0},
    },
    "online_retail": {
        "invoice_no_format": {"invoice_no": "X536365"},
        "stock_code_length": {"stock_code": "85123A and more"},
        "quantity_range": {"quantity": 74_215},
        "quantity_not_zero": {"quantity": 0},
        "price_not_negative": {"unit_price_gbp": -11_062.06},
        "cancellation_takes_back": {"invoice_no": "C536379", "quantity": 1},
        "customer_id_format": {"customer_id": "17850"},
        "country_known": {"country": "Utopia"},
        "description_given": {"description": None},
        "price_given": {"unit_price_gbp": 0.0},
        "customer_known": {"*": {"customer_id": None}},
        "some_invoices": {"*": {"invoice_no": "536365"}},
    },
}
CASES = [(pipeline, rule) for pipeline, rules in BAD.items() for rule in rules]
BAD_ROW = 7


def table(pipeline: str, change: Any = ()) -> pa.Table:
    rows = [dict(GOOD[pipeline]) for _ in range(ROWS)]
    column, values = DISTINCT.get(pipeline, (next(iter(GOOD[pipeline])), None))
    for row, value in zip(rows, values or [row[column] for row in rows], strict=True):
        row[column] = value
    if change is None:
        rows.pop()
    elif "*" in change:
        rows = [row | change["*"] for row in rows]
    else:
        rows[BAD_ROW].update(change)
    declared = load_pipeline(pipeline, REPOSITORY / "config").source.columns
    return pa.Table.from_pylist(rows, schema=arrow_schema(declared))


def judged(pipeline: str, rows: pa.Table) -> dict[str, RuleResult]:
    suite = load_pipeline(pipeline, REPOSITORY / "config").suite
    path = REPOSITORY / "expectations" / f"{suite}.json"
    return {result.rule.rule_id: result for result in run_suite(load_suite(path, rows.column_names), rows)}


def test_every_pipeline_has_a_suite_and_an_example_here() -> None:
    assert set(GOOD) == set(BAD) == set(pipeline_names(REPOSITORY / "config"))


@pytest.mark.parametrize("pipeline", GOOD)
def test_good_table_passes_and_every_rule_has_a_bad_example(pipeline: str) -> None:
    results = judged(pipeline, table(pipeline))
    assert {rule: result.status for rule, result in results.items()} == dict.fromkeys(BAD[pipeline], "passed")


@pytest.mark.parametrize(("pipeline", "rule"), CASES, ids=[f"{pipeline}-{rule}" for pipeline, rule in CASES])
def test_rule_finds_what_breaks_it(pipeline: str, rule: str) -> None:
    change = BAD[pipeline][rule]
    result = judged(pipeline, table(pipeline, change))[rule]
    assert result.error is None
    if result.quarantines:
        assert result.rows == (BAD_ROW,)
    else:
        assert result.unexpected_count or not result.success
