"""What the frozen rows must not show: the label among the features, rows, keys or groups on both sides."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipelines.settings.gate import Leakage
from pipelines.training.leakage import Sides, leakage_checks

ROWS = 400
_RANDOM = np.random.default_rng(5)
LABEL = (np.arange(ROWS) % 3 == 0).astype(float)


def side(start: int, rows: int = ROWS, **changes) -> pa.Table:
    label = (np.arange(start, start + rows) % 3 == 0).astype(float)
    columns = {
        "row_id": [f"r{number}" for number in range(start, start + rows)],
        "order_id": [f"o{number}" for number in range(start, start + rows)],
        "customer": [f"c{number // 5}" for number in range(start, start + rows)],
        "amount": _RANDOM.normal(size=rows) + label,
        "country": _RANDOM.choice(["DE", "FR", "MT"], rows),
        "target_value": label,
    }
    return pa.table(columns | changes)


def checks(train: pa.Table, holdout: pa.Table, task: str = "binary", limits: Leakage | None = None, **changes):
    given = {"features": {"amount": "number", "country": "category"}, "key": ("order_id",), "group": ("customer",)}
    sides = Sides(train, holdout, task, **given | changes)
    return {check.name: check for check in leakage_checks(sides, limits or Leakage(), True)}


def failed(found) -> list[str]:
    return [name for name, check in found.items() if not check.passed]


def test_clean_sides_pass_every_check():
    found = checks(side(0), side(ROWS))
    assert failed(found) == []
    assert list(found) == ["rows apart", "keys apart", "groups apart", "features alone", "duplicates"]


LABELS_AS_TEXT = np.where(LABEL == 1, "yes", "no")


@pytest.mark.parametrize(
    ("changes", "features", "guilty"),
    [
        pytest.param({"amount": LABEL * 2 - 1}, {"amount": "number"}, ["amount"], id="the label itself"),
        pytest.param({"amount": -LABEL}, {"amount": "number"}, ["amount"], id="turned around"),
        pytest.param({"country": LABELS_AS_TEXT}, {"country": "category"}, ["country"], id="as a text"),
        pytest.param(
            {"amount": np.where(LABEL == 1, np.nan, 7.0)}, {"amount": "number"}, ["amount"], id="as what is missing"
        ),
        pytest.param({"country": [f"id{n}" for n in range(ROWS)]}, {"country": "category"}, [], id="an id is no label"),
        pytest.param({}, {"amount": "number", "country": "category"}, [], id="an honest feature"),
    ],
)
def test_one_feature_that_tells_the_label(changes, features, guilty):
    found = checks(side(0, **changes), side(ROWS), features=features)
    assert found["features alone"].numbers["guilty"] == guilty
    assert found["features alone"].passed is not bool(guilty)


def test_a_feature_that_may_be_so_good_is_named():
    train = side(0, amount=LABEL)
    assert checks(train, side(ROWS), limits=Leakage(accepted_features=("amount",)))["features alone"].passed
    held = checks(train, side(ROWS))["features alone"]
    assert "'amount' (1.0000)" in held.text


def test_of_numbers_the_correlation_counts():
    values = _RANDOM.normal(size=ROWS)
    good = checks(side(0, amount=values * 3 + 1, target_value=values), side(ROWS), "regression")
    noisy = checks(side(0, amount=values + _RANDOM.normal(size=ROWS), target_value=values), side(ROWS), "regression")
    assert (good["features alone"].passed, noisy["features alone"].passed) == (False, True)


@pytest.mark.parametrize(
    ("holdout", "name"),
    [
        pytest.param(side(ROWS, row_id=["r0", *(f"x{n}" for n in range(ROWS - 1))]), "rows apart", id="one row"),
        pytest.param(
            side(ROWS, order_id=[f"o{n}" if n < 40 else f"x{n}" for n in range(ROWS)]),
            "keys apart",
            id="a tenth of keys",
        ),
        pytest.param(side(ROWS, customer=["c3"] + ["new"] * (ROWS - 1)), "groups apart", id="one customer"),
    ],
)
def test_what_stands_on_both_sides(holdout, name):
    assert failed(checks(side(0), holdout)) == [name]


def test_a_day_that_was_delivered_twice_is_a_duplicate():
    train = side(0)
    again = train.set_column(0, "row_id", pa.array([f"x{n}" for n in range(ROWS)])).slice(0, 60)
    fresh = side(ROWS, 340)
    found = checks(train, pa.concat_tables([again.select(fresh.column_names), fresh]), key=(), group=())
    assert failed(found) == ["duplicates"]
    assert found["duplicates"].numbers["share"] == pytest.approx(60 / ROWS)


def test_repeats_that_are_usual_are_no_leak():
    """Few features of few values: nearly every row repeats an earlier one, on both sides alike. So do keys of a table
    that is delivered whole each day."""
    few = {"amount": np.ones(ROWS), "order_id": [f"o{n % 50}" for n in range(ROWS)]}
    found = checks(side(0, **few), side(ROWS, **few), features={"amount": "number"}, group=())
    assert found["duplicates"].numbers["usual"] == 1.0
    assert failed(found) == []


def test_nobody_s_key_is_not_shared():
    nobody = {"customer": pa.nulls(ROWS, pa.string()), "order_id": pa.nulls(ROWS, pa.string())}
    assert failed(checks(side(0, **nobody), side(ROWS, **nobody))) == []
