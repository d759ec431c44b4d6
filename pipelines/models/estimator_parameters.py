"""What scikit-learn itself says about the parameters of an allowed estimator: their names, defaults and values."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.errors import did_you_mean, quote
from pipelines.models.estimators import ESTIMATORS, estimator_of, estimator_parameters
from pipelines.models.ranges import ranges_of
from pipelines.settings.families import Ensemble, SklearnEstimator, XGBoost
from pipelines.settings.search import Choices
from pipelines.settings.training import Training

# Set by this product (see `Estimator`), an object, or without a meaning for a model that is fitted once.
_NOT_OFFERED = frozenset(
    {"random_state", "n_jobs", "verbose", "warm_start", "copy_X", "copy_X_train", "estimator", "covariance_estimator"}
)

# What XGBoost can judge only with the rows and classes of a training.
_NEEDS_ROWS = frozenset({"objective", "eval_metric", "num_class", "quantile_alpha", "device", "base_score"})


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
    """Parameters, and ranges to tune them in, that the library would refuse; found without data.

    Imports scikit-learn or XGBoost, each only where a model has parameters for it.
    The settings must be free of the problems that `model_problems` finds.
    """
    if training is None:
        return []
    if not isinstance(training.model, Ensemble):
        return [*_given_problems(training, "training.model"), *_range_problems(training, training, "")]
    found = []
    for name, member in training.model.members.items():
        alone = training.model_copy(update={"model": member})
        found += _given_problems(alone, f"training.model.members.{name}")
        found += _range_problems(training, alone, f"{name}.")
    return found


def _given_problems(training: Training, place: str) -> list[str]:
    model, where = training.model, f"E-MODEL-PARAMETER {place}.parameters"
    if isinstance(model, XGBoost) and model.parameters:
        refused = refused_by_xgboost(model.parameters)
        return [f"{where}: {refused}"] if refused else []
    if not isinstance(model, SklearnEstimator):
        return []
    unknown = [name for name in model.parameters if not _is_known(model, name)]
    if unknown:
        return [f"{where}: {_unknown(model, name, name)}" for name in unknown]
    refused = _refused(training, model)
    return [f"{where}: {refused}"] if refused else []


def _range_problems(training: Training, alone: Training, prefix: str) -> Iterator[str]:
    """`alone`: the training of the member whose ranges begin with `prefix`. Both ends, or each choice, are tried."""
    model = alone.model
    if not isinstance(model, SklearnEstimator):
        return
    for name, given in ranges_of(training).items():
        if not name.startswith(prefix):
            continue
        where, parameter = f"E-MODEL-TUNING training.tuning.ranges.{name}", name.removeprefix(prefix)
        if parameter not in defaults_of(model.estimator):
            yield f"{where}: {_unknown(model, parameter, name)}"
            continue
        for value in given.values if isinstance(given, Choices) else (given.low, given.high):
            tried = model.model_copy(update={"parameters": {parameter: value}})
            if refused := _refused(alone, tried):
                yield f"{where}: {refused} (the range {quote(name)})"


def _is_known(model: SklearnEstimator, name: str) -> bool:
    return name in defaults_of(model.estimator) or name in estimator_of(model).fixed


def _unknown(model: SklearnEstimator, parameter: str, written: str) -> str:
    near = did_you_mean(parameter, defaults_of(model.estimator))
    return f"unknown parameter {quote(written)} of '{model.estimator}'. {near}".rstrip()


def refused_by_xgboost(parameters: Mapping[str, Any]) -> str | None:
    """What XGBoost says against these parameters, None when it takes them: it looks at them only when it trains."""
    import numpy as np
    import xgboost

    rows = xgboost.DMatrix(np.array([[0.0], [1.0]]), label=np.array([0.0, 1.0]))
    own = {name: value for name, value in parameters.items() if name not in _NEEDS_ROWS}
    try:
        # A parameter 'verbosity' would stay: whatever the process trains later would warn of nothing.
        with xgboost.config_context(verbosity=0):
            xgboost.train({"nthread": 1, **own}, rows, 1)
    except xgboost.core.XGBoostError as error:
        return str(error).splitlines()[0].rpartition("] ")[2].removesuffix(".")
    return None


def _refused(training: Training, model: SklearnEstimator) -> str | None:
    """What scikit-learn says against these parameters, None when it takes them."""
    from sklearn.utils._param_validation import InvalidParameterError

    given = estimator_parameters(training.model_copy(update={"model": model}))
    estimator = getattr(importlib.import_module(estimator_of(model).module), model.estimator)(**given)
    try:
        # The check that each of scikit-learn's own `fit` methods begins with; it has no public name.
        estimator._validate_params()
    except InvalidParameterError as error:
        return str(error).removesuffix(".")
    return None
