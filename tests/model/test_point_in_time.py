"""A feature at time t uses only events before t: no later row, and no order of rows, changes it."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.context import Context
from pipelines.features import build_features
from pipelines.features.names import feature_names
from pipelines.ingest.columns import table_schema
from tests.builders import context, payments, put, utc
from tests.unit.test_features_names import CARDS, group

pytestmark = pytest.mark.slow

DAY = "2026-03-03"
EVERYTHING = [
    {"kind": "window", "statistics": ["count", "seconds_since_last"], "windows": ["1h", "2d"]},
    {
        "kind": "window",
        "column": "amount_eur",
        "statistics": ["sum", "mean", "std", "min", "max", "last", "distinct"],
        "windows": ["6h", "2d"],
    },
    {"kind": "window", "column": "country", "statistics": ["distinct", "last"], "windows": ["2d"]},
    {"kind": "ratio", "name": "to_mean", "numerator": "amount_eur", "denominator": "amount_eur_mean_2d"},
    {"kind": "join", "dimension": "cards", "columns": ["limit_eur"]},
    {"kind": "calendar", "column": "paid_at", "parts": ["hour"]},
    {"kind": "lag", "columns": ["amount_eur"], "steps": 3},
]
FILL = {"missing": {"country": {"strategy": "forward_fill", "entity": ["card_id"]}}, "task": "binary"}


def _rows(key: str, count: int, seed: int) -> list[dict[str, Any]]:
    """Few cards and whole minutes, so that ties and repeats are common; a tenth of the values is missing."""
    rng = random.Random(seed)
    return [
        {
            "row_id": f"{key}:{number:03d}",
            "payment_id": f"p{key}{number}",
            "card_id": rng.choice(["c1", "c2", "c3"]),
            "paid_at": utc(f"{key}T00:00:00") + timedelta(minutes=rng.randrange(24 * 60)),
            "amount_eur": None if rng.random() < 0.1 else rng.randrange(1, 9999) / 100,
            "country": rng.choice(["AT", "BE", "CH", "DE", "DK", "ES", "FR", "IT", "NL", "PL", "SE", None]),
            "is_fraud": 0,
        }
        for number in range(count)
    ]


def _cards(run: Context, *terms: tuple[str, float]) -> None:
    rows = [
        {"row_id": f"d{n}", "card_id": "c1", "valid_from": utc(since), "limit_eur": limit, "partition": run.key}
        for n, (since, limit) in enumerate(terms)
    ]
    put(run, "dimension_cards", pa.Table.from_pylist(rows, table_schema(run.pipeline, "dimension_cards")))


def _on(run: Context, key: str) -> Context:
    return replace(run, partition=run.pipeline.parse(key))


def _built(root: Path, days: dict[str, list[dict[str, Any]]], terms: list[tuple[str, float]]) -> list[dict[str, Any]]:
    """Features of DAY over these clean days."""
    run = context(
        root,
        DAY,
        features={"groups": [group(*EVERYTHING)], "columns": ["country"], "lookback": "2d"},
        dimensions={"cards": CARDS},
        training=FILL,
    )
    for key, rows in days.items():
        put(_on(run, key), "clean", payments(rows, partition=key))
    _cards(run, *terms)
    build_features(run)
    rows = run.snapshot("features").read([DAY]).to_pylist()
    assert len(feature_names(run.pipeline)) == 30
    return rows


@pytest.fixture(scope="module")
def days() -> dict[str, list[dict[str, Any]]]:
    return {key: _rows(key, 40, seed) for seed, key in enumerate(["2026-03-01", "2026-03-02", DAY])}


TERMS = [("2026-03-01T00:00:00", 100.0)]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, days: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return _built(tmp_path_factory.mktemp("plain"), days, TERMS)


def test_features_use_what_happened_before(expected: list[dict[str, Any]]) -> None:
    """Guards the other tests: features that are all null could not change."""
    lags = ("amount_eur_lag_3", "seconds_lag_1")
    for name in ("count_2d", "amount_eur_std_2d", "country_distinct_2d", "limit_eur", "to_mean", *lags):
        assert len({row[name] for row in expected}) > 1, name


def test_rows_of_later_days_change_no_feature(
    tmp_path: Path, days: dict[str, list[dict[str, Any]]], expected: list[dict[str, Any]]
) -> None:
    later = {"2026-03-04": _rows("2026-03-04", 60, 9), "2026-03-05": _rows("2026-03-05", 10, 10)}
    assert _built(tmp_path, days | later, TERMS) == expected


def test_rows_later_on_the_same_day_change_no_earlier_feature(
    tmp_path: Path, days: dict[str, list[dict[str, Any]]], expected: list[dict[str, Any]]
) -> None:
    noon = utc(f"{DAY}T12:00:00")
    late = [
        row | {"row_id": f"x{n}", "paid_at": noon + timedelta(minutes=n), "amount_eur": 1e6}
        for n, row in enumerate(_rows(DAY, 50, 11))
    ]
    made = {row["row_id"]: row for row in _built(tmp_path, days | {DAY: [*days[DAY], *late]}, TERMS)}
    before = [row for row in expected if row["paid_at"] <= noon]
    assert len(before) > 10
    assert [made[row["row_id"]] for row in before] == before
    after = [row for row in expected if row["paid_at"] > noon]
    assert [made[row["row_id"]] for row in after] != after  # the late rows are really seen


def test_terms_that_start_later_change_no_feature(
    tmp_path: Path, days: dict[str, list[dict[str, Any]]], expected: list[dict[str, Any]]
) -> None:
    assert _built(tmp_path, days, [*TERMS, ("2026-03-04T00:00:00", 900.0)]) == expected


def test_order_of_rows_and_labels_change_no_feature(
    tmp_path: Path, days: dict[str, list[dict[str, Any]]], expected: list[dict[str, Any]]
) -> None:
    rng = random.Random(5)
    shuffled = {
        key: [row | {"is_fraud": rng.randrange(2)} for row in rng.sample(rows, len(rows))] for key, rows in days.items()
    }
    assert _built(tmp_path, shuffled, TERMS) == expected
