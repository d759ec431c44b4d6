"""Looks for better parameters with Optuna, judged on the last training partitions; the holdout is never seen."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.context import Context
from pipelines.errors import ModelError
from pipelines.ledger import Row
from pipelines.models.device import CPU, Device, for_family, resolve
from pipelines.models.fitting import Recipe, Rows
from pipelines.runs.step import code_version
from pipelines.settings.families import TorchMLP
from pipelines.settings.search import Tuning
from pipelines.storage.durable import canonical_json
from pipelines.training.dataset import TARGET, Frozen, read_frozen, required
from pipelines.training.metrics import direction, wanted_metric
from pipelines.training.progress import fit_digest
from pipelines.training.tuning_search import Search, best_of, work
from pipelines.training.tuning_start import first_parameters
from pipelines.training.tuning_study import COMPLETE, FAILED, PRUNED, Studies

_FOUND = "tuned.json"
_MOST_REASONS, _LONGEST_REASON = 2, 200
VALIDATION_SHARE = 5  # one in five training partitions, the latest ones, judges trials and early stopping


def tune(context: Context, snapshot_id: str, worker: int = 0) -> dict[str, Any]:
    """The best parameters, written beside the snapshot; 'unchanged' when they are there, 'skipped' without settings.

    Several workers with different numbers share the search; each returns when all trials have ended.

    Raises:
        ModelError: E-TRAIN-TUNE when nothing can be judged, or no trial could be.
    """
    training, _ = required(context)
    if training.tuning is None:
        return {"state": "done", "snapshot_id": snapshot_id, "tuned": False}
    device = usable_device(context, "tune")
    frozen = read_frozen(context, snapshot_id)
    studies = Studies(context.home.ledger_url)
    told = {"snapshot_id": snapshot_id, "tuned": True, "worker": worker}
    known = frozen.files(context).read(_FOUND)
    if known:
        found = json.loads(known)
        return {"state": "unchanged", **told, **found, **_log_trials(context, studies, found["study"])}
    found = {**search(context, frozen, studies, device), **device.facts}
    frozen.files(context).write(_FOUND, canonical_json(found))
    return {"state": "done", **told, **found, **_log_trials(context, studies, found["study"])}


def search(
    context: Context,
    frozen: Frozen,
    studies: Studies,
    device: Device = CPU,
    first: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """What came out best, with how many trials ended in which way; takes part until all have ended.

    `first`: what is tried first, by default what the settings' `warm_start` finds. With one worker the same seed, rows
    and first parameters give the same trials, also when a killed search is gone on with.
    """
    training, _ = required(context)
    tuning = training.tuning
    if tuning is None:
        raise TypeError("no tuning is wanted")
    rows, validation = training_rows(context, frozen)
    if not can_judge(rows, validation):
        raise _untunable(context, "the last training partitions and those before them must both hold two label values")
    recipe = recipe_of(context, frozen, device)
    study = _open(context, frozen, studies, recipe, first)
    name, first = study["study"], study["first"]
    work(Search(studies, name, tuning, first, recipe, rows, validation, study["metric"], study["partition"]))
    trials = studies.trials(study["study"])
    best = best_of(trials, study["metric"])
    if best is None:
        _log_trials(context, studies, study["study"])
        raise _untunable(context, f"none of {len(trials)} trials made a model that could be judged{_reasons(trials)}")
    return _found(study, trials, best, tuning)


def _open(
    context: Context, frozen: Frozen, studies: Studies, recipe: Recipe, first: Sequence[Mapping[str, Any]] | None
) -> Row:
    """The search of just these rows, settings, code and libraries: trials of others are never mixed with its own."""
    training, name = recipe.training, wanted_metric(recipe.training)
    study = f"{context.name} {frozen.snapshot_id} {fit_digest(frozen, recipe)[:16]}"
    chosen = first_parameters(context, training, studies, study) if first is None else list(first)
    return studies.open(
        study,
        pipeline=context.name,
        snapshot_id=frozen.snapshot_id,
        partition=context.key,
        metric=name,
        direction=direction(name),
        trials=training.tuning.trials if training.tuning else 0,
        code_version=code_version(),
        first=chosen,
        settings=training.tuning.model_dump(mode="json") if training.tuning else {},
    )


def _found(study: Row, trials: Sequence[Row], best: Row, tuning: Tuning) -> dict[str, Any]:
    states = Counter(row["state"] for row in trials)
    return {
        "parameters": best["parameters"],
        "value": best["value"],
        "metric": study["metric"],
        "study": study["study"],
        "best_trial": best["number"],
        "trials": len(trials),
        **{state: states[state] for state in (COMPLETE, PRUNED, FAILED)},
        "workers": tuning.workers,
        "settings": tuning.digest(),
        "first": study["first"],
    }


def _reasons(trials: Sequence[Row]) -> str:
    told = [f"; trial {row['number']}: {row['reason'][:_LONGEST_REASON]}" for row in trials if row["reason"]]
    return "".join(told[:_MOST_REASONS])


def _log_trials(context: Context, studies: Studies, study: str) -> dict[str, str]:
    """Writes the trials to MLflow, as far as it lacks them; what `log_search` says of it."""
    from pipelines.training.tuning_mlflow import log_search

    known = [row for row in studies.of(context.name) if row["study"] == study]
    # An old search is forgotten by maintenance, and its snapshot may be trained on again.
    return log_search(context, known[0], studies.trials(study)) if known else {}


def log_trials_again(context: Context, frozen: Frozen) -> None:
    """Writes what MLflow lacked when the search ended; nothing where nothing was searched."""
    found = known_tuning(context, frozen)
    if found:
        _log_trials(context, Studies(context.home.ledger_url), found["study"])


def tune_again(context: Context, snapshot_id: str, recorded: Mapping[str, Any] | None) -> None:
    """As `tune`, apart from all searches of the ledger, for a replay.

    Several workers find something else each time: what is `recorded` of the version is used where the settings ask for
    the same search. What was tried first is that of the record, too.
    """
    training, _ = required(context)
    if training.tuning is None:
        return
    frozen = read_frozen(context, snapshot_id)
    is_same = bool(recorded) and (recorded or {}).get("settings") == training.tuning.digest()
    if is_same and recorded and training.tuning.workers > 1:
        found = dict(recorded)
    else:
        device = usable_device(context, "tune")
        with context.scratch("tune") as folder:
            apart = Studies(f"sqlite:///{folder / 'studies.db'}")
            found = search(context, frozen, apart, device, recorded["first"] if is_same and recorded else None)
    frozen.files(context).write(_FOUND, canonical_json(found))


def can_judge(rows: Rows, validation: np.ndarray) -> bool:
    """Tuning and early stopping need both sides, and two label values on both sides."""
    sides = (rows.target[validation], rows.target[~validation])
    return all(len(np.unique(side)) > 1 for side in sides)


def _untunable(context: Context, what: str) -> ModelError:
    return ModelError(
        "E-TRAIN-TUNE",
        context.where,
        what,
        "The champion stays. Take a larger window or other ranges, or leave out training.tuning.",
    )


def tuned_parameters(context: Context, frozen: Frozen) -> dict[str, Any]:
    """What `tune` found; nothing when no tuning is wanted.

    Raises:
        ModelError: E-TRAIN-TUNE when tuning is wanted and was not done: other parameters would be trained silently.
    """
    found = known_tuning(context, frozen)
    return dict(found["parameters"]) if found else {}


def known_tuning(context: Context, frozen: Frozen) -> dict[str, Any] | None:
    """All that `tune` found, None when no tuning is wanted; raises as `tuned_parameters`."""
    training, _ = required(context)
    if training.tuning is None:
        return None
    found = frozen.files(context).read(_FOUND)
    if found is None:
        raise ModelError("E-TRAIN-TUNE", context.where, "no parameters were looked for yet", repeat="tune")
    return dict(json.loads(found))


def tuning_record(context: Context, frozen: Frozen) -> dict[str, Any]:
    """What a model's record says of its parameters' search; nothing where none was wanted."""
    found = known_tuning(context, frozen)
    return {"tuning": found} if found else {}


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
