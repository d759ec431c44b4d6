"""Looks for better parameters with Optuna, judged on the last training partitions; the holdout is never seen."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.context import Context
from pipelines.errors import ModelError
from pipelines.failpoints import reach
from pipelines.models.allowed import takes_integers
from pipelines.models.device import CPU, Device, for_family, resolve
from pipelines.models.fitting import Recipe, Rows, fit_on_part
from pipelines.settings.training import TorchMLP, Tuning
from pipelines.storage.durable import canonical_json
from pipelines.training.dataset import TARGET, Frozen, read_frozen, required
from pipelines.training.metrics import direction, metric, wanted_metric
from pipelines.training.progress import checkpoints_of

_FOUND = "tuned.json"
VALIDATION_SHARE = 5  # one in five training partitions, the latest ones, judges trials and early stopping


def tune(context: Context, snapshot_id: str) -> dict[str, Any]:
    """The best parameters, written beside the snapshot; 'unchanged' when they are there, 'skipped' without settings."""
    training, _ = required(context)
    if training.tuning is None:
        return {"state": "done", "snapshot_id": snapshot_id, "tuned": False}
    device = usable_device(context, "tune")
    frozen = read_frozen(context, snapshot_id)
    known = frozen.files(context).read(_FOUND)
    if known:
        return {"state": "unchanged", "snapshot_id": snapshot_id, "tuned": True, **json.loads(known)}
    found = {**search(context, frozen, training.tuning, device), **device.facts}
    frozen.files(context).write(_FOUND, canonical_json(found))
    return {"state": "done", "snapshot_id": snapshot_id, "tuned": True, **found}


def search(context: Context, frozen: Frozen, tuning: Tuning, device: Device = CPU) -> dict[str, Any]:
    """`{"parameters", "value", "trials"}` of the best trial; the same seed and rows give the same trials.

    A search that was killed goes through its finished trials again without fitting them.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    training, _ = required(context)
    rows, validation = training_rows(context, frozen)
    if not can_judge(rows, validation):
        raise _untunable(context, "the last training partitions and those before them must both hold two label values")
    name = wanted_metric(training)
    recipe = recipe_of(context, frozen, device)

    checkpoints = checkpoints_of(context, frozen, recipe).at("trials")
    finished: list[list[Any]] = json.loads(checkpoints.latest() or b"[]")

    def objective(trial: optuna.Trial) -> float:
        chosen = {parameter: _suggest(trial, tuning, parameter, training.model.family) for parameter in tuning.ranges}
        if trial.number < len(finished) and finished[trial.number][0] == chosen:
            return float(finished[trial.number][1])
        model = fit_on_part(recipe.with_parameters(chosen), rows, validation)
        late = rows.take(validation)
        value = metric(name, late.target, model.predict(late.table))
        finished[trial.number :] = [[chosen, value]]
        checkpoints.save(trial.number, json.dumps(finished).encode())
        reach("tune.after_trial")
        return value

    study = optuna.create_study(
        direction="maximize" if direction(name) == "higher" else "minimize",
        sampler=optuna.samplers.TPESampler(seed=training.seed),
    )
    study.optimize(objective, n_trials=tuning.trials)
    if not any(trial.state == optuna.trial.TrialState.COMPLETE for trial in study.trials):
        raise _untunable(context, f"no trial has a value of '{name}' on the last training partitions")
    return {"parameters": study.best_params, "value": study.best_value, "trials": len(study.trials)}


def can_judge(rows: Rows, validation: np.ndarray) -> bool:
    """Tuning and early stopping need both sides, and two label values on both sides."""
    sides = (rows.target[validation], rows.target[~validation])
    return all(len(np.unique(side)) > 1 for side in sides)


def _untunable(context: Context, what: str) -> ModelError:
    return ModelError(
        "E-TRAIN-TUNE", context.where, what, "The champion stays. Take a larger window, or leave out training.tuning."
    )


def _suggest(trial: Any, tuning: Tuning, parameter: str, family: str) -> float | int:
    low, high = tuning.ranges[parameter]
    log = parameter in tuning.log_scale
    if takes_integers(family, parameter, low):
        return int(trial.suggest_int(parameter, int(low), int(high), log=log))
    return float(trial.suggest_float(parameter, low, high, log=log))


def tuned_parameters(context: Context, frozen: Frozen) -> dict[str, Any]:
    """What `tune` found; nothing when no tuning is wanted.

    Raises:
        ModelError: E-TRAIN-TUNE when tuning is wanted and was not done: other parameters would be trained silently.
    """
    training, _ = required(context)
    if training.tuning is None:
        return {}
    found = frozen.files(context).read(_FOUND)
    if found is None:
        raise ModelError("E-TRAIN-TUNE", context.where, "no parameters were looked for yet", "Clear task 'tune'.")
    return dict(json.loads(found)["parameters"])


def recipe_of(context: Context, frozen: Frozen, device: Device = CPU) -> Recipe:
    training, _ = required(context)
    threads = context.pipeline.resources_of("train").cpus
    return Recipe(training, frozen.types, frozen.classes, threads, device, context.is_small)


def usable_device(context: Context, step: str) -> Device:
    """Where `step` fits models, found out before any data is read.

    Raises:
        ModelError: E-GPU-MISSING when it must be a GPU and the model's family can use none here.
    """
    model = required(context)[0].model
    processes = model.processes if isinstance(model, TorchMLP) else 1
    where = f"{context.where} {step}"
    return for_family(resolve(context.pipeline.resources_of(step), where), model.family, where, processes)


def training_rows(context: Context, frozen: Frozen) -> tuple[Rows, np.ndarray]:
    """The training rows, and the mask `(n_rows,)` of the latest partitions among them."""
    training, _ = required(context)
    table = frozen.table(context, "train")
    late = frozen.training_partitions[-max(1, len(frozen.training_partitions) // VALIDATION_SHARE) :]
    partitions = np.asarray(table["partition"].to_pylist())
    weight = _weights(context, table, training.weight) if training.weight else None
    return Rows(table, table[TARGET].to_numpy(), weight), np.isin(partitions, late)


def _weights(context: Context, table: pa.Table, column: str) -> np.ndarray:
    """`(n_rows,)`. A missing or negative weight would count as anything, or end the training half way."""
    weight = table[column].cast(pa.float64()).to_numpy()
    bad = int((~np.isfinite(weight) | (weight < 0)).sum())
    if bad or not weight.sum():
        raise ModelError(
            "E-TRAIN-WEIGHT",
            context.where,
            f"'{column}' must be a number from 0 up in every training row, got {bad:,} others in {len(weight):,} rows",
            "Fix the column, or leave out training.weight.",
        )
    return weight
