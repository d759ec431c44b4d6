"""Makes a registered version again from its record, apart from everything: its rows, its search, its model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from pipelines.context import Context
from pipelines.errors import ModelError, NightshiftError, names
from pipelines.features import feature_names
from pipelines.ledger import Row
from pipelines.models.model import Model
from pipelines.partitions import partition_at
from pipelines.settings.pipeline import Pipeline
from pipelines.storage.digests import combined
from pipelines.training import Moment
from pipelines.training.dataset import (
    Frozen,
    choose_partitions,
    freeze,
    known_frozen,
    required,
    table_versions,
)
from pipelines.training.fit_step import fit_frozen
from pipelines.training.recorded_tables import Rebuilding, recorded_tables, window_of
from pipelines.training.tuning import tune_again, usable_device
from pipelines.training.warm_start import decide, recorded_start


@dataclass(frozen=True)
class Rebuilt:
    """What was made again, with the scores `(n,)` or `(n, k)` of its holdout."""

    frozen: Frozen
    model: Model
    holdout: pa.Table
    scores: np.ndarray


def at_training(context: Context, row: Row) -> Context:
    """The context of the partition that the version's training stood on."""
    pipeline = context.pipeline
    last = row["as_of"] - timedelta(microseconds=1)
    return replace(context, partition=partition_at(last, pipeline.partition, pipeline.timezone))


def recorded_pipeline(context: Context, row: Row) -> Pipeline:
    """The settings as they were, on the device that was really used.

    Raises:
        ModelError: E-REPLAY-SETTINGS when this release does not understand them.
    """
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


@contextmanager
def sandbox_of(context: Context, tables: Mapping[str, Any], what: str) -> Iterator[Rebuilding]:
    """A place to work that is gone afterwards, unless a retry of this run may go on with what lies there."""
    sandbox = Rebuilding(
        context.pipeline,
        context.home,
        context.ledger,
        context.partition,
        context.run_id,
        context.is_small,
        pins=dict(tables),
        work=combined(context.run_id, what)[:16],
    )
    try:
        yield sandbox
    except NightshiftError as error:
        if not error.retryable:
            sandbox.forget()
        raise
    sandbox.forget()


def rebuild(sandbox: Rebuilding, row: Row, inputs: Moment, settings: Moment) -> Rebuilt:
    """Freezes the rows, tunes and fits as a retrain does, from the parent that the version had."""
    device = usable_device(sandbox, "train")
    frozen = _freeze(sandbox, row["record"], inputs, lambda frozen: _start(sandbox, row, frozen, settings))
    tune_again(sandbox, frozen.snapshot_id, row["record"].get("tuning"))
    model = fit_frozen(sandbox, frozen, device)
    holdout = frozen.table(sandbox, "holdout")
    return Rebuilt(frozen, model, holdout, model.predict(holdout))


def rows_of_then(context: Context, then: Context, row: Row) -> pa.Table | None:
    """The rows that the version was trained on: still staged, or read again; None when neither gives those rows."""
    record = row["record"]
    staged = known_frozen(context, record["snapshot_id"])
    if staged and staged.digests == record["digests"] and staged.is_whole(context):
        return all_rows(context, staged)
    try:
        tables, _ = recorded_tables(context, row["version"], record)
    except ModelError:  # the older rows are gone: that they differ is known all the same
        return None
    with sandbox_of(then, tables, f"{row['version']} rows of then") as sandbox:
        frozen = _freeze(sandbox, record, "recorded")
        return all_rows(sandbox, frozen) if frozen.row_digests == record["row_digests"] else None


def all_rows(context: Context, frozen: Frozen) -> pa.Table:
    return pa.concat_tables([frozen.table(context, part) for part in frozen.digests])


def rows_of(rows: pa.Table, partition: str) -> pa.Table:
    return rows.filter(pc.equal(rows["partition"], partition))


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
    _, label = required(sandbox)
    _require_features(sandbox)
    train, holdout = _split(sandbox, record, inputs)
    tables = record["tables"] if inputs == "recorded" else table_versions(sandbox, label, [*train, *holdout])
    snapshot_id = combined(json.dumps([tables, train, holdout]))[:16]
    return freeze(sandbox, snapshot_id, train, holdout, tables, start, record.get("named_after"))


def _split(sandbox: Rebuilding, record: Mapping[str, Any], inputs: Moment) -> tuple[list[str], list[str]]:
    """Partitions of training and holdout, by the sandbox's settings, out of those of then or of today."""
    training, _ = required(sandbox)
    if inputs == "today":
        window = choose_partitions(sandbox, training)
    else:
        window = [key for key in window_of(record) if key not in training.exclude_partitions]
        window = window[-training.window_partitions :]
    train, holdout = window[: -training.holdout_partitions], window[-training.holdout_partitions :]
    if not train:
        what = f"a training needs more than the {training.holdout_partitions} partitions of the holdout"
        raise ModelError("E-REPLAY-SETTINGS", sandbox.where, f"{what}, got {len(window)}", "Use '--settings recorded'.")
    return train, holdout


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
