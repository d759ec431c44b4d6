"""Fits a network: finds its number of epochs on a later slice, then learns from all rows; in one process or several."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from pipelines.models.checkpoints import Checkpoints
from pipelines.models.device import confirm, smaller_if_needed
from pipelines.models.model import Model
from pipelines.models.preparation import prepare
from pipelines.models.preprocess import Preprocess
from pipelines.models.recipe import Recipe, Rows
from pipelines.models.torch_image import ImageShape
from pipelines.models.torch_network import Shape
from pipelines.models.torch_plan import Arrays, Plan, Trained
from pipelines.models.torch_processes import train_in_processes
from pipelines.models.torch_sequence import SequenceShape
from pipelines.models.torch_training import train_network
from pipelines.settings.families import TorchImage, TorchMLP, TorchSequence

_WHERE = "'torch'"
# A network learns by steps. With six of them to an epoch, early stopping ends long before there is much to judge.
_STEPS = 64
_FEWEST_ROWS, _MOST_ROWS = 32, 1024


def fit_torch(recipe: Recipe, rows: Rows, validation: np.ndarray | None, checkpoints: Checkpoints | None) -> Model:
    """`validation`: mask of the latest rows, on which the number of epochs is found before all rows are learnt from."""
    recipe = with_batches(recipe, len(rows))
    epochs, stopped = _settings(recipe).epochs, None
    if validation is not None and _settings(recipe).early_stopping_epochs:
        search = checkpoints.at("search") if checkpoints else None
        stopped = fit_torch_stopping_early(recipe, rows, validation, search).facts["epochs"]
        epochs = stopped
    preprocess, rows = prepare(recipe, rows)
    final = checkpoints.at("final") if checkpoints else None
    trained = _trained(recipe, preprocess, rows, None, epochs, final)
    return _model(recipe, preprocess, trained, rows, early_stopped=stopped is not None)


def fit_torch_further(recipe: Recipe, rows: Rows, checkpoints: Checkpoints | None, parent: Model) -> Model:
    """Goes on from the parent's weights, with rows and target prepared and scaled as it has them."""
    warm = recipe.training.warm_start
    if warm is None:
        raise TypeError("no warm start is wanted")
    recipe = with_batches(recipe, len(rows))
    place = checkpoints.at("further") if checkpoints else None
    trained = _trained(recipe, parent.preprocess, rows, None, warm.more("torch"), place, parent)
    first = int(parent.facts["epochs"])
    model = _model(
        recipe, parent.preprocess, replace(trained, epochs=first + trained.epochs), rows, early_stopped=False
    )
    return replace(model, facts={**model.facts, "epochs_of_parent": first})


def fit_torch_stopping_early(
    recipe: Recipe, rows: Rows, validation: np.ndarray, checkpoints: Checkpoints | None = None
) -> Model:
    """Fits on the earlier rows only, at most `epochs`, and keeps the network of the best epoch."""
    recipe = with_batches(recipe, len(rows))  # of all rows: with these the number of epochs must be the right one
    early, late = rows.take(~validation), rows.take(validation)
    preprocess, early = prepare(recipe, early)
    trained = _trained(recipe, preprocess, early, late, _settings(recipe).epochs, checkpoints)
    return _model(recipe, preprocess, trained, early, early_stopped=True)


def with_batches(recipe: Recipe, rows: int) -> Recipe:
    """The recipe with a number of rows per step: its own, or one that follows from the number of training rows."""
    if _settings(recipe).batch_rows is not None:
        return recipe
    power = 1 << max(1, rows // _STEPS).bit_length() - 1
    return recipe.with_parameters({"batch_rows": min(max(power, _FEWEST_ROWS), _MOST_ROWS)})


def _trained(
    recipe: Recipe,
    preprocess: Preprocess,
    rows: Rows,
    late: Rows | None,
    epochs: int,
    checkpoints: Checkpoints | None,
    parent: Model | None = None,
) -> Trained:
    processes = _settings(recipe).processes
    weights = parent.estimator.to_bytes() if parent else None
    first = int(parent.facts["epochs"]) if parent else 0
    arrays, validation = _arrays(preprocess, rows), _arrays(preprocess, late) if late is not None else None

    def train(is_small: bool) -> Trained:
        plan = replace(_plan(recipe, preprocess, epochs, is_small), first_epoch=first)
        if processes > 1:
            return train_in_processes(plan, arrays, validation, checkpoints, processes, weights)
        return train_network(plan, arrays, validation, checkpoints, recipe.look, weights)

    trained = smaller_if_needed(train, _WHERE)
    confirm(recipe.device, trained.device, _WHERE)
    return trained


def _plan(recipe: Recipe, preprocess: Preprocess, epochs: int, is_small: bool) -> Plan:
    settings = _settings(recipe)
    if settings.batch_rows is None:
        raise TypeError("the rows per step are not known yet")
    return Plan(
        shape=_shape(recipe, preprocess),
        task=recipe.training.task,
        quantile=recipe.training.quantile,
        seed=recipe.training.seed,
        epochs=epochs,
        patience=settings.early_stopping_epochs,
        batch_rows=settings.batch_rows,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        precision=settings.precision,
        deterministic=settings.deterministic,
        device=recipe.device.kind,
        threads=max(1, recipe.threads // settings.processes),
        checkpoint_epochs=settings.checkpoint_epochs,
        is_small=is_small,
    )


def _shape(recipe: Recipe, preprocess: Preprocess) -> Shape:
    """Of anomalies an autoencoder: the hidden layers down to a code of at most half the inputs, and up again."""
    settings, task = _settings(recipe), recipe.training.task
    if task == "anomaly":
        inputs = len(preprocess.output_names)
        *outer, code = settings.hidden_layers
        layers = [*outer, min(code, max(1, inputs // 2)), *reversed(outer)]
        return Shape.of(preprocess, layers, inputs, settings.dropout, code=len(outer))
    outputs = len(recipe.classes) if task == "multiclass" else 1
    sequence = image = None
    if isinstance(settings, TorchImage):
        image = ImageShape.of(settings.network, settings.channels, preprocess)
    if isinstance(settings, TorchSequence):
        names = preprocess.output_names
        sequence = SequenceShape.of(settings.network, settings.channels, names, recipe.types)
    return Shape.of(preprocess, settings.hidden_layers, outputs, settings.dropout, sequence=sequence, image=image)


def _arrays(preprocess: Preprocess, rows: Rows) -> Arrays:
    return Arrays(preprocess.transform(rows.table, np.float32), rows.target.astype(np.float64), rows.weight)


def _model(recipe: Recipe, preprocess: Preprocess, trained: Trained, rows: Rows, early_stopped: bool) -> Model:
    settings = _settings(recipe)
    left_out = {"family", "epochs", "checkpoint_epochs"}
    parameters: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in sorted(settings.model_dump().items())
        if name not in left_out
    }
    facts: dict[str, Any] = {
        "epochs": trained.epochs,
        "early_stopped": early_stopped,
        "seed": recipe.training.seed,
        "parameters": parameters,
        "device": recipe.device.kind,
        "network": trained.network.shape.to_dict(),
        "libraries": {"torch": torch.__version__},
    }
    if recipe.training.task == "anomaly":
        errors = trained.network.scores(preprocess.transform(rows.table, np.float32), "anomaly")
        facts["typical"] = float(np.median(errors))
    return Model(
        settings.family,
        type(settings).__name__,
        recipe.training.task,
        dict(recipe.types),
        recipe.classes,
        preprocess,
        trained.network,
        facts,
    )


def _settings(recipe: Recipe) -> TorchMLP:
    model = recipe.training.model
    if not isinstance(model, TorchMLP):
        raise TypeError("not a PyTorch model")
    return model
