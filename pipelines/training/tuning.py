"""Looks for better parameters with Optuna, judged on the last training partitions; the holdout is never seen."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from pipelines.context import Context
from pipelines.models.allowed import INTEGER_PARAMETERS
from pipelines.models.fitting import Recipe, Rows, fit_on_part
from pipelines.settings.training import Tuning
from pipelines.storage.durable import canonical_json, write_bytes
from pipelines.training.dataset import TARGET, Frozen, read_frozen, required
from pipelines.training.metrics import default_metric, direction, metric

VALIDATION_SHARE = 5  # one in five training partitions, the latest ones, judges trials and early stopping


def tune(context: Context, snapshot_id: str) -> dict[str, Any]:
    """The best parameters, written beside the snapshot; 'unchanged' when they are there, 'skipped' without settings."""
    training, _ = required(context)
    if training.tuning is None:
        return {"state": "done", "snapshot_id": snapshot_id, "tuned": False}
    frozen = read_frozen(context, snapshot_id)
    path = frozen.folder(context) / "tuned.json"
    if path.exists():
        return {"state": "unchanged", "snapshot_id": snapshot_id, "tuned": True, **json.loads(path.read_text())}
    found = search(context, frozen, training.tuning)
    write_bytes(path, canonical_json(found))
    return {"state": "done", "snapshot_id": snapshot_id, "tuned": True, **found}


def search(context: Context, frozen: Frozen, tuning: Tuning) -> dict[str, Any]:
    """`{"parameters", "value", "trials"}` of the best trial; the same seed and rows give the same trials."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    training, _ = required(context)
    rows, validation = training_rows(context, frozen)
    name = training.metric or default_metric(training.task)
    recipe = recipe_of(context, frozen)

    def objective(trial: optuna.Trial) -> float:
        chosen = {parameter: _suggest(trial, tuning, parameter) for parameter in tuning.ranges}
        model = fit_on_part(recipe.with_parameters(chosen), rows, validation)
        late = rows.take(validation)
        return metric(name, late.target, model.predict(late.table))

    study = optuna.create_study(
        direction="maximize" if direction(name) == "higher" else "minimize",
        sampler=optuna.samplers.TPESampler(seed=training.seed),
    )
    study.optimize(objective, n_trials=tuning.trials)
    return {"parameters": study.best_params, "value": study.best_value, "trials": len(study.trials)}


def _suggest(trial: Any, tuning: Tuning, parameter: str) -> float | int:
    low, high = tuning.ranges[parameter]
    log = parameter in tuning.log_scale
    if parameter == "rounds" or parameter in INTEGER_PARAMETERS:
        return int(trial.suggest_int(parameter, int(low), int(high), log=log))
    return float(trial.suggest_float(parameter, low, high, log=log))


def tuned_parameters(context: Context, frozen: Frozen) -> dict[str, Any]:
    path = frozen.folder(context) / "tuned.json"
    return dict(json.loads(path.read_text())["parameters"]) if path.exists() else {}


def recipe_of(context: Context, frozen: Frozen) -> Recipe:
    training, _ = required(context)
    return Recipe(training, frozen.types, frozen.classes, context.pipeline.resources_of("train").threads)


def training_rows(context: Context, frozen: Frozen) -> tuple[Rows, np.ndarray]:
    """The training rows, and the mask `(n_rows,)` of the latest partitions among them."""
    training, _ = required(context)
    table = frozen.table(context, "train")
    late = frozen.training_partitions[-max(1, len(frozen.training_partitions) // VALIDATION_SHARE) :]
    partitions = np.asarray(table["partition"].to_pylist())
    weight = table[training.weight].to_numpy() if training.weight else None
    return Rows(table, table[TARGET].to_numpy(), weight), np.isin(partitions, late)
