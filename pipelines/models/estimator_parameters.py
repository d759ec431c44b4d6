"""What scikit-learn itself says about the parameters of an allowed estimator: their names, defaults and values."""

from __future__ import annotations

import importlib
from typing import Any

from pipelines.errors import did_you_mean, quote
from pipelines.models.estimators import ESTIMATORS, estimator_of, estimator_parameters
from pipelines.settings.families import Ensemble, SklearnEstimator
from pipelines.settings.training import Training

# Set by this product (see `Estimator`), an object, or without a meaning for a model that is fitted once.
_NOT_OFFERED = frozenset(
    {"random_state", "n_jobs", "verbose", "warm_start", "copy_X", "copy_X_train", "estimator", "covariance_estimator"}
)


def defaults_of(name: str) -> dict[str, Any]:
    """The estimator's parameters that a pipeline may set, with scikit-learn's defaults. Without deprecated ones."""
    own = ESTIMATORS[name]
    unfitted = getattr(importlib.import_module(own.module), name)()
    return {
        parameter: value
        for parameter, value in unfitted.get_params(deep=False).items()
        if parameter not in _NOT_OFFERED | set(own.fixed) and value != "deprecated"
    }


def parameter_problems(training: Training | None) -> list[str]:
    """Parameters that scikit-learn would refuse, found without any data. Imports scikit-learn.

    The settings must be free of the problems that `model_problems` finds.
    """
    model = training.model if training else None
    if training is not None and isinstance(model, Ensemble):
        return [
            problem.replace("training.model", f"training.model.members.{name}", 1)
            for name, member in model.members.items()
            for problem in parameter_problems(training.model_copy(update={"model": member}))
        ]
    if training is None or not isinstance(model, SklearnEstimator):
        return []
    from sklearn.utils._param_validation import InvalidParameterError

    where = "E-MODEL-PARAMETER training.model.parameters"
    own, known = estimator_of(model), defaults_of(model.estimator)
    unknown = [name for name in model.parameters if name not in known and name not in own.fixed]
    if unknown:
        return [
            f"{where}: unknown parameter {quote(name)} of '{model.estimator}'. {did_you_mean(name, known)}".rstrip()
            for name in unknown
        ]
    estimator = getattr(importlib.import_module(own.module), model.estimator)(**estimator_parameters(training))
    try:
        # The check that each of scikit-learn's own `fit` methods begins with; it has no public name.
        estimator._validate_params()
    except InvalidParameterError as error:
        return [f"{where}: {str(error).removesuffix('.')}"]
    return []
