"""How many matured labels lie in the intervals or sets that were released for them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import ibis
import ibis.expr.types as ir

from pipelines.context import Context
from pipelines.engine import Engine
from pipelines.ledger import Row
from pipelines.monitoring.inputs import accepted_until, classes_of
from pipelines.monitoring.labels import encoded, labelled, matured

_FEWEST_ROWS = 100
_SPREADS = 4.0  # one false alarm in 30,000 partitions if rows were exchangeable


def realised_coverage(context: Context, engine: Engine, model: Row, released: Sequence[str]) -> dict[str, float]:
    """`promised`, `realised`, `rows` and `z`, the spreads in between, over the newest matured partitions of `released`.

    As many as a holdout has. Empty where nothing was promised, released or labelled yet. `z` counts the chance of these
    rows and of those that the bound was learnt on, as if all were alike: the rows of a day are not.
    """
    learnt = ((model["record"].get("facts") or {}).get("uncertainty") or {}).get("intervals")
    training, predictions = context.pipeline.training, context.snapshot("predictions")
    if learnt is None or training is None or not predictions.exists:
        return {}
    due = set(matured(context, accepted_until(context)))
    judged = [key for key in released if key in due][-training.holdout_partitions :]
    column = "prediction_low" if training.task == "regression" else "prediction_set"
    labels = labelled(context, engine, judged) if judged and column in predictions.schema().names else None
    if labels is None:
        return {}
    scored = engine.scan(predictions, judged)
    own = scored.filter(
        (scored["model_version"] == model["version"]) & ~scored["is_hindsight"] & scored[column].notnull()
    )
    inside = _inside(context, own.inner_join(labels.select("row_id", "label"), "row_id"), classes_of(model))
    row = engine.table(
        inside.aggregate(rows=inside.count(), share=inside["inside"].cast("float64").mean())
    ).to_pylist()[0]
    if not row["rows"]:
        return {}
    return _judged(float(learnt["coverage"]), float(row["share"]), int(row["rows"]), int(learnt["rows"]))


def coverage_reasons(found: Mapping[str, float]) -> list[str]:
    """A sentence when the intervals hold far fewer labels than promised."""
    if found.get("rows", 0) < _FEWEST_ROWS or found["z"] > -_SPREADS:
        return []
    return [
        f"COVERAGE {found['realised']:.4g} of {found['rows']:,.0f} matured labels lie in the released intervals or "
        f"sets, {found['promised']:.4g} were promised ({found['z']:+.1f} spreads, limit {-_SPREADS:g})."
    ]


def _inside(context: Context, joined: ir.Table, classes: Sequence[str]) -> ir.Table:
    training, label = context.pipeline.training, context.pipeline.label
    task = training.task if training else "regression"
    if task == "regression":
        value = encoded(joined["label"], label, task, classes)
        return joined.mutate(inside=value.between(joined["prediction_low"], joined["prediction_high"]))
    text: ir.Value = joined["label"].cast("string")
    if task == "binary":
        is_positive = encoded(joined["label"], label, task, classes) == 1
        text = ibis.ifelse(is_positive, str(classes[-1]), str(classes[0]))
    return joined.mutate(inside=joined["prediction_set"].contains(text))


def _judged(promised: float, realised: float, rows: int, learnt_rows: int) -> dict[str, float]:
    spread = math.sqrt(promised * (1 - promised) * (1 / rows + 1 / (learnt_rows + 2)))
    found = {"promised": promised, "realised": realised, "rows": rows, "z": (realised - promised) / spread}
    return {name: float(f"{value:.6g}") for name, value in found.items()}
