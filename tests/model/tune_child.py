"""A worker of a search in a process of its own, which tests kill: `python -m tests.model.tune_child URL KIND`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.models.recipe import Recipe
from pipelines.settings.training import Training
from pipelines.training.tuning_search import Search, work
from pipelines.training.tuning_study import Studies
from tests.model.fit_child import rows

STUDY = "search of the tests"
RANGES = {
    "max_depth": [1, 6],
    "learning_rate": {"kind": "float", "low": 0.01, "high": 0.9, "log": True},
    "subsample": {"kind": "float", "low": 0.5, "high": 1.0, "step": 0.25},
    "grow_policy": {"kind": "categorical", "values": ["depthwise", "lossguide"]},
}
PRUNED = {"pruner": {"kind": "median", "every": 5, "startup_trials": 2}}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"trials": 14},  # more than Optuna's ten random ones
    "median": {"trials": 14, **PRUNED},
    "halving": {"trials": 14, "pruner": {"kind": "halving", "every": 3}},
    "hyperband": {"trials": 14, "pruner": {"kind": "hyperband", "every": 3}},
    "shared": {"trials": 10, "workers": 2, **PRUNED},
}
BOOSTED = {"family": "xgboost", "rounds": 30, "early_stopping_rounds": None}


def training_of(kind: str, model: Mapping[str, Any] = BOOSTED, **changes: Any) -> Training:
    tuning = {"ranges": RANGES, **KINDS[kind], **changes}
    return Training.model_validate({"task": "binary", "seed": 7, "model": model, "tuning": tuning})


def take_part(url: str, training: Training, study: str = STUDY, first: Sequence[Mapping[str, Any]] = ()) -> Studies:
    """Works until all trials have ended."""
    assert training.tuning
    table = rows()
    recipe = Recipe(training, {"a": "number", "b": "number", "kind": "category"}, ["0", "1"], 1)
    late, studies = np.arange(len(table)) >= len(table) * 4 // 5, Studies(url)
    work(Search(studies, study, training.tuning, first, recipe, table, late, "roc_auc"))
    return studies


def outcome(studies: Studies, study: str = STUDY) -> list[dict[str, Any]]:
    """All that must not depend on interruptions, trial by trial."""
    kept = ("number", "state", "parameters", "value", "looks", "notes", "reason")
    return [{name: row[name] for name in kept} for row in studies.trials(study)]


if __name__ == "__main__":
    take_part(sys.argv[1], training_of(sys.argv[2]))
