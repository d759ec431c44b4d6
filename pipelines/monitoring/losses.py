"""Mean loss of released scores per partition, by the engine over all rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ibis.expr.types as ir

from pipelines.context import Context
from pipelines.engine import Engine
from pipelines.ledger import Row
from pipelines.monitoring.concept import Losses
from pipelines.monitoring.inputs import classes_of
from pipelines.monitoring.labels import scored_rows

MOST_PARTITIONS = 60
_FEWEST_ROWS = 30  # the mean of fewer losses is nowhere near normal
_WHAT = {
    "binary": "the mean squared error of the probability",
    "multiclass": "the mean squared distance of the true class's probability from 1",
    "regression": "the mean absolute error",
    "quantile": "the mean pinball loss",
}


def losses_of(
    context: Context, engine: Engine, model: Row, rows: ir.Table, judged: Sequence[str], released: Sequence[str]
) -> Losses | None:
    """Losses of this version; `rows`: labelled rows, `judged`: partitions of them that it scored and that matured.

    None for tasks whose scores have no loss. Only the last 60 partitions are read.
    """
    training = context.pipeline.training
    if training is None or training.task not in _WHAT:
        return None
    realised = _realised(context, engine, model, rows, judged[-MOST_PARTITIONS:])
    expected = _expected(context, engine, released[-MOST_PARTITIONS:]) if training.task == "binary" else {}
    return Losses(_WHAT[training.task], realised, expected)


def _realised(
    context: Context, engine: Engine, model: Row, rows: ir.Table, partitions: Sequence[str]
) -> dict[str, float]:
    if not partitions:
        return {}
    scored = scored_rows(context, engine, rows, partitions, model["version"], classes_of(model))
    found = scored.group_by("partition").agg(n=scored.count(), loss=_loss(context, scored["y"], scored["score"]).mean())
    return {
        row["partition"]: _rounded(row["loss"])
        for row in engine.table(found, order_by=["partition"]).to_pylist()
        if row["n"] >= _FEWEST_ROWS and row["loss"] is not None
    }


def _expected(context: Context, engine: Engine, partitions: Sequence[str]) -> dict[str, float]:
    """Mean of p * (1 - p) over all scored rows: the Brier score if the scores are calibrated."""
    if not partitions:
        return {}
    scores = engine.scan(context.snapshot("predictions"), partitions)
    chance: Any = scores["score"]
    found = scores.group_by("partition").agg(n=scores.count(), loss=(chance * (1 - chance)).mean())
    rows = engine.table(found, order_by=["partition"]).to_pylist()
    return {row["partition"]: _rounded(row["loss"]) for row in rows if row["loss"] is not None}


def _loss(context: Context, y: Any, score: Any) -> Any:
    training = context.pipeline.training
    task, quantile = (training.task, training.quantile) if training else ("regression", None)
    if task in ("binary", "multiclass"):
        return (score - y) ** 2
    error = y - score
    if quantile is not None:
        return (error > 0).ifelse(quantile * error, (quantile - 1) * error)
    return error.abs()


def _rounded(value: float) -> float:
    """Sums of floats differ in the last bits with the number of threads."""
    return float(f"{value:.9g}")
