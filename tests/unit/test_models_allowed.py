"""Model settings that could never be trained are named before anything runs."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pipelines.models import model_problems
from pipelines.models.estimator_parameters import parameter_problems
from pipelines.settings.training import Training
from tests import builders

NETWORK = {"family": "torch"}
FOREST = {"family": "sklearn", "estimator": "RandomForestClassifier"}


def problems(model: dict[str, Any], tuning: dict[str, Any] | None = None, **resources: Any) -> list[str]:
    training = {"task": "binary", "model": model, "tuning": tuning, "missing": {"default": {"strategy": "mode"}}}
    return model_problems(builders.pipeline(training=training, resources=resources))


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        pytest.param({"learning_rat": [0.1, 0.2]}, "not a tunable PyTorch parameter.*'learning_rate'", id="typo"),
        pytest.param({"dropout": [0.0, 1.0]}, "1.0 is no value of 'dropout'", id="dropout of all"),
        pytest.param({"epochs": [0, 5]}, "0 is no value of 'epochs'", id="no epoch"),
        pytest.param({"hidden_layers": [1, 5]}, "not a tunable PyTorch parameter", id="not a number"),
    ],
)
def test_a_range_that_a_network_cannot_have_is_named(ranges: dict[str, Any], message: str) -> None:
    (problem,) = problems(NETWORK, {"trials": 2, "ranges": ranges})
    assert re.search(f"E-MODEL-TUNING training.tuning.ranges.*{message}", problem)


def test_sound_settings_have_no_problem() -> None:
    assert problems(NETWORK, {"trials": 2, "ranges": {"epochs": [5, 50], "learning_rate": [0.0001, 0.01]}}) == []
    assert problems(NETWORK, train={"device": "cuda"}) == []
    assert problems(FOREST, train={"device": "auto"}) == []
    assert problems(FOREST, train={"device": "cuda", "allow_cpu": True}) == []


def test_a_gpu_for_scikit_learn_is_named() -> None:
    (problem,) = problems(FOREST, train={"device": "cuda"})
    assert problem.startswith("E-MODEL-DEVICE resources.train.device: 'cuda' is nothing for scikit-learn's estimators")


@pytest.mark.parametrize(
    ("estimator", "task", "message"),
    [
        pytest.param("RandomForestRegressor", "binary", "Did you mean 'RandomForestClassifier'", id="regressor"),
        pytest.param("Ridge", "binary", "Did you mean 'LogisticRegression'", id="other name"),
        pytest.param("SVC", "regression", "Did you mean '(Linear)?SVR'", id="classifier"),
        pytest.param("IsolationForest", "binary", "Those that do: 'LogisticRegression'", id="detector"),
        pytest.param("GaussianNB", "regression", "Those that do: 'LinearRegression'", id="nothing alike"),
    ],
)
def test_an_estimator_of_another_task_is_named_with_the_one_that_does_it(estimator, task, message) -> None:
    training = {"task": task, "model": {"family": "sklearn", "estimator": estimator}}
    (problem,) = model_problems(builders.pipeline(training=training))
    assert problem.startswith("E-MODEL-ESTIMATOR training.model.estimator:")
    assert re.search(f"'{estimator}' cannot do task '{task}'.*{message}", problem)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        pytest.param({"n_estimator": 5}, "unknown parameter 'n_estimator'.*Did you mean 'n_estimators'", id="typo"),
        pytest.param({"max_depth": "deep"}, "'max_depth' parameter of RandomForestClassifier must be", id="text"),
        pytest.param({"max_depth": 3, "criterion": "entropy"}, None, id="sound"),
    ],
)
def test_a_parameter_that_scikit_learn_refuses_is_named_without_data(parameters, message) -> None:
    model = FOREST | {"parameters": parameters}
    problems = parameter_problems(Training.model_validate({"task": "binary", "model": model}))
    assert [bool(re.search(f"E-MODEL-PARAMETER .*{message}", problem)) for problem in problems] == [True] * bool(
        message
    )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        pytest.param({"max_depth": "four"}, "Invalid Parameter format for max_depth expect int", id="text"),
        pytest.param({"subsample": 3}, "value 3 for Parameter subsample exceed bound", id="out of bounds"),
        pytest.param({"grow_policy": "lossgide"}, "Invalid Input: 'lossgide', valid values are", id="typo"),
        pytest.param({"max_depth": 3, "objective": "reg:squarederror"}, None, id="sound"),
    ],
)
def test_a_parameter_that_xgboost_refuses_is_named_without_data(parameters, message) -> None:
    training = {"task": "regression", "model": {"family": "xgboost", "parameters": parameters}}
    problems = parameter_problems(Training.model_validate(training))
    found = [problem.startswith(f"E-MODEL-PARAMETER training.model.parameters: {message}") for problem in problems]
    assert found == [True] * bool(message)


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        pytest.param(
            {"max_dept": [2, 9]},
            "max_dept: unknown parameter 'max_dept' of 'RandomForestClassifier'. Did you mean 'max_depth'?",
            id="typo",
        ),
        pytest.param({"n_jobs": [1, 2]}, "n_jobs: unknown parameter 'n_jobs'", id="the product's own"),
        pytest.param({"n_estimators": [0, 9]}, "n_estimators: The 'n_estimators' parameter", id="too low"),
        pytest.param(
            {"criterion": {"kind": "categorical", "values": ["gini", "ginni"]}},
            "criterion: The 'criterion'",
            id="choice",
        ),
        pytest.param({"max_depth": [2, 9], "max_features": [0.1, 1]}, None, id="sound"),
    ],
)
@pytest.mark.parametrize("is_member", [False, True], ids=["alone", "member"])
def test_a_range_that_scikit_learn_refuses_is_named_without_data(ranges, message, is_member) -> None:
    model: dict[str, Any] = FOREST
    if is_member:
        members = {"trees": {"family": "xgboost"}, "forest": FOREST}
        model = {"family": "ensemble", "combine": "voting", "members": members}
        ranges = {"trees.eta": [0.1, 0.3]} | {f"forest.{name}": given for name, given in ranges.items()}
        message = message and re.sub(r"^(\w+)|(?<=unknown parameter ')", r"forest.\1", message)
    training = {"task": "binary", "model": model, "tuning": {"trials": 2, "ranges": ranges}}
    problems = parameter_problems(Training.model_validate(training))
    assert [one.startswith(f"E-MODEL-TUNING training.tuning.ranges.{message}") for one in problems] == [True] * bool(
        message
    )


QUANTILE = {"task": "quantile", "quantile": 0.9}
GAMMA = {"family": "sklearn", "estimator": "HistGradientBoostingRegressor", "parameters": {"loss": "gamma"}}


@pytest.mark.parametrize(
    ("training", "message"),
    [
        pytest.param(
            {"task": "anomaly", "model": {"family": "xgboost"}}, "'xgboost' cannot do task 'anomaly'", id="no detector"
        ),
        pytest.param(
            QUANTILE | {"model": {"family": "xgboost", "parameters": {"quantile_alpha": 0.5}}},
            "'quantile_alpha' must not be set",
            id="two quantiles",
        ),
        pytest.param(QUANTILE | {"model": GAMMA}, "'loss' must not be set", id="another loss"),
    ],
)
def test_what_contradicts_the_task_is_named(training, message) -> None:
    (problem,) = model_problems(builders.pipeline(training=training))
    assert message in problem


def ensemble(combine: str, **changes: Any) -> list[str]:
    model = {"family": "ensemble", "combine": combine, "members": {"trees": {"family": "xgboost"}}}
    model["members"] |= changes.pop("members", {})
    return model_problems(builders.pipeline(training={"task": "binary", "model": model, **changes}))


@pytest.mark.parametrize(
    ("combine", "changes", "message"),
    [
        pytest.param("stacking", QUANTILE, "combine: 'stacking' cannot do task 'quantile'.*'weighted'", id="task"),
        pytest.param(
            "voting",
            {"members": {"other": {"family": "sklearn", "estimator": "Ridge"}}},
            "E-MODEL-ESTIMATOR training.model.members.other.estimator: 'Ridge' cannot do",
            id="member",
        ),
        pytest.param("voting", {"tuning": {"trials": 2, "ranges": {"eta": [0.1, 0.2]}}}, "'member.par", id="tuning"),
    ],
)
def test_an_ensemble_that_could_not_be_trained_is_named(combine, changes, message) -> None:
    (problem,) = ensemble(combine, **changes)
    assert re.search(message, problem)


def test_a_sound_ensemble_has_no_problem() -> None:
    assert ensemble("stacking", members={"plain": {"family": "sklearn", "estimator": "LogisticRegression"}}) == []
