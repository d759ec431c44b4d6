"""Labels that have matured by the end of the monitored partition, beside the scores that were released for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa

from pipelines.context import Context
from pipelines.engine import Engine
from pipelines.monitoring.quality import MOST_ROWS, Floats
from pipelines.settings.tasks import TWO_VALUED_TASKS
from pipelines.settings.training import Label

Y, SCORE = "y", "score"


@dataclass(frozen=True)
class LabelCounts:
    """Labelled rows per partition, and the mean of the label (share of positives) where it is a number."""

    rows: dict[str, int]
    rates: dict[str, float]


def matured(context: Context, partitions: Sequence[str]) -> list[str]:
    """Those of these partitions whose every label is due by the end of the monitored partition."""
    label = context.pipeline.label
    if label is None:
        return []
    wait = timedelta(days=label.delay_days)
    return [key for key in partitions if context.pipeline.parse(key).end + wait <= context.partition.end]


def labelled(context: Context, engine: Engine, partitions: Sequence[str]) -> ir.Table | None:
    """row_id, partition and label of each labelled row of these partitions; None when nothing was published.

    From a separate source the label that arrived last, up to the monitored partition, counts (many arrivals to one
    key, joined one to one on the pipeline's key).
    """
    label, clean = context.pipeline.label, context.snapshot("clean")
    if label is None or not clean.exists:
        return None
    rows = engine.scan(clean, partitions)
    if label.source is None:
        return rows.select("row_id", "partition", label=rows[label.column]).filter(ibis._.label.notnull())
    arrivals = context.snapshot(f"labels_{label.source}")
    if not arrivals.exists:
        return None
    column = context.pipeline.label_sources[label.source].column
    until = [key for key in arrivals.partitions() if key <= context.key]
    newest = _newest(engine.scan(arrivals, until), context.pipeline.key, column)
    joined = rows.inner_join(newest, list(context.pipeline.key))
    return joined.select("row_id", "partition", "label")


def _newest(arrivals: ir.Table, key: Sequence[str], column: str) -> ir.Table:
    window = ibis.window(group_by=list(key), order_by=[ibis.desc(arrivals["partition"]), ibis.desc(arrivals["row_id"])])
    present = arrivals.filter(arrivals[column].notnull())
    ranked = present.mutate(place=ibis.row_number().over(window))
    return ranked.filter(ranked["place"] == 0).select(*key, label=ranked[column])


def label_counts(context: Context, engine: Engine, rows: ir.Table, classes: Sequence[Any]) -> LabelCounts:
    """Counts and rates per partition of a `labelled` table."""
    task = context.pipeline.training.task if context.pipeline.training else "regression"
    measures: dict[str, ir.Value] = {"rows": rows.count()}
    if task != "multiclass":
        measures["rate"] = encoded(rows["label"], context.pipeline.label, task, classes).mean()
    found = engine.table(rows.group_by("partition").agg(**measures), order_by=["partition"]).to_pylist()
    return LabelCounts(
        {row["partition"]: int(row["rows"]) for row in found},
        {row["partition"]: float(f"{row['rate']:.9g}") for row in found if row.get("rate") is not None},
    )


def encoded(column: ir.Value, label: Label | None, task: str, classes: Sequence[Any]) -> ir.FloatingColumn:
    """The label as a number: 1.0 for the positive class of a binary task, else its value."""
    positive = label.positive if label else None
    if positive is None and task in TWO_VALUED_TASKS and column.type().is_string():
        positive = str(classes[-1]) if classes else "1"
    if positive is None:
        return column.cast("float64")
    return (column.cast("string") == positive).cast("int64").cast("float64")


def scored_rows(
    context: Context, engine: Engine, rows: ir.Table, partitions: Sequence[str], version: int, classes: Sequence[Any]
) -> ir.Table:
    """row_id, partition, `y` and `score` of the matured rows that this version scored without hindsight.

    For multiclass the label is 1 and the score that of the true class.
    """
    predictions = engine.scan(context.snapshot("predictions"), partitions)
    own = predictions.filter((predictions["model_version"] == version) & ~predictions["is_hindsight"])
    own = own.select("row_id", *[name for name in own.columns if name.startswith("score")])
    joined = own.inner_join(rows, "row_id")
    training = context.pipeline.training
    task = training.task if training else "regression"
    if task == "multiclass":
        y: ir.Value = ibis.literal(1.0)
        score = _score_of_true_class(joined, classes)
    else:
        y, score = encoded(joined["label"], context.pipeline.label, task, classes), joined["score"]
    chosen = joined.select("row_id", "partition", y=y, score=score)
    return chosen.filter(chosen["y"].notnull() & chosen["score"].notnull())


def scored_labels(
    context: Context, engine: Engine, rows: ir.Table, partitions: Sequence[str], version: int, classes: Sequence[Any]
) -> tuple[Floats, Floats]:
    """Label and score `(n,)` of at most 20,000 matured rows that this version scored without hindsight.

    Which rows is fixed by a digest of the row id. For multiclass the label is 1 and the score that of the true class.
    """
    scored = scored_rows(context, engine, rows, partitions, version, classes)
    chosen = scored.mutate(place=scored["row_id"].hexdigest("md5"))
    table = engine.table(chosen.order_by(["place", "row_id"]).limit(MOST_ROWS))
    return _floats(table, Y), _floats(table, SCORE)


def _score_of_true_class(joined: ir.Table, classes: Sequence[Any]) -> ir.Value:
    """The column `score_<class>` that the label names; null for a class that the model does not know."""
    import re

    text = joined["label"].cast("string")
    known = [(text == str(one), joined["score_" + re.sub(r"\W", "_", str(one))]) for one in classes]
    return ibis.cases(*known, else_=ibis.null("float64")) if known else ibis.null("float64")


def _floats(table: pa.Table, column: str) -> Floats:
    return np.asarray(table[column].to_numpy(), dtype=np.float64)
