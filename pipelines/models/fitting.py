"""Fits a model on a training table; XGBoost stops early on a later slice, then learns from all rows."""

from __future__ import annotations

import importlib
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.errors import ModelError
from pipelines.failpoints import reach
from pipelines.models.allowed import INTEGER_PARAMETERS, default_objective, estimator_of
from pipelines.models.model import Model
from pipelines.models.preprocess import Preprocess, fit_preprocess, missing_values
from pipelines.settings.training import Drop, SklearnEstimator, Training, XGBoost

# Rows per block of a matrix that is built on disk.
_BLOCK_ROWS = 262_144
_EVAL_METRIC = {"binary": "logloss", "multiclass": "mlogloss", "regression": "rmse"}


@dataclass(frozen=True)
class Rows:
    """Features with their targets: 0/1, class numbers or values; `weight` is None for equal weights."""

    table: pa.Table
    target: np.ndarray
    weight: np.ndarray | None = None

    def take(self, chosen: np.ndarray) -> Rows:
        """`chosen`: a boolean mask `(n_rows,)`."""
        weight = None if self.weight is None else self.weight[chosen]
        return Rows(self.table.filter(pa.array(chosen)), self.target[chosen], weight)

    def __len__(self) -> int:
        return self.table.num_rows


@dataclass(frozen=True)
class Recipe:
    """Everything but the rows that determines a model."""

    training: Training
    types: Mapping[str, str]
    classes: list[str]
    threads: int

    def with_parameters(self, chosen: Mapping[str, Any]) -> Recipe:
        """The recipe with tuned parameters; 'rounds' belongs to the model itself."""
        model = self.training.model
        parameters = {**model.parameters, **{name: value for name, value in chosen.items() if name != "rounds"}}
        update: dict[str, Any] = {"parameters": parameters}
        if isinstance(model, XGBoost) and "rounds" in chosen:
            update["rounds"] = int(chosen["rounds"])
        training = self.training.model_copy(update={"model": model.model_copy(update=update)})
        return Recipe(training, self.types, self.classes, self.threads)


def fit(recipe: Recipe, rows: Rows, validation: np.ndarray | None) -> Model:
    """`validation`: mask of the latest rows; XGBoost finds its number of rounds on them, then fits on all rows.

    Rows that lack a feature of strategy 'drop' are left out. Same rows, recipe and libraries give the same bytes.

    Raises:
        ModelError: E-TRAIN-FIT or E-TRAIN-MISSING when these rows cannot be learnt from.
    """
    complete = ~_lacking(recipe, rows.table)
    if not complete.all():
        rows, validation = rows.take(complete), None if validation is None else validation[complete]
    if not isinstance(recipe.training.model, XGBoost):
        return _fit_sklearn(recipe, rows)
    rounds, stopped = recipe.training.model.rounds, None
    if validation is not None and recipe.training.model.early_stopping_rounds:
        stopped = fit_stopping_early(recipe, rows, validation).facts["rounds"]
        rounds = stopped
    return _fit_xgboost(recipe, rows, rounds, early_stopped=stopped is not None)


def fit_on_part(recipe: Recipe, rows: Rows, validation: np.ndarray) -> Model:
    """A model that has not seen the validation rows, to be judged on them (tuning)."""
    if isinstance(recipe.training.model, XGBoost):
        return fit_stopping_early(recipe, rows, validation)
    return _fit_sklearn(recipe, rows.take(~validation))


def _lacking(recipe: Recipe, table: pa.Table) -> np.ndarray:
    """`(n_rows,)` True where a feature of strategy 'drop' is missing."""
    lacking = np.zeros(table.num_rows, dtype=bool)
    for name, kind in recipe.types.items():
        if isinstance(recipe.training.missing.get(name) or recipe.training.missing.get("default"), Drop):
            lacking |= missing_values(table.column(name), kind)
    return lacking


def fit_stopping_early(recipe: Recipe, rows: Rows, validation: np.ndarray) -> Model:
    """Fits on the earlier rows only, at most `rounds`, and keeps the rounds up to the best one."""
    import xgboost

    model = _xgboost_settings(recipe)
    early, late = rows.take(~validation), rows.take(validation)
    preprocess = prepare(recipe, early.table)
    train = _matrix(preprocess, early, recipe.training.max_rows_in_memory)
    with _xgboost_errors():
        booster = xgboost.train(
            xgboost_parameters(recipe),
            train,
            num_boost_round=model.rounds,
            evals=[(_matrix(preprocess, late, recipe.training.max_rows_in_memory, reference=train), "validation")],
            early_stopping_rounds=model.early_stopping_rounds,
            verbose_eval=False,
            callbacks=[_rounds_reached()],
        )
    rounds = (booster.best_iteration + 1) if model.early_stopping_rounds else model.rounds
    return _xgboost_model(recipe, preprocess, booster[:rounds], rounds, early_stopped=True)


def prepare(recipe: Recipe, table: pa.Table) -> Preprocess:
    model = recipe.training.model
    own = None if isinstance(model, XGBoost) else estimator_of(model)
    return fit_preprocess(
        table,
        recipe.types,
        recipe.training.missing,
        one_hot=own is not None,
        scaled=own is not None and own.scaled,
        takes_missing=own is None or own.takes_missing,
        seed=recipe.training.seed,
    )


def xgboost_parameters(recipe: Recipe) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "objective": default_objective(recipe.training.task),
        "eval_metric": _EVAL_METRIC[recipe.training.task],
        **{
            name: int(value) if name in INTEGER_PARAMETERS else value
            for name, value in recipe.training.model.parameters.items()
        },
        "tree_method": "hist",
        "device": "cpu",
        "nthread": recipe.threads,
        "seed": recipe.training.seed,
    }
    if recipe.training.task == "multiclass":
        parameters["num_class"] = len(recipe.classes)
    return parameters


def xgboost_model(recipe: Recipe, preprocess: Preprocess, booster: Any, rounds: int, early_stopped: bool) -> Model:
    return _xgboost_model(recipe, preprocess, booster, rounds, early_stopped)


def _fit_xgboost(recipe: Recipe, rows: Rows, rounds: int, early_stopped: bool) -> Model:
    import xgboost

    preprocess = prepare(recipe, rows.table)
    with _xgboost_errors():
        booster = xgboost.train(
            xgboost_parameters(recipe),
            _matrix(preprocess, rows, recipe.training.max_rows_in_memory),
            num_boost_round=rounds,
            verbose_eval=False,
            callbacks=[_rounds_reached()],
        )
    return _xgboost_model(recipe, preprocess, booster, rounds, early_stopped)


def _matrix(preprocess: Preprocess, rows: Rows, most_rows: int, reference: Any = None) -> Any:
    """The quantised matrix: in memory, or above `most_rows` on disk, built block by block (the values are the same)."""
    import xgboost

    if len(rows) > most_rows:
        blocks = _blocks(preprocess, rows)
        matrix = xgboost.ExtMemQuantileDMatrix(blocks, enable_categorical=True, ref=reference)
        # The cache folder must live as long as the matrix, which does not hold its iterator.
        matrix.blocks = blocks  # type: ignore[attr-defined]
        return matrix
    return xgboost.QuantileDMatrix(
        preprocess.transform(rows.table, np.float32),
        label=rows.target,
        weight=rows.weight,
        feature_types=preprocess.output_types,
        enable_categorical=True,
        ref=reference,
    )


def _blocks(preprocess: Preprocess, rows: Rows) -> Any:
    """XGBoost's iterator over blocks of rows; its cache lies in a temporary folder that goes with the iterator."""
    import xgboost

    class Blocks(xgboost.DataIter):
        def __init__(self) -> None:
            self.folder = tempfile.TemporaryDirectory(prefix="nightshift-xgboost-")
            self.start = 0
            super().__init__(cache_prefix=os.path.join(self.folder.name, "rows"))

        def next(self, input_data: Any) -> bool:
            if self.start >= len(rows):
                return False
            block = slice(self.start, self.start + _BLOCK_ROWS)
            input_data(
                data=preprocess.transform(rows.table.slice(self.start, _BLOCK_ROWS), np.float32),
                label=rows.target[block],
                weight=None if rows.weight is None else rows.weight[block],
                feature_types=preprocess.output_types,
            )
            self.start += _BLOCK_ROWS
            return True

        def reset(self) -> None:
            self.start = 0

    return Blocks()


def _xgboost_model(recipe: Recipe, preprocess: Preprocess, booster: Any, rounds: int, early_stopped: bool) -> Model:
    import xgboost

    facts = {
        "rounds": int(rounds),
        "early_stopped": early_stopped,
        "seed": recipe.training.seed,
        "parameters": dict(sorted(recipe.training.model.parameters.items())),
        "libraries": {"xgboost": xgboost.__version__},
    }
    booster.feature_names = None
    return Model(
        "xgboost", "XGBoost", recipe.training.task, dict(recipe.types), recipe.classes, preprocess, booster, facts
    )


@contextmanager
def _xgboost_errors() -> Iterator[None]:
    """What XGBoost refuses (a parameter out of range, a label that its objective cannot have) is final."""
    import xgboost

    try:
        yield
    except xgboost.core.XGBoostError as error:
        # The first line says it; behind it come a stack trace and before it the time and a place in C++.
        said = str(error).strip().splitlines()[0].rpartition("Check failed: ")[2]
        raise ModelError("E-TRAIN-FIT", "'XGBoost'", said[:400]) from error


def _xgboost_settings(recipe: Recipe) -> XGBoost:
    model = recipe.training.model
    if not isinstance(model, XGBoost):
        raise TypeError("early stopping is XGBoost's")
    return model


def _rounds_reached() -> Any:
    """Lets a test stop a training between two rounds."""
    import xgboost

    class Rounds(xgboost.callback.TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002
            if epoch == 1:
                reach("train.round_n")
            return False

    return Rounds()


def build_estimator(settings: SklearnEstimator, seed: int, threads: int) -> Any:
    """An unfitted estimator from the allow-list.

    Raises:
        ModelError: E-MODEL-PARAMETER when scikit-learn refuses a parameter.
    """
    own = estimator_of(settings)
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.parameters.items()}
    parameters = {**given, **own.fixed}
    parameters |= {"random_state": seed} if own.seeded else {}
    parameters |= {"n_jobs": threads} if own.threaded else {}
    try:
        return getattr(importlib.import_module(own.module), settings.estimator)(**parameters)
    except TypeError as error:
        raise ModelError("E-MODEL-PARAMETER", f"training.model '{settings.estimator}'", str(error)) from error


def _fit_sklearn(recipe: Recipe, rows: Rows) -> Model:
    import inspect

    import sklearn
    from threadpoolctl import threadpool_limits

    settings = recipe.training.model
    if not isinstance(settings, SklearnEstimator):
        raise TypeError("not a scikit-learn model")
    preprocess = prepare(recipe, rows.table)
    build = estimator_of(settings)
    estimator = build_estimator(settings, recipe.training.seed, recipe.threads)
    weighted = rows.weight is not None and "sample_weight" in inspect.signature(estimator.fit).parameters
    if rows.weight is not None and not weighted:
        raise ModelError("E-MODEL-PARAMETER", "training.weight", f"'{settings.estimator}' cannot weigh rows")
    fit_options = {"sample_weight": rows.weight} if weighted else {}
    target = rows.target if recipe.training.task == "regression" else rows.target.astype(np.int64)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with threadpool_limits(recipe.threads):
                estimator.fit(preprocess.transform(rows.table), target, **fit_options)
        except ValueError as error:
            raise ModelError("E-TRAIN-FIT", f"'{settings.estimator}'", str(error)[:400]) from error
    if build.threaded:
        # Forests add up their trees in the order in which threads finish: one thread keeps scores repeatable.
        estimator.set_params(n_jobs=1)
    facts = {
        "seed": recipe.training.seed,
        "parameters": {name: settings.parameters[name] for name in sorted(settings.parameters)},
        "warnings": sorted({str(item.message)[:200] for item in caught if "onverge" in str(item.message)}),
        "libraries": {"scikit-learn": sklearn.__version__},
    }
    return Model(
        "sklearn",
        settings.estimator,
        recipe.training.task,
        dict(recipe.types),
        recipe.classes,
        preprocess,
        estimator,
        facts,
    )
