"""Ranges of every form mean what they say, and those that nothing could be drawn from are named."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.models import model_problems
from pipelines.models.ranges import ranges_of
from pipelines.settings.search import Choices, FloatRange, IntRange
from pipelines.settings.training import Training
from tests import builders

TREES = {"family": "xgboost", "rounds": 40}
FOREST = {"family": "sklearn", "estimator": "RandomForestClassifier"}
ENSEMBLE = {"family": "ensemble", "combine": "voting", "members": {"trees": TREES, "forest": FOREST}}
MEDIAN = {"kind": "median", "every": 5}


def training(ranges: dict[str, Any], model: dict[str, Any] = TREES, **tuning: Any) -> dict[str, Any]:
    tuning = {"trials": 4, "ranges": ranges, **tuning}
    return {"task": "binary", "model": model, "tuning": tuning, "missing": {"default": {"strategy": "mode"}}}


def problems(ranges: dict[str, Any], model: dict[str, Any] = TREES, **tuning: Any) -> list[str]:
    return model_problems(builders.pipeline(training=training(ranges, model, **tuning)))


def test_the_short_form_is_the_kind_of_numbers_that_the_parameter_takes() -> None:
    ranges = {"max_depth": [1, 6], "eta": [0.01, 0.3]}
    found = ranges_of(Training.model_validate(training(ranges, log_scale=["eta"])))
    assert found == {
        "max_depth": IntRange(kind="int", low=1, high=6),
        "eta": FloatRange(kind="float", low=0.01, high=0.3, log=True),
    }


def test_of_an_ensemble_each_member_has_its_own_kind_of_numbers() -> None:
    ranges = {"trees.subsample": [0.5, 1], "forest.max_depth": [2, 9]}
    found = ranges_of(Training.model_validate(training(ranges, ENSEMBLE)))
    assert [type(one) for one in found.values()] == [FloatRange, IntRange]
    assert problems(ranges, ENSEMBLE) == []


def test_typed_ranges_are_taken_as_they_are_written() -> None:
    ranges = {
        "max_depth": {"kind": "int", "low": 2, "high": 8, "step": 2},
        "eta": {"kind": "float", "low": 0.001, "high": 0.1, "log": True},
        "grow_policy": {"kind": "categorical", "values": ["depthwise", "lossguide"]},
    }
    assert problems(ranges, pruner=MEDIAN, workers=2, warm_start=True) == []
    found = ranges_of(Training.model_validate(training(ranges)))
    assert [type(one) for one in found.values()] == [IntRange, FloatRange, Choices]


@pytest.mark.parametrize(
    "values",
    [pytest.param([None, 5], id="none"), pytest.param([True, False], id="yes or no"), pytest.param([1, 0.5], id="mix")],
)
def test_choices_keep_the_types_of_their_values(values: list[Any]) -> None:
    ranges = {"max_depth": {"kind": "categorical", "values": values}}
    (found,) = ranges_of(Training.model_validate(training(ranges, FOREST))).values()
    assert isinstance(found, Choices)
    assert [repr(one) for one in found.values] == [repr(one) for one in values]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"ranges": {"eta": {"kind": "float", "low": 0.3, "high": 0.1}}},
            ".ranges.eta: the first value must be below the second, got [0.3, 0.1]",
            id="upside-down",
        ),
        pytest.param(
            {"ranges": {"eta": {"kind": "float", "low": 0, "high": 1, "log": True}}},
            ".ranges.eta: a log scale must start above 0, got 0.0",
            id="log-of-nothing",
        ),
        pytest.param(
            {"ranges": {"eta": {"kind": "float", "low": 0.1, "high": 1, "log": True, "step": 0.1}}},
            ".ranges.eta: 'log' and 'step' cannot both be set",
            id="log-and-step",
        ),
        pytest.param(
            {"ranges": {"max_depth": {"kind": "float", "low": 1, "high": 6}}},
            ".ranges.max_depth: 'max_depth' takes whole numbers: use 'kind: int'",
            id="half-a-level",
        ),
        pytest.param(
            {"ranges": {"grow_policy": [1, 2]}},
            ".ranges.grow_policy: 'grow_policy' takes text, got 1.0, 2.0",
            id="text",
        ),
        pytest.param(
            {"ranges": {"eta": {"kind": "categorical", "values": [0.1, 0.1]}}},
            ".ranges.eta: the values must differ",
            id="twice",
        ),
        pytest.param(
            {"ranges": {"eta": {"kind": "float", "low": 0.1, "high": 1}}, "log_scale": ["eta"]},
            ".log_scale: 'eta' has a typed range: write 'log: true' there",
            id="log-in-two-places",
        ),
        pytest.param(
            {"ranges": {"eta": [0.1, 1]}, "workers": 5},
            ".workers: must not be more than the 4 trials, got 5",
            id="idle-workers",
        ),
        pytest.param(
            {"ranges": {"max_depth": [1, 5]}, "model": FOREST, "pruner": MEDIAN},
            ".pruner: family 'sklearn' has no rounds or epochs at which a trial could end: leave it out",
            id="nothing-to-look-at",
        ),
        pytest.param(
            {"ranges": {"epochs": [2, 9]}, "model": {"family": "torch", "processes": 2}, "pruner": MEDIAN},
            ".pruner: a network in 2 processes cannot be ended early: set model.processes to 1",
            id="many-processes",
        ),
        pytest.param(
            {"ranges": {"rounds": [2, 5]}, "pruner": MEDIAN},
            ".pruner.every: must be below the 5 rounds or epochs of a trial, got 5",
            id="never-looks",
        ),
        pytest.param(
            {"ranges": {"woods.eta": [0.1, 1]}, "model": ENSEMBLE},
            ".ranges.woods.eta: of an ensemble it must be 'member.parameter', beginning with 'trees.', 'forest.'",
            id="unknown-member",
        ),
    ],
)
def test_a_search_that_could_not_be_done_is_named(changes: dict[str, Any], message: str) -> None:
    ranges = changes.pop("ranges")
    assert problems(ranges, **changes) == [f"E-MODEL-TUNING training.tuning{message}"]


@pytest.mark.parametrize(
    "tuning",
    [
        pytest.param({"ranges": {"eta": {"kind": "categorical", "values": [0.1]}}}, id="no-choice"),
        pytest.param({"ranges": {"eta": {"kind": "float", "low": 0.1, "high": 1, "step": 0}}}, id="no-step"),
        pytest.param({"ranges": {"eta": {"low": 0.1, "high": 1}}}, id="no-kind"),
        pytest.param({"ranges": {"eta": [0.1, 1]}, "pruner": {"kind": "random"}}, id="pruner"),
        pytest.param({"ranges": {"eta": [0.1, 1]}, "workers": 0}, id="no-worker"),
    ],
)
def test_what_has_no_meaning_is_refused(tuning: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Training.model_validate(training(tuning.pop("ranges"), **tuning))
