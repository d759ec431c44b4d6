"""What a shadow is judged on: its scores and the champion's released ones, on the same labelled rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import ibis.expr.types as ir
import numpy as np
import pyarrow as pa

from pipelines.context import Context
from pipelines.engine import Engine
from pipelines.models.answers import answer_fields
from pipelines.monitoring.labels import labelled
from pipelines.settings.training import Training
from pipelines.shadows import TABLE
from pipelines.storage.digests import combined, table_digest
from pipelines.training.candidates import CHALLENGER, CHAMPION, CONSTANT, Candidate, Evaluation
from pipelines.training.dataset import TARGET, required
from pipelines.training.evaluation import aligned
from pipelines.training.metrics import wanted_metric
from pipelines.training.rows import classes_of, with_target


@dataclass(frozen=True)
class Answers:
    """Which columns a version's scores have."""

    task: str
    classes: list[str]
    version: int

    @property
    def columns(self) -> list[str]:
        names = [name for name, _ in answer_fields(self)]
        return [name for name in names[1:] if name != "predicted_label"] or names


def answers_of(context: Context, version: int, task: str) -> Answers:
    record = context.ledger.model(context.name, version)["record"]
    return Answers(task, [str(one) for one in record.get("classes") or []], version)


def shadow_evaluation(context: Context, shadow: int, champion: int, nights: Sequence[str]) -> Evaluation:
    """Both versions on every labelled row of these partitions that the champion's releases hold.

    A row that the challenger left without a score counts as one that it cannot score. The baseline is the best
    constant for these very labels, a little harder to beat than the training mean that the gate takes.
    """
    training, _ = required(context)
    own, other = answers_of(context, shadow, training.task), answers_of(context, champion, training.task)
    with context.engine("shadow") as engine:
        rows = _rows(context, engine, own, other, nights)
        classes = _classes(context, engine, rows, training, own)
        table = _with_target(context, engine, rows, training, classes)
    labels = np.asarray(table[TARGET].to_numpy(), dtype=np.float64)
    known_until = context.ledger.model(context.name, champion)["as_of"]
    digest = combined("shadow-1", own.version, other.version, table_digest(table))
    return Evaluation(
        task=training.task,
        metric=wanted_metric(training),
        labels=labels,
        candidates={
            CHALLENGER: Candidate(CHALLENGER, _scores(table, own, "own", classes), shadow, holdout_digest=digest),
            CHAMPION: Candidate(CHAMPION, _scores(table, other, "other", classes), champion, holdout_digest=digest),
            CONSTANT: Candidate(CONSTANT, _constant(training, labels, len(classes)), holdout_digest=digest),
        },
        holdout_digest=digest,
        partitions=list(nights),
        groups=_codes(table, training.group),
        slices=_values(table, context.pipeline.gate.slices),
        sensitive=_values(table, context.pipeline.gate.sensitive),
        quantile=training.quantile,
        champion_age_days=(context.partition.end - known_until).total_seconds() / 86_400,
    )


def _rows(context: Context, engine: Engine, own: Answers, other: Answers, nights: Sequence[str]) -> ir.Table:
    """Grain: a labelled row with the champion's released score; the shadow's scores may be null."""
    released = engine.scan(context.snapshot("predictions"), nights)
    released = released.filter((released["model_version"] == other.version) & ~released["is_hindsight"])
    beside = engine.scan(context.snapshot(TABLE), nights)
    beside = beside.filter(beside["model_version"] == own.version)
    labels = labelled(context, engine, nights)
    if labels is None:
        labels = released.select("row_id").limit(0).mutate(label=0.0)
    judged = released.select("row_id", **{f"other_{name}": released[name] for name in other.columns})
    judged = judged.inner_join(labels.select("row_id", "label"), "row_id")
    mine = beside.select("row_id", **{f"own_{name}": beside[name] for name in own.columns})
    judged = judged.left_join(mine, "row_id").drop("row_id_right")
    gate = context.pipeline.gate
    carried = sorted({*required(context)[0].group, *gate.slices, *gate.sensitive})
    if carried:
        judged = judged.inner_join(_carried(context, engine, carried, nights), "row_id")
    return engine.materialize(judged)


def _carried(context: Context, engine: Engine, columns: Sequence[str], nights: Sequence[str]) -> ir.Table:
    """Columns to group and slice by, from the features where they have them, as a training set takes them."""
    features, clean = (engine.scan(context.snapshot(table), nights) for table in ("features", "clean"))
    built = [name for name in columns if name in features.columns]
    rest = [name for name in columns if name not in built]
    found = features.select("row_id", *built)
    return found.inner_join(clean.select("row_id", *rest), "row_id") if rest else found


def _classes(context: Context, engine: Engine, rows: ir.Table, training: Training, own: Answers) -> list[str]:
    """The challenger's classes; of several, also those that only these labels know: no row is left out for them."""
    if training.task != "multiclass":
        return own.classes
    seen = classes_of(context, engine, rows, training, context.pipeline.label)
    return [*own.classes, *(one for one in seen if one not in own.classes)]


def _with_target(context: Context, engine: Engine, rows: ir.Table, training: Training, classes: list[str]) -> pa.Table:
    table = engine.table(with_target(rows, training, context.pipeline.label, classes), order_by=["row_id"])
    known = np.isfinite(np.asarray(table[TARGET].to_numpy(zero_copy_only=False), dtype=np.float64))
    return table.filter(pa.array(known))


def _scores(table: pa.Table, answers: Answers, side: str, classes: list[str]) -> np.ndarray:
    columns = [np.asarray(table[f"{side}_{name}"].to_numpy(), dtype=np.float64) for name in answers.columns]
    if len(columns) == 1:
        return columns[0]
    return aligned(np.column_stack(columns), answers.classes, classes)


def _constant(training: Training, labels: np.ndarray, classes: int) -> np.ndarray:
    if not len(labels):
        return labels
    if training.task == "multiclass":
        return np.tile(np.bincount(labels.astype(int), minlength=classes) / len(labels), (len(labels), 1))
    best = labels.mean() if training.quantile is None else np.quantile(labels, training.quantile)
    return np.full(len(labels), best)


def _values(table: pa.Table, columns: Sequence[str]) -> dict[str, np.ndarray]:
    return {name: np.asarray(table[name].to_pylist(), dtype=object) for name in columns}


def _codes(table: pa.Table, columns: Sequence[str]) -> np.ndarray | None:
    """Integer codes `(n_rows,)` of the groups, None without groups."""
    if not columns:
        return None
    keys = list(zip(*(table[column].to_pylist() for column in columns), strict=True))
    numbers = {key: index for index, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], dtype=np.int64)
