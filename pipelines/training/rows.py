"""Which rows a model may learn from: labelled, matured, complete, each group on one side; the label as a number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import ibis
import ibis.expr.types as ir

from pipelines.context import Context
from pipelines.engine import Engine
from pipelines.errors import ConfigError, ModelError, names, shapes
from pipelines.features import feature_types
from pipelines.monitoring.labels import encoded, labelled
from pipelines.settings.missing import Drop
from pipelines.settings.tasks import VALUE_TASKS
from pipelines.settings.training import Label, Training
from pipelines.storage.tables import Snapshot

TARGET = "target_value"


@dataclass(frozen=True)
class Pinned(Context):
    """A context whose tables stand still: each is read at the version that it had when it was first asked for."""

    pins: dict[str, Snapshot] = field(default_factory=dict)

    def snapshot(self, table: str) -> Snapshot:
        if table not in self.pins:
            self.pins[table] = super().snapshot(table)
        return self.pins[table]


def pinned(context: Context) -> Pinned:
    return Pinned(context.pipeline, context.home, context.ledger, context.partition, context.run_id)


def carried_columns(context: Context, training: Training) -> list[str]:
    """Columns that grouping, slicing and weighing need beside the features' own table."""
    gate = context.pipeline.gate
    return sorted({*training.group, *gate.slices, *gate.sensitive, *([training.weight] if training.weight else [])})


def labelled_rows(context: Context, engine: Engine, partitions: Sequence[str]) -> ir.Table:
    """Features with `label` and the carried columns of the clean table (one to one by row id).

    A null, NaN or infinite label is no label. In a pipeline without labels every row counts, and has none.

    Raises:
        ModelError: E-TRAIN-LABELS when no label has arrived.
        ConfigError: E-CONFIG-COLUMN when a column to group, slice or weigh by does not exist.
    """
    features = engine.scan(context.snapshot("features"), partitions)
    training = context.pipeline.training
    carried = [name for name in carried_columns(context, training) if name not in features.columns] if training else []
    joined = features
    if context.pipeline.label is not None:
        labels = labelled(context, engine, partitions)
        if labels is None:
            what = "no label has arrived yet"
            raise ModelError("E-TRAIN-LABELS", context.where, what, "Run the days that bring them.")
        joined = features.inner_join(labels.select("row_id", "label"), "row_id")
    if carried:
        clean = engine.scan(context.snapshot("clean"), partitions)
        _require_columns(context, carried, clean.columns)
        joined = joined.inner_join(clean.select("row_id", *carried), "row_id")
    if context.pipeline.label is not None:
        joined = joined.filter(_is_present(joined["label"]))
    return engine.materialize(joined)


def complete_rows(context: Context, rows: ir.Table, training: Training) -> ir.Table:
    """Without the rows that lack a feature of strategy 'drop': those are neither learnt from, judged on nor scored."""
    for name in feature_types(context.pipeline):
        if isinstance(training.missing.get(name) or training.missing.get("default"), Drop):
            rows = rows.filter(_is_present(rows[name]))
    return rows


def classes_of(context: Context, engine: Engine, rows: ir.Table, training: Training, label: Label | None) -> list[str]:
    """Label texts, smallest first, the positive one last; empty for regression, quantiles and without labels.

    Raises:
        ModelError: E-TRAIN-LABELS when the labels of a binary task are not two, or not 0 and 1.
    """
    if training.task in VALUE_TASKS or label is None:
        return []
    found = engine.table(rows.select(label=rows["label"].cast("string")).distinct(), ["label"])["label"].to_pylist()
    if training.task == "multiclass":
        return sorted(found, key=_number_first)
    if label.positive is not None:
        negative = [one for one in found if one != label.positive]
        return [negative[0] if len(negative) == 1 else f"not {label.positive}", label.positive]
    if rows["label"].type().is_numeric():
        strange = [one for one in found if float(one) not in (0.0, 1.0)]
    else:
        strange = found if len(found) > 2 else []
    if strange:
        raise ModelError(
            "E-TRAIN-LABELS",
            context.where,
            f"labels of a binary task must be 0 and 1 or two words, got {len(found)} values like {shapes(strange)}",
            "Name the value that counts as 1 in label.positive, or use task 'multiclass'.",
        )
    return sorted(found, key=_number_first)


def with_target(rows: ir.Table, training: Training, label: Label | None, classes: list[str]) -> ir.Table:
    """Adds the label as a number; without labels 0: nothing is known to be strange."""
    if label is None:
        return rows.mutate(**{TARGET: ibis.literal(0.0)})
    if training.task == "multiclass":
        text = rows["label"].cast("string")
        cases = [(text == one, float(index)) for index, one in enumerate(classes)]
        target: ir.Value = ibis.cases(*cases, else_=ibis.null("float64")) if cases else ibis.null("float64")
        return rows.mutate(**{TARGET: target})
    return rows.mutate(**{TARGET: encoded(rows["label"], label, training.task, classes)})


def one_sided(engine: Engine, rows: ir.Table, training: Training, holdout: Sequence[str]) -> ir.Table:
    """Leaves out training rows whose group also stands in the holdout; the holdout keeps its rows."""
    if not training.group:
        return rows
    keys = list(training.group)
    is_holdout = rows["partition"].isin(list(holdout))
    # A null names no group: such a row is nobody's, and stays where it is.
    inside = rows.filter(is_holdout).select(*keys).distinct()
    return engine.materialize(rows.filter(is_holdout).union(rows.filter(~is_holdout).anti_join(inside, keys)))


def _is_present(column: ir.Value) -> ir.BooleanValue:
    if column.type().is_floating():
        return column.notnull() & ~(column.isnan() | column.isinf())
    return column.notnull()


def _require_columns(context: Context, wanted: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ConfigError(
            "E-CONFIG-COLUMN",
            context.name,
            f"training.group and .weight, gate.slices and .sensitive name the unknown columns {names(unknown)}",
            f"Known: {names(sorted(known))}.",
        )


def _number_first(text: str) -> tuple[bool, float, str]:
    """Numbers by value, then words; 'nan' and 'inf' are words."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    return (not math.isfinite(value), value if math.isfinite(value) else 0.0, text)
