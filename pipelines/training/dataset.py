"""The frozen training set: which rows, from which table versions, split in time; written once per snapshot id."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.context import Context
from pipelines.engine import Engine
from pipelines.errors import ModelError, names
from pipelines.features import feature_types
from pipelines.settings.tasks import TWO_VALUED_TASKS, UNLABELLED_TASKS
from pipelines.settings.training import Label, Training
from pipelines.storage.digests import RowDigest, combined
from pipelines.storage.durable import canonical_json, sha256_of
from pipelines.storage.files import Files
from pipelines.training.label_rules import check_labels
from pipelines.training.partition_choice import labelled_partitions
from pipelines.training.rows import (
    TARGET,
    carried_columns,
    classes_of,
    complete_rows,
    labelled_rows,
    one_sided,
    pinned,
    with_target,
)
from pipelines.training.segment_names import namesake_of
from pipelines.training.warm_start import champion_of, told
from pipelines.training.warm_start import decide as decide_start

_SCHEMA = "snapshot-3"
_RECORD = "snapshot.json"


@dataclass(frozen=True)
class Frozen:
    """One training set with its holdout. Both files are sorted by time and row id; `target_value` is the label.

    `classes`: label texts, smallest first (empty for regression). Of the matured rows, `unlabelled` had no label,
    `incomplete` lack a feature of strategy 'drop', and `both_sides` are training rows whose group also stands in the
    holdout; all others are in `rows`. `row_digests`: one per partition, over its rows in the order of the files.
    `warm_start`: the parent that the training goes on from, or why there is none; see `pipelines.training.warm_start`.
    `named_after`: the version (and its sha256) whose segments keep their names.
    """

    snapshot_id: str
    as_of: str
    training_partitions: list[str]
    holdout_partitions: list[str]
    types: dict[str, str]
    classes: list[str]
    rows: dict[str, int]
    unlabelled: int
    incomplete: int
    both_sides: int
    positive_rate: float | None
    tables: dict[str, dict[str, Any]]
    digests: dict[str, str]
    row_digests: dict[str, str] = field(default_factory=dict)
    warm_start: dict[str, Any] | None = None
    named_after: dict[str, Any] | None = None

    def files(self, context: Context) -> Files:
        """Where it lies, with all that later steps put beside it."""
        return context.staged("retrain", self.snapshot_id)

    def table(self, context: Context, part: str) -> pa.Table:
        """`part`: 'train' or 'holdout'. Its digest is checked against the record.

        Raises:
            ModelError: E-TRAIN-SNAPSHOT when the file is not the one that was frozen.
        """
        with context.scratch("snapshot") as scratch:
            path = self._whole_file(context, part, scratch)
            if path is None:
                raise ModelError(
                    "E-TRAIN-SNAPSHOT",
                    f"{context.name} {self.snapshot_id}",
                    f"'{part}.parquet' is not the file that was frozen",
                    "The same rows are frozen again when 'snapshot' is repeated.",
                    repeat="snapshot",
                )
            return pq.read_table(path)

    def is_whole(self, context: Context) -> bool:
        """Whether both files are there, byte for byte."""
        with context.scratch("snapshot") as scratch:
            return all(self._whole_file(context, part, scratch) for part in self.digests)

    def _whole_file(self, context: Context, part: str, scratch: Path) -> Path | None:
        path = self.files(context).fetch(f"{part}.parquet", scratch)
        return path if path and sha256_of(path) == self.digests[part] else None


def snapshot(context: Context) -> dict[str, Any]:
    """Freezes the labelled, matured rows up to the end of the context's partition; without labels all rows.

    The latest `holdout_partitions` are the holdout. The same inputs give the same id and nothing is written again.
    A young pipeline without enough partitions ends 'skipped': it only has to wait.

    Raises:
        ModelError: E-TRAIN-ROWS, E-TRAIN-LABELS: too little data, one class only, or labels that break the rules.
    """
    training, label = required(context)
    context = pinned(context)
    window, waiting = labelled_partitions(context, training)
    if len(window) <= training.holdout_partitions:
        return {
            "state": "skipped",
            "reason": f"{len(window)} accepted partitions have {'matured labels' if label else 'rows'}; training needs "
            f"more than the {training.holdout_partitions} of the holdout" + (f"; {waiting}" if waiting else ""),
        }
    train, holdout = window[: -training.holdout_partitions], window[-training.holdout_partitions :]
    versions = table_versions(context, label, [*train, *holdout])
    champion, namesake = champion_of(context), namesake_of(context)
    snapshot_id = combined(
        _SCHEMA,
        context.key,
        training.digest(),
        label.digest() if label else "no label",
        context.pipeline.label_rules.digest(),
        json.dumps(feature_types(context.pipeline)),
        json.dumps([train, holdout, carried_columns(context, training)]),
        # Not the Delta versions: they move with every other partition that is published.
        json.dumps({table: facts["contents"] for table, facts in versions.items()}, sort_keys=True),
        *([f"parent {champion['version']} {champion['artifact_sha256']}"] if champion else []),
        *([f"names {json.dumps(namesake, sort_keys=True)}"] if namesake else []),
    )[:16]
    known = known_frozen(context, snapshot_id)
    waits = {"waiting": waiting} if waiting else {}
    if known and known.is_whole(context):
        return _summary(known, "unchanged") | waits

    def start(frozen: Frozen) -> dict[str, Any] | None:
        return decide_start(context, frozen, champion)

    frozen = freeze(context, snapshot_id, train, holdout, versions, start, namesake)
    return _summary(frozen, "done") | waits


def freeze(
    context: Context,
    snapshot_id: str,
    train: list[str],
    holdout: list[str],
    versions: dict[str, dict[str, Any]],
    start: Callable[[Frozen], dict[str, Any] | None],
    named_after: dict[str, Any] | None = None,
) -> Frozen:
    """Writes the rows of these partitions, then the record that says which they are; returns it as later steps read it.

    (Its features are in the order of their names there, and the order of the features makes a model.)
    `start` decides where the training begins, given the rows.
    """
    with context.scratch("snapshot") as folder:
        frozen = _freeze(context, snapshot_id, train, holdout, versions, folder)
        for part in frozen.digests:
            frozen.files(context).upload(folder / f"{part}.parquet", f"{part}.parquet")
    frozen = replace(frozen, warm_start=start(frozen), named_after=named_after)
    frozen.files(context).write(_RECORD, canonical_json(asdict(frozen)))
    return read_frozen(context, snapshot_id)


def read_frozen(context: Context, snapshot_id: str) -> Frozen:
    frozen = known_frozen(context, snapshot_id)
    if frozen is None:
        raise ModelError(
            "E-TRAIN-SNAPSHOT", f"{context.name} {snapshot_id}", "it was never frozen here", repeat="snapshot"
        )
    return frozen


def known_frozen(context: Context, snapshot_id: str) -> Frozen | None:
    """What the record says; it is written after both files."""
    record = context.staged("retrain", snapshot_id).read(_RECORD)
    return None if record is None else Frozen(**json.loads(record))


def required(context: Context) -> tuple[Training, Label | None]:
    """What a training needs; the label is None for a task that does without."""
    training, label = context.pipeline.training, context.pipeline.label
    if training is None or (label is None and training.task not in UNLABELLED_TASKS):
        raise ModelError("E-TRAIN-NONE", context.name, "'training' and 'label' must be set to train a model")
    return training, label


def choose_partitions(context: Context, training: Training) -> list[str]:
    """The latest accepted partitions whose every label is due, oldest first; the last of them are the holdout."""
    return labelled_partitions(context, training)[0]


def table_versions(context: Context, label: Label | None, partitions: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Delta version and content digests of each table that the training set is read from."""
    read = {"features": list(partitions), "clean": list(partitions)}
    if label and label.source:
        arrivals = context.snapshot(f"labels_{label.source}")
        read[f"labels_{label.source}"] = [key for key in arrivals.partitions() if key <= context.key]
    return {
        table: {
            "uri": context.home.table(context.name, table),
            "version": context.snapshot(table).version,
            "contents": combined(sorted(context.content_digests(table, keys).items())),
            "partitions": len(keys),
        }
        for table, keys in read.items()
    }


def _freeze(
    context: Context,
    snapshot_id: str,
    train: list[str],
    holdout: list[str],
    versions: dict[str, dict[str, Any]],
    folder: Path,
) -> Frozen:
    training, label = required(context)
    with context.engine("snapshot") as engine:
        matured_rows = engine.count(engine.scan(context.snapshot("features"), [*train, *holdout]))
        labels = labelled_rows(context, engine, [*train, *holdout])
        classes = classes_of(context, engine, labels, training, label)
        complete = engine.materialize(with_target(complete_rows(context, labels, training), training, label, classes))
        rows = one_sided(engine, complete, training, holdout)
        left = {"labels": engine.count(labels), "complete": engine.count(complete), "rows": engine.count(rows)}
        parts = {"train": rows.filter(_in(rows, train)), "holdout": rows.filter(_in(rows, holdout))}
        by_partition: dict[str, RowDigest] = {}
        counts = {
            name: _write(engine, part, folder / f"{name}.parquet", context, by_partition)
            for name, part in parts.items()
        }
        by_day = engine.table(
            rows.group_by("partition").agg(rows=rows.count(), rate=rows[TARGET].mean()), order_by=["partition"]
        ).to_pylist()
    check_labels(context, training, by_day, counts, _distinct_targets(folder))
    positives = sum(row["rows"] * row["rate"] for row in by_day)
    has_rate = label is not None and training.task in TWO_VALUED_TASKS
    return Frozen(
        snapshot_id=snapshot_id,
        as_of=context.partition.end.isoformat(),
        training_partitions=train,
        holdout_partitions=holdout,
        types=dict(feature_types(context.pipeline)),
        classes=classes,
        rows=counts,
        unlabelled=matured_rows - left["labels"],
        incomplete=left["labels"] - left["complete"],
        both_sides=left["complete"] - left["rows"],
        positive_rate=positives / sum(counts.values()) if has_rate else None,
        tables=versions,
        digests={name: sha256_of(folder / f"{name}.parquet") for name in parts},
        row_digests={key: digest.hexdigest() for key, digest in sorted(by_partition.items())},
    )


def _in(rows: ir.Table, partitions: Sequence[str]) -> ir.BooleanColumn:
    return rows["partition"].isin(list(partitions))


def _write(engine: Engine, part: ir.Table, path: Path, context: Context, digests: dict[str, RowDigest]) -> int:
    """Writes one part sorted by time and row id, streamed; returns its rows and adds to the `digests` by partition."""
    order = [context.pipeline.event_time] if context.pipeline.event_time else []
    reader = engine.reader(part, order_by=[*order, "partition", "row_id"])
    count = 0
    with pq.ParquetWriter(path, reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)
            count += batch.num_rows
            for key in batch["partition"].unique().to_pylist():
                digest = digests.setdefault(key, RowDigest(reader.schema))
                digest.update(batch.filter(pc.equal(batch["partition"], key)))
    return count


def _distinct_targets(folder: Path) -> dict[str, int]:
    return {
        part: len(np.unique(pq.read_table(folder / f"{part}.parquet", columns=[TARGET])[TARGET].to_numpy()))
        for part in ("train", "holdout")
    }


def _summary(frozen: Frozen, state: str) -> dict[str, Any]:
    return {
        "state": state,
        "snapshot_id": frozen.snapshot_id,
        "training_partitions": _span(frozen.training_partitions),
        "holdout_partitions": _span(frozen.holdout_partitions),
        **{f"{part}_rows": count for part, count in frozen.rows.items()},
        "unlabelled": frozen.unlabelled,
        "incomplete": frozen.incomplete,
        "both_sides": frozen.both_sides,
        **({"warm_start": told(frozen.warm_start)} if frozen.warm_start else {}),
    }


def _span(partitions: list[str]) -> str:
    return f"{partitions[0]} to {partitions[-1]} ({len(partitions)}: {names(partitions[:2])} ...)"
