"""Replay: a version is made again from its record, and what came out otherwise is said; nothing else changes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pipelines.context import Context
from pipelines.errors import ModelError, names
from pipelines.ledger import Row
from pipelines.models import load_model
from pipelines.models.artifact import artifact_sha256
from pipelines.models.model import Model
from pipelines.models.stored import read_stored
from pipelines.runs.step import code_version
from pipelines.training import Moment
from pipelines.training.dataset import TARGET, Frozen
from pipelines.training.fit_step import metrics_of, rounded
from pipelines.training.provenance import determining, surroundings
from pipelines.training.rebuilding import (
    Rebuilt,
    all_rows,
    at_training,
    rebuild,
    recorded_pipeline,
    rows_of,
    rows_of_then,
    sandbox_of,
)
from pipelines.training.recorded_tables import recorded_tables, republished
from pipelines.training.replay_differences import (
    artifact_lines,
    changed,
    config_lines,
    partition_lines,
    row_line,
    surrounding_lines,
)
from pipelines.training.sample import predictions_digest
from pipelines.training.warm_start import told

_NEEDED = ("made_from", "row_digests", "predictions_digest", "tables", "training_partitions", "holdout_partitions")
_MOST_LINES = 20


def replay(
    context: Context, version: int, inputs: Moment = "recorded", settings: Moment = "recorded"
) -> dict[str, Any]:
    """`verdict` 'equal' or 'different', and in sentences what differs; nothing is registered, promoted or published.

    `inputs` and `settings` say whether table versions and settings are those of the record or today's. `differences`
    decide the verdict. `surroundings` are libraries, code, machine and tables that were published again, which may
    explain them; `since` is what changed since the training and was not used.

    Raises:
        ModelError: E-REPLAY-RECORD, E-REPLAY-GONE, E-REPLAY-SETTINGS, E-REPLAY-FEATURES, E-REPLAY-PARENT when the
            version cannot be rebuilt as asked; E-GPU-MISSING when it was trained on a GPU and there is none here.
    """
    started = time.monotonic()
    row = context.ledger.model(context.name, version)
    record = _replayable(context, row)
    context = at_training(context, row)
    then = replace(context, pipeline=recorded_pipeline(context, row))
    used = then if settings == "recorded" else context
    tables, notes = recorded_tables(context, version, record) if inputs == "recorded" else ({}, [])
    with sandbox_of(used, tables, f"{version} {inputs} {settings}") as sandbox:
        rebuilt = rebuild(sandbox, row, inputs, settings)
        compared = {
            "config": [*_config_lines(then, used), *_start_lines(record, rebuilt.frozen)],
            "rows": _row_lines(context, then, row, sandbox, rebuilt.frozen),
            "parameters": _parameter_lines(record, rebuilt.model),
            "metrics": _metric_lines(sandbox, record, rebuilt),
            "predictions": _prediction_lines(sandbox, row, rebuilt),
            "artifact": _artifact_lines(context, row, rebuilt.model),
        }
    differences = [line for lines in compared.values() for line in _bounded(lines)]
    not_used = _config_lines(then, context) if settings == "recorded" else []
    published = _bounded(republished(context, record))
    return {
        "state": "done",
        "version": version,
        "inputs": inputs,
        "settings": settings,
        "verdict": "different" if differences else "equal",
        **{name: "different" if lines else "equal" for name, lines in compared.items()},
        "differences": differences,
        "surroundings": _surroundings(context, record, rebuilt.model) + (published if inputs == "today" else []),
        "since": [*notes, *_bounded(not_used), *(published if inputs == "recorded" else [])],
        "artifact_sha256": artifact_sha256(rebuilt.model.to_files()),
        "seconds": round(time.monotonic() - started, 1),
    }


def _replayable(context: Context, row: Row) -> Mapping[str, Any]:
    record: Mapping[str, Any] = row["record"]
    lacking = [name for name in _NEEDED if name not in record]
    if lacking:
        raise ModelError(
            "E-REPLAY-RECORD",
            f"{context.name} version {row['version']}",
            f"its record must hold everything that made it, but lacks {names(lacking)}",
            "It was registered by an earlier release; versions registered since can be replayed.",
        )
    return record


def _config_lines(then: Context, now: Context) -> list[str]:
    return config_lines(determining(then.pipeline), determining(now.pipeline))


def _start_lines(record: Mapping[str, Any], frozen: Frozen) -> list[str]:
    both = [record.get("warm_start"), frozen.warm_start]
    parents = [(one or {}).get("parent") for one in both]
    then, now = (told(one) or "cold" for one in both)
    return [] if parents[0] == parents[1] else [f"config: start of the training {then} -> {now}"]


def _row_lines(context: Context, then: Context, row: Row, sandbox: Context, frozen: Frozen) -> list[str]:
    record = row["record"]
    used = {"training": record["training_partitions"], "holdout": record["holdout_partitions"]}
    lines = partition_lines(used, {"training": frozen.training_partitions, "holdout": frozen.holdout_partitions})
    recorded = record["row_digests"]
    differing = [one for one, digest in frozen.row_digests.items() if recorded.get(one, digest) != digest]
    if differing:
        reference = rows_of_then(context, then, row)
        now = all_rows(sandbox, frozen)
        for one in differing:
            old = None if reference is None else rows_of(reference, one)
            lines.append(row_line(one, old, rows_of(now, one), context.pipeline.key))
    return lines


def _parameter_lines(record: Mapping[str, Any], model: Model) -> list[str]:
    return [f"parameter: {line}" for line in changed(record["parameters"], model.facts["parameters"])]


def _metric_lines(context: Context, record: Mapping[str, Any], rebuilt: Rebuilt) -> list[str]:
    found = metrics_of(context, rebuilt.holdout[TARGET].to_numpy(), rebuilt.scores)
    now = {name: rounded(value) for name, value in found.items()}
    return [f"metric: {line}" for line in changed(record["holdout_metrics"], now)]


def _prediction_lines(context: Context, row: Row, rebuilt: Rebuilt) -> list[str]:
    """The rebuilt model's scores against the record; how far apart the models are is said on the rebuilt holdout."""
    if predictions_digest(rebuilt.scores) == row["record"]["predictions_digest"]:
        return []
    line = "predictions: the scores of the holdout are others than recorded"
    try:
        registered = load_model(context, row["version"], "train").predict(rebuilt.holdout)
    except ModelError as error:
        return [f"{line}; the registered model cannot be asked: {error.code}"]
    except ValueError:  # it needs features that today's settings do not make
        return [f"{line}; the registered model needs other features"]
    if registered.shape != rebuilt.scores.shape:
        return [f"{line}: other classes"]
    apart = np.nan_to_num(np.abs(registered - rebuilt.scores)).max(initial=0.0)
    return [f"{line}; on the same rows the rebuilt model and the registered one differ by at most {apart:.3g}"]


def _artifact_lines(context: Context, row: Row, model: Model) -> list[str]:
    files = model.to_files()
    sha256 = artifact_sha256(files)
    if sha256 == row["artifact_sha256"]:
        return []
    line = f"artifact: sha256 {row['artifact_sha256'][:16]} -> {sha256[:16]}"
    try:
        return [line, *artifact_lines(read_stored(context.home, row["artifact_uri"]), files)]
    except ModelError as error:
        return [f"{line}; the registered files cannot be compared: {error.code}"]


def _surroundings(context: Context, record: Mapping[str, Any], model: Model) -> list[str]:
    commits = (str(record["code_version"]), code_version())
    lines = surrounding_lines(record["made_from"], surroundings(context), commits)
    device = str(model.facts["device"])
    return lines + ([f"device: {record['device']} -> {device}"] if device != record["device"] else [])


def _bounded(lines: list[str]) -> list[str]:
    rest = len(lines) - _MOST_LINES
    return [*lines[:_MOST_LINES], *([f"{lines[0].partition(':')[0]}: and {rest} more"] if rest > 0 else [])]
