"""Are the labels believable? Small tables of days, worked by hand."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.errors import ModelError
from pipelines.settings.training import LabelRules
from pipelines.training.label_rules import check_labels, rate_problems, shift_of
from tests.builders import context


def day(partition: str, rows: int, rate: float) -> dict[str, Any]:
    return {"partition": partition, "rows": rows, "rate": rate}


QUIET = [day(f"2026-03-0{number}", 1000, 0.02) for number in range(1, 6)]
POISONED = day("2026-03-06", 1000, 0.30)


def test_shift_is_the_z_of_two_proportions():
    # 10 of 100 against 10 of 50: pooled 20/150; error sqrt(p(1-p)(1/100+1/50)) = 0.058878; (0.1-0.2)/error.
    assert shift_of(day("a", 100, 0.1), [day("b", 50, 0.2)]) == pytest.approx(-1.698416, abs=1e-6)


@pytest.mark.parametrize(
    ("one", "others"),
    [
        pytest.param(day("a", 0, 0.0), [day("b", 50, 0.2)], id="no rows"),
        pytest.param(day("a", 10, 0.5), [], id="no other day"),
        pytest.param(day("a", 10, 0.0), [day("b", 50, 0.0)], id="no positive anywhere"),
        pytest.param(day("a", 10, 1.0), [day("b", 50, 1.0)], id="only positives"),
    ],
)
def test_shift_is_zero_where_it_is_undefined(one, others):
    assert shift_of(one, others) == 0.0


def test_only_the_poisoned_day_is_named():
    """It pulls the rate of the others to 7.6 %, five standard errors from each innocent day."""
    rules = LabelRules(max_daily_shift=4.0)
    assert abs(shift_of(QUIET[0], [*QUIET[1:], POISONED])) > 4
    problems = rate_problems([*QUIET, POISONED], rules)
    assert list(problems) == ["2026-03-06"]
    assert "rate 0.3000 is +" in problems["2026-03-06"]


def test_two_poisoned_days_are_both_named():
    second = day("2026-03-07", 1000, 0.25)
    assert sorted(rate_problems([*QUIET, POISONED, second], LabelRules(max_daily_shift=4.0))) == [
        "2026-03-06",
        "2026-03-07",
    ]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        pytest.param({}, {}, id="no rules"),
        pytest.param({"max_daily_shift": 1000.0}, {}, id="wide"),
        pytest.param({"min_rate": 0.02}, {}, id="at the lower bound"),
        pytest.param({"max_rate": 0.3}, {}, id="at the upper bound"),
        pytest.param({"max_rate": 0.29}, {"2026-03-06": "rate 0.3000 is above 0.29"}, id="above"),
        pytest.param(
            {"min_rate": 0.03},
            {one["partition"]: "rate 0.0200 is below 0.03" for one in QUIET},
            id="below",
        ),
    ],
)
def test_bounds(rules, expected):
    assert rate_problems([*QUIET, POISONED], LabelRules.model_validate(rules)) == expected


def check(tmp_path, by_day, rows=(1000, 200), distinct=(2, 2), **changes):
    run = context(tmp_path, partition="2026-03-06", **changes)
    parts = ("train", "holdout")
    assert run.pipeline.training
    check_labels(
        run, run.pipeline.training, by_day, dict(zip(parts, rows, strict=True)), dict(zip(parts, distinct, strict=True))
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"rows": (199, 50)}, "E-TRAIN-ROWS.*at least 200 labelled rows.*got 199 and 50", id="too few"),
        pytest.param({"rows": (1000, 0)}, "E-TRAIN-ROWS", id="no holdout"),
        pytest.param({"distinct": (1, 2)}, "E-TRAIN-LABELS.*at least two values, got one", id="one class"),
        pytest.param({"distinct": (0, 2)}, "E-TRAIN-LABELS", id="no value"),
        pytest.param(
            {"label_rules": {"max_rate": 0.1}}, "E-TRAIN-LABELS.*2026-03-06: rate 0.3000 is above 0.1", id="poisoned"
        ),
    ],
)
def test_training_data_that_cannot_be_trusted_is_refused(tmp_path, changes, message):
    with pytest.raises(ModelError, match=message):
        check(tmp_path, [*QUIET, POISONED], **changes)


def test_the_error_holds_the_line_to_add(tmp_path):
    """With what is excluded already, so that pasting it loses nothing."""
    changes = {"label_rules": {"max_rate": 0.1}, "training": {"task": "binary", "exclude_partitions": ["2026-03-02"]}}
    with pytest.raises(ModelError) as error:
        check(tmp_path, [*QUIET[:1], POISONED], **changes)
    line = 'exclude_partitions: ["2026-03-02", "2026-03-06"]'
    assert f"write under 'training' of payments.yaml: {line}; if they are right" in str(error.value)


def test_rates_are_a_matter_of_binary_labels(tmp_path):
    check(tmp_path, [day("2026-03-01", 1000, 250.0)], label_rules={"max_rate": 0.1}, training={"task": "regression"})


def test_good_training_data_pass(tmp_path):
    check(tmp_path, QUIET, label_rules={"min_rate": 0.01, "max_rate": 0.1, "max_daily_shift": 4.0})
