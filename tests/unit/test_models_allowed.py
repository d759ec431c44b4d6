"""Model settings that could never be trained are named before anything runs."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pipelines.models import model_problems
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
