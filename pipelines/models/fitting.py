"""Fits a model on a training table, by the family that the recipe names; libraries are imported when they are used."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pipelines.models.checkpoints import Checkpoints
from pipelines.models.device import for_family
from pipelines.models.model import Model
from pipelines.models.recipe import Recipe, Rows, lacking
from pipelines.settings.families import Ensemble, SklearnEstimator, TorchMLP, XGBoost


def fit(
    recipe: Recipe,
    rows: Rows,
    validation: np.ndarray | None,
    checkpoints: Checkpoints | None = None,
    parent: Model | None = None,
) -> Model:
    """`validation`: mask of the latest rows; the number of rounds or epochs is found on them, then all are learnt from.

    With `parent` the model goes on from it by the rounds or epochs of `training.warm_start`; nothing is searched for,
    as the parent knows most of the latest rows. It must mean the same: see `pipelines.training.warm_start`.

    Rows that lack a feature of strategy 'drop' are left out, and the anomalies of task 'anomaly'. Same rows, recipe and
    libraries give the same bytes on a CPU, also when the fit goes on from `checkpoints` (which must be
    of this recipe and these rows).

    Raises:
        ModelError: E-TRAIN-FIT or E-TRAIN-MISSING when these rows cannot be learnt from; E-GPU-MISSING before and
            E-GPU-FALLBACK after a fit that is not on the device that was asked for.
        ExhaustedError: E-GPU-OOM when the GPU has no room even for a smaller footprint.
        ResourceError: E-GPU-LOST, E-TRAIN-RANK; the next attempt goes on from the last checkpoint.
    """
    if recipe.training.calibration or recipe.training.intervals:
        from pipelines.models.held_out import fit_held_out

        return fit_held_out(recipe, rows, validation, checkpoints)
    recipe = on_usable_device(recipe)
    complete = ~lacking(recipe, rows.table)
    if recipe.training.task == "anomaly":
        complete &= rows.target != 1
    if not complete.all():
        rows, validation = rows.take(complete), None if validation is None else validation[complete]
    model = (
        _fit(recipe, rows, validation, checkpoints) if parent is None else _further(recipe, rows, checkpoints, parent)
    )
    facts: dict[str, Any] = {} if recipe.training.quantile is None else {"quantile": recipe.training.quantile}
    told = model.preprocess.facts or (parent.facts.get("preparation") if parent else None)
    if told and model.family != "ensemble":  # each member tells its own
        facts["preparation"] = told
    return replace(model, facts={**model.facts, **facts}) if facts else model


def _fit(recipe: Recipe, rows: Rows, validation: np.ndarray | None, checkpoints: Checkpoints | None) -> Model:
    if isinstance(recipe.training.model, Ensemble):
        from pipelines.models.ensemble_fitting import fit_ensemble

        return fit_ensemble(recipe, rows, validation, checkpoints)
    if isinstance(recipe.training.model, SklearnEstimator):
        from pipelines.models.sklearn_fitting import fit_sklearn

        return fit_sklearn(recipe, rows)
    if isinstance(recipe.training.model, TorchMLP):
        from pipelines.models.torch_fitting import fit_torch

        return fit_torch(recipe, rows, validation, checkpoints)
    from pipelines.models.xgboost_fitting import fit_xgboost

    return fit_xgboost(recipe, rows, validation, checkpoints)


def _further(recipe: Recipe, rows: Rows, checkpoints: Checkpoints | None, parent: Model) -> Model:
    if isinstance(recipe.training.model, TorchMLP):
        from pipelines.models.torch_fitting import fit_torch_further

        return fit_torch_further(recipe, rows, checkpoints, parent)
    if not isinstance(recipe.training.model, XGBoost):
        raise TypeError(f"family '{recipe.training.model.family}' cannot go on from a parent")
    from pipelines.models.xgboost_fitting import fit_further

    return fit_further(recipe, rows, checkpoints, parent)


def fit_on_part(recipe: Recipe, rows: Rows, validation: np.ndarray) -> Model:
    """A model that has not seen the validation rows, to be judged on them (tuning)."""
    if isinstance(recipe.training.model, Ensemble):
        return fit(recipe, rows.take(~validation), None)
    recipe = on_usable_device(recipe)
    if recipe.training.task == "anomaly":
        normal = rows.target != 1
        rows, validation = rows.take(normal), validation[normal]
    if isinstance(recipe.training.model, SklearnEstimator):
        from pipelines.models.sklearn_fitting import fit_sklearn

        return fit_sklearn(recipe, rows.take(~validation))
    if isinstance(recipe.training.model, TorchMLP):
        from pipelines.models.torch_fitting import fit_torch_stopping_early

        return fit_torch_stopping_early(recipe, rows, validation)
    from pipelines.models.xgboost_fitting import fit_stopping_early

    return fit_stopping_early(recipe, rows, validation)


def on_usable_device(recipe: Recipe) -> Recipe:
    """The recipe on the device that its family can use here.

    Raises:
        ModelError: E-GPU-MISSING when it must be a GPU and none can be used.
    """
    model = recipe.training.model
    processes = model.processes if isinstance(model, TorchMLP) else 1
    return replace(recipe, device=for_family(recipe.device, model.family, f"'{model.family}'", processes))


__all__ = ["Recipe", "Rows", "fit", "fit_on_part", "on_usable_device"]
