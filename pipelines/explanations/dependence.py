"""Partial dependence: the mean score of the sampled rows if all had the same value of one feature (Friedman 2001)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.explanations.permutation import replaced
from pipelines.explanations.sample import Sample
from pipelines.models.model import Model
from pipelines.settings.tasks import WIDE_TASKS

MOST_FEATURES = 6
MOST_VALUES = 12
MOST_CLASSES = 8
MOST_ROWS = 300
# The tails hold few rows, and models are wild there.
_LOWEST, _HIGHEST = 0.02, 0.98


def partial_dependence(model: Model, sample: Sample, features: Sequence[str]) -> list[dict[str, Any]]:
    """One entry per feature: `values` (numbers in order, or the most frequent texts) and `means`, one per output.

    A number's values are some of those that occur, evenly spread over the rows. Where features move together, rows
    are scored that nobody has seen: read it with care. Texts and images have none: they are left out.
    """
    step = max(1, -(-len(sample) // MOST_ROWS))
    chosen = np.arange(0, len(sample), step)
    rows, weights = sample.table.take(pa.array(chosen)), sample.weights[chosen]
    outputs = list(model.classes[:MOST_CLASSES]) if model.task in WIDE_TASKS else [_output(model)]
    found = []
    for name in (one for one in features if model.types[one] not in ("text", "image")):
        values = grid(rows[name], model.types[name])
        means = [_mean_scores(model, rows, weights, name, value) for value in values]
        curves = [[None if not np.isfinite(mean[i]) else float(mean[i]) for mean in means] for i in range(len(outputs))]
        found.append(
            {
                "feature": name,
                "type": model.types[name],
                "values": [_plain(value) for value in values],
                "means": dict(zip(outputs, curves, strict=True)),
                "rows": len(chosen),
            }
        )
    return found


def grid(column: pa.ChunkedArray, kind: str) -> list[pa.Scalar]:
    """At most `MOST_VALUES` values of the column, as the column's own type."""
    present = column.drop_null()
    if kind == "category":
        counts = sorted(present.value_counts().to_pylist(), key=lambda row: (-row["counts"], str(row["values"])))
        return [pa.scalar(row["values"], column.type) for row in counts[:MOST_VALUES]]
    if pa.types.is_floating(column.type):
        present = present.filter(pc.is_finite(present))
    ordered = present.take(pc.sort_indices(present))
    if len(unique := ordered.unique()) <= MOST_VALUES:
        return list(unique)
    places = np.linspace(_LOWEST, _HIGHEST, MOST_VALUES) * (len(ordered) - 1)
    return list(ordered.take(pa.array(np.round(places).astype(np.int64))).unique())


def _mean_scores(model: Model, rows: pa.Table, weights: np.ndarray, name: str, value: pa.Scalar) -> np.ndarray:
    """`(n_outputs,)`; rows that the model refuses do not count."""
    column = pa.repeat(value, rows.num_rows)
    scores = model.predict(replaced(rows, name, column))
    scores = scores[:, None] if scores.ndim == 1 else scores
    usable = np.isfinite(scores).all(axis=1)
    if not usable.any():
        return np.full(scores.shape[1], np.nan)
    means: np.ndarray = np.average(scores[usable], axis=0, weights=weights[usable])
    return means


def _output(model: Model) -> str:
    return str(model.classes[-1]) if model.classes else "prediction"


def _plain(value: pa.Scalar) -> float | int | str | bool:
    found: float | int | str | bool = value.as_py()
    return found if isinstance(found, bool | int | float | str) else str(found)
