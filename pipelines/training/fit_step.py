"""Fits a challenger on a frozen snapshot and registers it in MLflow and in the ledger."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from pipelines.context import Context
from pipelines.errors import ModelError
from pipelines.failpoints import reach
from pipelines.models.artifact import artifact_sha256
from pipelines.models.device import Device
from pipelines.models.fitting import fit
from pipelines.models.model import Model
from pipelines.models.stored import model_address, read_stored, store_model
from pipelines.report.model_card import write_card
from pipelines.runs.step import code_version
from pipelines.training.dataset import TARGET, Frozen, read_frozen, required
from pipelines.training.metrics import metrics
from pipelines.training.plots import plots
from pipelines.training.progress import checkpoints_of, forget_checkpoints
from pipelines.training.provenance import provenance
from pipelines.training.registry import register
from pipelines.training.registry_run import Challenger
from pipelines.training.sample import predictions_digest, take_sample
from pipelines.training.segment_names import with_known_names
from pipelines.training.tuning import (
    can_judge,
    log_trials_again,
    recipe_of,
    training_rows,
    tuned_parameters,
    tuning_record,
    usable_device,
)
from pipelines.training.uncertainty import uncertainty, uncertainty_metrics
from pipelines.training.unlabelled import score_facts
from pipelines.training.warm_start import parent_of, told

_KEPT = "model.sha256"  # digest of the fitted model, noted at the snapshot


def train(context: Context, snapshot_id: str) -> dict[str, Any]:
    """The registered challenger: `version`, holdout metrics, seconds. A retry of the same run keeps its version.

    Raises:
        ModelError: E-TRAIN-* when nothing sensible can be fitted; the champion stays.
        ModelError: E-GPU-MISSING before any data is read, E-GPU-FALLBACK when the fit was elsewhere than asked for.
        StorageError: E-REG-DOWN when MLflow does not answer; the fitted model is kept for the retry.
    """
    device = usable_device(context, "train")
    frozen = read_frozen(context, snapshot_id)
    started = time.monotonic()
    notes: list[str] = []
    model, sha256 = _kept(context, frozen, device) or _fit_and_keep(context, frozen, device, notes)
    seconds = time.monotonic() - started
    reach("train.after_fit")
    holdout = frozen.table(context, "holdout")
    training, _ = required(context)
    target, scores = holdout[TARGET].to_numpy(), model.predict(holdout)
    usable, found = usable_scores(scores), metrics_of(context, target, scores)
    certainty = uncertainty(model, holdout, target)
    record = _record(context, frozen, model, found, device) | {
        "score_reference": score_reference(scores[usable]),
        "predictions_digest": predictions_digest(scores),
        "sample": take_sample(model, holdout),
        "made_from": provenance(context),
        **tuning_record(context, frozen),
        **({"uncertainty": certainty} if certainty else {}),
    }
    challenger = Challenger(
        model=model,
        sha256=sha256,
        record=record,
        metrics={**found, **uncertainty_metrics(certainty), "train_seconds": seconds},
        pictures=plots(training.task, target[usable], scores[usable]),
    )
    log_trials_again(context, frozen)
    version = register(context, frozen, challenger)
    write_card(context, version)
    forget_checkpoints(context, frozen)
    return {
        "state": "done",
        "version": version,
        "snapshot_id": snapshot_id,
        "seconds": round(seconds, 2),
        "holdout": {name: rounded(value) for name, value in found.items()},
        **_device_facts(model, device),
        **({"warm_start": told(frozen.warm_start)} if frozen.warm_start else {}),
        **({"checkpoints": notes} if notes else {}),
    }


def metrics_of(context: Context, target: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """All metrics of the task, over the rows that the model did not refuse; without labels what scores tell."""
    usable, training = usable_scores(scores), required(context)[0]
    if context.pipeline.label is None:
        return score_facts(training.task, scores[usable])
    return metrics(training.task, target[usable], scores[usable], training.quantile)


def usable_scores(scores: np.ndarray) -> np.ndarray:
    """`(n,)` True where the model gave a score and did not refuse the row."""
    return np.isfinite(scores) if scores.ndim == 1 else np.isfinite(scores).all(axis=1)


def score_reference(scores: np.ndarray) -> dict[str, list[float]]:
    """Deciles of the scores (multiclass: of the top probability) and the rows between them, for the first audits."""
    values = scores if scores.ndim == 1 else scores.max(axis=1)
    if not len(values):
        return {"edges": [], "counts": []}
    edges = np.unique(np.quantile(values, np.arange(1, 10) / 10))
    counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def rounded(value: float) -> float | None:
    """Five digits; a metric that is undefined becomes None, which JSON can hold."""
    return float(f"{value:.5g}") if np.isfinite(value) else None


def _kept(context: Context, frozen: Frozen, device: Device) -> tuple[Model, str] | None:
    """The model that an earlier attempt fitted on this device, if its files are the ones that were written.

    Nothing else is parsed.
    """
    note = frozen.files(context).read(_KEPT)
    if note is None:
        return None
    try:
        files = read_stored(context.home, model_address(context.name, note.decode()))
    except ModelError:
        return None
    sha256 = artifact_sha256(files)
    if sha256 != note.decode():
        return None
    model = Model.from_files(files)
    return (model, sha256) if model.facts.get("device") == device.kind else None


def _fit_and_keep(context: Context, frozen: Frozen, device: Device, notes: list[str]) -> tuple[Model, str]:
    """Fits, stores the files, notes their digest at the snapshot: a registry that is away costs no second training."""
    model = fit_frozen(context, frozen, device, notes)
    sha256 = store_model(context.home, context.name, model.to_files())
    frozen.files(context).write(_KEPT, sha256.encode())
    return model, sha256


def fit_frozen(context: Context, frozen: Frozen, device: Device, notes: list[str] | None = None) -> Model:
    """The model of these rows and the context's settings, stored nowhere. `notes` are told of used checkpoints.

    Raises:
        ModelError: E-TRAIN-PARENT when the parent that was pinned with the rows cannot be read.
    """
    parent = parent_of(context, frozen)
    recipe = recipe_of(context, frozen, device).with_parameters(tuned_parameters(context, frozen))
    rows, validation = training_rows(context, frozen)
    # Without labels the loss on the later rows needs none either.
    usable = validation if context.pipeline.label is None or can_judge(rows, validation) else None
    checkpoints = checkpoints_of(context, frozen, recipe)
    model = with_known_names(context, frozen, fit(recipe, rows, usable, checkpoints, parent), rows.table)
    if notes is not None:
        notes += checkpoints.notes
    return model


def _device_facts(model: Model, device: Device) -> dict[str, str]:
    """The device that the model said it was fitted on, and why it is not the one that was wanted."""
    used = str(model.facts["device"])
    return {"device": used} | ({"device_note": device.note} if device.note else {})


def _record(
    context: Context, frozen: Frozen, model: Model, holdout: dict[str, float], device: Device
) -> dict[str, Any]:
    """What the ledger keeps of a model: everything that made it, and what it is compared by later."""
    training, label = required(context)
    digests = {"training": training.digest(), "label": label.digest() if label else None}
    return {
        "snapshot_id": frozen.snapshot_id,
        "features": frozen.types,
        "classes": model.classes,
        "task": model.task,
        "family": model.family,
        "estimator": model.estimator_name,
        "parameters": model.facts["parameters"],
        "facts": {name: value for name, value in model.facts.items() if name != "parameters"},
        "training_partitions": frozen.training_partitions,
        "holdout_partitions": frozen.holdout_partitions,
        "rows": frozen.rows,
        "unlabelled": frozen.unlabelled,
        "incomplete": frozen.incomplete,
        "positive_rate": frozen.positive_rate,
        "tables": frozen.tables,
        "digests": frozen.digests,
        "row_digests": frozen.row_digests,
        "settings": {**digests, "pipeline": context.pipeline.digest()},
        **({"named_after": frozen.named_after} if frozen.named_after else {}),
        "code_version": code_version(),
        "seed": training.seed,
        **({"warm_start": frozen.warm_start} if frozen.warm_start else {}),
        **_device_facts(model, device),
        "holdout_metrics": {name: rounded(value) for name, value in holdout.items()},
        "importance": {name: rounded(value) for name, value in model.importance().items()},
    }
