"""Rebuilds a registered version from its record, apart from everything, and says what came out otherwise."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from pipelines.context import Context
from pipelines.errors import ModelError, names
from pipelines.features import feature_names
from pipelines.ledger import Row
from pipelines.models import load_model
from pipelines.models.artifact import artifact_sha256
from pipelines.models.model import Model
from pipelines.models.stored import read_stored
from pipelines.partitions import partition_at
from pipelines.runs.step import code_version
from pipelines.settings.pipeline import Pipeline
from pipelines.storage.digests import combined
from pipelines.training import Moment
from pipelines.training.dataset import (
    TARGET,
    Frozen,
    choose_partitions,
    freeze,
    known_frozen,
    required,
    table_versions,
)
from pipelines.training.fit_step import fit_frozen, metrics_of, rounded
from pipelines.training.provenance import determining, surroundings
from pipelines.training.recorded_tables import Rebuilding, recorded_tables, republished, window_of
from pipelines.training.replay_differences import (
    artifact_lines,
    changed,
    config_lines,
    partition_lines,
    row_line,
    surrounding_lines,
)
from pipelines.training.sample import predictions_digest
from pipelines.training.tuning import tune_again, usable_device
from pipelines.training.warm_start import decide, recorded_start, told

_NEEDED = ("made_from", "row_digests", "predictions_digest", "tables", "training_partitions", "holdout_partitions")
_MOST_LINES = 20


@dataclass(frozen=True)
class Rebuilt:
    """What a replay made, with the scores `(n,)` or `(n, k)` of its holdout."""

    frozen: Frozen
    model: Model
    holdout: pa.Table
    scores: np.ndarray


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
    then = _recorded_pipeline(context, row)
    used = then if settings == "recorded" else context.pipeline
    tables, notes = recorded_tables(context, version, record) if inputs == "recorded" else ({}, [])
    sandbox = _sandbox(replace(context, pipeline=used), tables, f"{version} {inputs} {settings}")
    rebuilt = _rebuild(sandbox, row, inputs, settings)
    compared = {
        "config": [*config_lines(determining(then), determining(used)), *_start_lines(record, rebuilt.frozen)],
        "rows": _row_lines(context, replace(context, pipeline=then), row, sandbox, rebuilt.frozen),
        "parameters": _parameter_lines(record, rebuilt.model),
        "metrics": _metric_lines(sandbox, record, rebuilt),
        "predictions": _prediction_lines(sandbox, row, rebuilt),
        "artifact": _artifact_lines(context, row, rebuilt.model),
    }
    sandbox.forget()
    differences = [line for lines in compared.values() for line in _bounded(lines)]
    not_used = config_lines(determining(then), determining(context.pipeline)) if settings == "recorded" else []
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


def at_training(context: Context, row: Row) -> Context:
    """The context of the partition that the version's training stood on."""
    pipeline = context.pipeline
    last = row["as_of"] - timedelta(microseconds=1)
    return replace(context, partition=partition_at(last, pipeline.partition, pipeline.timezone))


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


def _recorded_pipeline(context: Context, row: Row) -> Pipeline:
    """The settings as they were, on the device that was really used."""
    record = row["record"]
    try:
        pipeline = Pipeline.model_validate(record["made_from"]["settings"])
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise ModelError(
            "E-REPLAY-SETTINGS",
            f"{context.name} version {row['version']}",
            f"this release must understand the recorded settings, but '{'.'.join(map(str, problem['loc']))}': "
            f"{problem['msg']}",
            f"Check out the code of then (commit {record['code_version']}), or use '--settings today'.",
        ) from error
    train = pipeline.resources_of("train").model_copy(update={"device": record["device"], "allow_cpu": False})
    return pipeline.model_copy(update={"resources": {**pipeline.resources, "train": train}})


def _sandbox(context: Context, tables: Mapping[str, Any], what: str) -> Rebuilding:
    work = combined(context.run_id, what)[:16]
    return Rebuilding(
        context.pipeline,
        context.home,
        context.ledger,
        context.partition,
        context.run_id,
        context.is_small,
        pins=dict(tables),
        work=work,
    )


def _rebuild(sandbox: Rebuilding, row: Row, inputs: Moment, settings: Moment) -> Rebuilt:
    """Freezes the rows, tunes and fits as a retrain does, from the parent that the version had."""
    device = usable_device(sandbox, "train")
    frozen = _freeze(sandbox, row["record"], inputs, lambda frozen: _start(sandbox, row, frozen, settings))
    tune_again(sandbox, frozen.snapshot_id, row["record"].get("tuning"))
    model = fit_frozen(sandbox, frozen, device)
    holdout = frozen.table(sandbox, "holdout")
    return Rebuilt(frozen, model, holdout, model.predict(holdout))


def _start(sandbox: Rebuilding, row: Row, frozen: Frozen, settings: Moment) -> dict[str, Any] | None:
    """As recorded; with other settings decided anew, but never from another parent."""
    recorded = recorded_start(sandbox, row) if settings == "recorded" or required(sandbox)[0].warm_start else None
    parent = (recorded or {}).get("parent")
    if settings == "recorded" or parent is None:
        return recorded
    return decide(sandbox, frozen, sandbox.ledger.model(sandbox.name, parent["version"]))


def _cold(_frozen: Frozen) -> None:
    """For rows that nothing is trained from."""


def _freeze(
    sandbox: Rebuilding,
    record: Mapping[str, Any],
    inputs: Moment,
    start: Callable[[Frozen], dict[str, Any] | None] = _cold,
) -> Frozen:
    training, label = required(sandbox)
    _require_features(sandbox)
    if inputs == "today":
        window = choose_partitions(sandbox, training)
    else:
        window = [key for key in window_of(record) if key not in training.exclude_partitions]
        window = window[-training.window_partitions :]
    train, holdout = window[: -training.holdout_partitions], window[-training.holdout_partitions :]
    if not train:
        what = f"a training needs more than the {training.holdout_partitions} partitions of the holdout"
        raise ModelError("E-REPLAY-SETTINGS", sandbox.where, f"{what}, got {len(window)}", "Use '--settings recorded'.")
    tables = record["tables"] if inputs == "recorded" else table_versions(sandbox, label, window)
    snapshot_id = combined(json.dumps([tables, train, holdout]))[:16]
    return freeze(sandbox, snapshot_id, train, holdout, tables, start, record.get("named_after"))


def _require_features(sandbox: Rebuilding) -> None:
    table = sandbox.snapshot("features")
    known = table.schema().names if table.exists else []
    missing = [name for name in feature_names(sandbox.pipeline) if name not in known]
    if missing:
        raise ModelError(
            "E-REPLAY-FEATURES",
            sandbox.where,
            f"'features' at version {table.version} must have the columns {names(missing)}",
            "The settings ask for features that were not built then: use '--settings recorded' or '--inputs today'.",
        )


def _row_lines(context: Context, then: Context, row: Row, sandbox: Rebuilding, frozen: Frozen) -> list[str]:
    record = row["record"]
    used = {"training": record["training_partitions"], "holdout": record["holdout_partitions"]}
    lines = partition_lines(used, {"training": frozen.training_partitions, "holdout": frozen.holdout_partitions})
    recorded = record["row_digests"]
    differing = [one for one, digest in frozen.row_digests.items() if recorded.get(one, digest) != digest]
    if differing:
        reference = _rows_of_then(context, then, row)
        now = _all_rows(sandbox, frozen)
        for one in differing:
            old = None if reference is None else _of(reference, one)
            lines.append(row_line(one, old, _of(now, one), context.pipeline.key))
    return lines


def _rows_of_then(context: Context, then: Context, row: Row) -> pa.Table | None:
    """The rows that the version was trained on: still staged, or read again; None when neither gives those rows."""
    record = row["record"]
    staged = known_frozen(context, record["snapshot_id"])
    if staged and staged.digests == record["digests"] and staged.is_whole(context):
        return _all_rows(context, staged)
    try:
        tables, _ = recorded_tables(context, row["version"], record)
    except ModelError:  # the older rows are gone: that they differ is known all the same
        return None
    sandbox = _sandbox(then, tables, f"{row['version']} rows of then")
    frozen = _freeze(sandbox, record, "recorded")
    rows = _all_rows(sandbox, frozen) if frozen.row_digests == record["row_digests"] else None
    sandbox.forget()
    return rows


def _all_rows(context: Context, frozen: Frozen) -> pa.Table:
    return pa.concat_tables([frozen.table(context, part) for part in frozen.digests])


def _of(rows: pa.Table, partition: str) -> pa.Table:
    return rows.filter(pc.equal(rows["partition"], partition))


def _start_lines(record: Mapping[str, Any], frozen: Frozen) -> list[str]:
    both = [record.get("warm_start"), frozen.warm_start]
    parents = [(one or {}).get("parent") for one in both]
    then, now = (told(one) or "cold" for one in both)
    return [] if parents[0] == parents[1] else [f"config: start of the training {then} -> {now}"]


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
