"""What is risky about a promotion, rule by rule; each expected sentence was worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.training.risk import Promotion, risks

# A comfortable promotion: the bound lies 2 standard errors above what is needed, nothing else is near its limit.
GAIN = {"metric": "roc_auc", "challenger": 0.85, "other": 0.80, "gain": 0.05, "lower": 0.02, "standard_error": 0.01}
CHECKS: dict[str, dict[str, Any]] = {
    "features alone": {"limit": 0.99, "found": {"amount": 0.81, "hour": None}},
    "baseline constant": {**GAIN, "other": 0.5, "gain": 0.35, "lower": 0.31},
    "baseline linear": {**GAIN, "gain": 0.01},
    "champion": {**GAIN, "margin": 0.0, "test": "superior"},
    "delong": {"difference": 0.05, "lower": 0.02},
    "too good": {"challenger": 0.85, "limit": 0.999, "others": {"champion": 0.80}},
    "slice country=DE": {"rows": 400, "champion": 0.81, "challenger": 0.80, "allowed_loss": 0.05},
    "selection gap gender": {"challenger": 0.05, "champion": 0.04, "limit": 0.10},
    "calibration": {"error": 0.03, "champion": 0.02, "limit": 0.15},
}
RECORD = {
    "family": "xgboost",
    "estimator": "XGBoost",
    "features": {"amount": "number", "hour": "number"},
    "settings": {"training": "t1", "label": "l1"},
}
FIRST = "it would be the first champion: from then on scores are released, and no earlier model can stand in"


def promotion(changes: dict[str, Any] | None = None, metric: str = "roc_auc", **other: Any) -> Promotion:
    """`changes` per check: numbers that replace its own; None leaves the check out."""
    checks = {name: dict(numbers) for name, numbers in CHECKS.items()}
    for name, numbers in (changes or {}).items():
        if numbers is None:
            del checks[name]
        else:
            checks[name] = {**checks.get(name, {}), **numbers}
    numbers = {"metric": metric, "checks": [{"name": name, "numbers": found} for name, found in checks.items()]}
    return Promotion(**{"numbers": numbers, "mine": RECORD, "theirs": RECORD, **other})


def test_a_comfortable_promotion_has_no_risk() -> None:
    assert risks(promotion()) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(
            # 0.004 above what is needed at a standard error of 0.01: 0.4 errors; the normal share below -0.4 is 34 %.
            {"champion": {"lower": 0.006, "margin": 0.002}},
            "its gain lies just above what is needed: at least +0.0060, 0.0020 needed; were the gain what was "
            "measured, 34 of 100 other holdouts of this size would have said no",
            id="gain just above the bound",
        ),
        pytest.param(
            {
                "champion": {"test": "not_inferior", "gain": 0.001, "lower": -0.004, "margin": -0.01},
                "age": {"limit": 9},
            },
            "it was not shown to be better, only hardly worse, because the champion is stale: gain +0.0010, at least "
            "-0.0040",
            id="not inferior to a stale champion",
        ),
        pytest.param(
            {"champion": {"test": "not_inferior", "gain": 0.001, "lower": -0.004, "margin": -0.01}},
            "it was not shown to be better, only hardly worse, as 'gate.test' has it: gain +0.0010, at least -0.0040",
            id="not inferior by settings",
        ),
        pytest.param(
            {"champion": {"lower": None}}, "how sure its gain is cannot be told", id="a bound that is missing is a risk"
        ),
        pytest.param({"champion": None}, "how sure its gain is cannot be told", id="no comparison at all is a risk"),
        pytest.param(
            {"baseline linear": {"gain": -0.0123}},
            "a plain linear model did better on the holdout, by 0.0123",
            id="a linear model is better",
        ),
        pytest.param(
            # 0.999 leaves 0.001 of error; five times that is 0.995.
            {"too good": {"challenger": 0.9951}},
            "it is nearly too good to be true: 0.9951, believed up to 0.999",
            id="nearly too good",
        ),
        pytest.param(
            {"features alone": {"found": {"amount": 0.81, "paid_back": 0.97}}},
            "feature 'paid_back' alone nearly tells the label: 0.9700, held back from 0.99 on",
            id="one feature nearly knows the label",
        ),
        pytest.param(
            {"selection gap gender": {"challenger": 0.085}},
            "the selection gap gender is 0.0850, close to its limit of 0.1",
            id="a gap close to its limit",
        ),
        pytest.param(
            {"selection gap gender": {"challenger": 0.12, "champion": 0.13}},
            "the selection gap gender is 0.1200, above its limit of 0.1; it passed since the champion's is as large",
            id="a gap above its limit that the champion has, too",
        ),
        pytest.param(
            {"slice country=DE": {"challenger": 0.77}},
            "slice country=DE gets worse by 0.0400, 0.0500 is allowed: 0.8100 -> 0.7700",
            id="a slice that loses four fifths of what it may",
        ),
        pytest.param(
            {"calibration": {"error": 0.12}},
            "the calibration error is 0.1200, close to its limit of 0.15",
            id="calibration close to its limit",
        ),
        pytest.param(
            {"calibration": {"error": 0.05}},
            "the calibration error is worse than the champion's on the same rows: 0.0200 -> 0.0500",
            id="calibration worse by a fifth of the limit",
        ),
        pytest.param(
            {"intervals": {"promised": 0.9, "realised": 0.78, "limit": 0.15}},
            "the intervals hold 0.7800 of the labels, 0.9 were promised",
            id="intervals that hold too little",
        ),
        pytest.param(
            {"agreement": {"value": 0.58, "limit": 0.5}},
            "it agrees little with the champion: 0.5800, at least 0.5 needed",
            id="segments that hardly stay",
        ),
    ],
)
def test_each_number_near_its_limit_is_a_risk_of_its_own(changes: dict[str, Any], expected: str) -> None:
    assert risks(promotion(changes)) == [expected]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"too good": {"challenger": 0.9951, "others": {"champion": 0.996}}}, id="the champion is as good"),
        pytest.param({"too good": {"challenger": 3.0, "limit": None}}, id="a metric without bound is never too good"),
        pytest.param({"slice country=DE": {"challenger": 0.90}}, id="a slice that gains"),
        pytest.param({"slice country=DE": {"challenger": 0.775}}, id="a slice that loses less than four fifths"),
        pytest.param({"champion": {"lower": 0.005, "standard_error": 0.0}}, id="the same gain in every row"),
        pytest.param({"delong": None}, id="a metric without a second test"),
    ],
)
def test_what_is_not_near_a_limit_is_no_risk(changes: dict[str, Any]) -> None:
    assert risks(promotion(changes)) == []


def test_of_a_loss_less_is_better() -> None:
    """rmse 4.0 -> 4.3 is a loss of a slice; 0.4 against a best of 10 is nine tenths less, the limit is at 0.1."""
    changes = {
        "slice country=DE": {"champion": 4.0, "challenger": 4.3, "allowed_loss": 0.3},
        "too good": {"challenger": 0.4, "limit": 0.1, "others": {"champion": 10.0}},
    }
    assert risks(promotion(changes, metric="rmse")) == [
        "it is nearly too good to be true: 0.4, believed down to 0.1",
        "slice country=DE gets worse by 0.3000, 0.3000 is allowed: 4.0000 -> 4.3000",
    ]


def test_the_first_champion_is_a_risk_and_its_proof_is_against_the_constant() -> None:
    """An empty check of the champion says that there is none: the bound over the constant counts."""
    assert risks(promotion({"champion": {}}, theirs=None)) == [FIRST]
    (_, narrow) = risks(promotion({"baseline constant": {"lower": 0.001}}, theirs=None))
    assert narrow.startswith("its gain lies just above what is needed: at least +0.0010, 0.0000 needed")


def test_a_first_model_without_labels_has_nothing_to_beat() -> None:
    assert risks(Promotion({"metric": "silhouette", "checks": []}, RECORD, None)) == [FIRST]


def test_too_few_rows_for_the_second_test_are_a_risk() -> None:
    numbers = dict(promotion().numbers)
    checks = [{"name": "delong", "numbers": {}} if one["name"] == "delong" else one for one in numbers["checks"]]
    found = risks(Promotion(numbers | {"checks": checks}, RECORD, RECORD))
    assert found == ["one class has too few rows for the second test: the bootstrap alone decided"]


def test_another_model_than_the_champion_is_a_risk_with_its_differences() -> None:
    mine = {
        "family": "sklearn",
        "estimator": "LogisticRegression",
        "features": {"amount": "category", "a": "number", "b": "number", "c": "number", "d": "number"},
        "settings": {"training": "t2", "label": "l1"},
    }
    assert risks(promotion(mine=mine)) == [
        "it is another kind of model than the champion: XGBoost -> LogisticRegression",
        "new features: 'a', 'b', 'c' and 1 more",
        "features that are gone: 'hour'",
        "features of another type: 'amount'",
        "the settings under 'training' are not those that the champion was trained with",
    ]


def test_days_with_warnings_or_drift_are_named() -> None:
    found = risks(promotion(warned=["2026-03-01", "2026-03-02"], drifted=["2026-03-05"]))
    assert found == [
        "the data gate warned on 2 of the partitions that it learnt from or was judged on: '2026-03-01', '2026-03-02'",
        "drift asked for a retrain on 1 of the partitions that it learnt from or was judged on: '2026-03-05'",
    ]
    unknown = risks(promotion(warned=None))
    assert unknown == ["whether the data gate warned on a day of its training or holdout cannot be told"]
