"""Fits an allowed scikit-learn estimator."""

from __future__ import annotations

import importlib
import inspect
import warnings
from typing import Any

import numpy as np
import sklearn
from threadpoolctl import threadpool_limits

from pipelines.errors import ModelError
from pipelines.models.anomalies import strangeness
from pipelines.models.estimators import estimator_of, estimator_parameters
from pipelines.models.model import Model
from pipelines.models.preparation import prepare
from pipelines.models.recipe import Recipe, Rows
from pipelines.models.segments import first_names, memberships
from pipelines.settings.families import SklearnEstimator
from pipelines.settings.tasks import VALUE_TASKS
from pipelines.settings.training import Training

_CALIBRATION_FOLDS = 5


def build_estimator(training: Training, threads: int) -> Any:
    """An unfitted estimator from the allow-list.

    Raises:
        ModelError: E-MODEL-PARAMETER when scikit-learn refuses a parameter.
    """
    settings = settings_of(training)
    own = estimator_of(settings)
    parameters = estimator_parameters(training)
    parameters |= {"random_state": training.seed} if own.seeded else {}
    parameters |= {"n_jobs": threads} if own.threaded else {}
    try:
        estimator = getattr(importlib.import_module(own.module), settings.estimator)(**parameters)
    except TypeError as error:
        raise ModelError("E-MODEL-PARAMETER", f"training.model '{settings.estimator}'", str(error)) from error
    return calibrated(estimator) if own.calibrated else estimator


def calibrated(estimator: Any) -> Any:
    """The estimator with probabilities: a sigmoid of its decision, learnt out of fold on the training rows."""
    from sklearn.calibration import CalibratedClassifierCV

    return CalibratedClassifierCV(estimator, method="sigmoid", cv=_CALIBRATION_FOLDS, ensemble=False)


def fit_sklearn(recipe: Recipe, rows: Rows) -> Model:
    settings = settings_of(recipe.training)
    preprocess, rows = prepare(recipe, rows)
    build = estimator_of(settings)
    estimator = build_estimator(recipe.training, recipe.threads)
    weighted = rows.weight is not None and "sample_weight" in inspect.signature(estimator.fit).parameters
    if rows.weight is not None and not weighted:
        raise ModelError("E-MODEL-PARAMETER", "training.weight", f"'{settings.estimator}' cannot weigh rows")
    fit_options = {"sample_weight": rows.weight} if weighted else {}
    target = rows.target if recipe.training.task in VALUE_TASKS else rows.target.astype(np.int64)
    matrix = preprocess.transform(rows.table)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with threadpool_limits(recipe.threads):
                estimator.fit(matrix, target, **fit_options)
        except ValueError as error:
            raise ModelError("E-TRAIN-FIT", f"'{settings.estimator}'", str(error)[:400]) from error
    if build.threaded:
        # Forests add up their trees in the order in which threads finish: one thread keeps scores repeatable.
        estimator.set_params(n_jobs=1)
    facts = {
        "seed": recipe.training.seed,
        "parameters": {name: settings.parameters[name] for name in sorted(settings.parameters)},
        "device": "cpu",
        "warnings": sorted({str(item.message)[:200] for item in caught if "onverge" in str(item.message)}),
        "libraries": {"scikit-learn": sklearn.__version__},
    }
    if recipe.training.task == "anomaly":
        facts["typical"] = float(np.median(strangeness(estimator, matrix)))
    classes = recipe.classes
    if recipe.training.task == "segments":
        classes, named = first_names(memberships(estimator, matrix))
        facts |= named
        estimator.labels_ = estimator.labels_[:0]  # a segment per training row, which nothing needs
    return Model(
        "sklearn",
        settings.estimator,
        recipe.training.task,
        dict(recipe.types),
        classes,
        preprocess,
        estimator,
        facts,
    )


def settings_of(training: Training) -> SklearnEstimator:
    if not isinstance(training.model, SklearnEstimator):
        raise TypeError("not a scikit-learn model")
    return training.model
