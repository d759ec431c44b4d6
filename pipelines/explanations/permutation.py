"""Permutation importance: what the metric loses when the values of one feature are shuffled (Breiman 2001)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.explanations.sample import Sample, generator
from pipelines.models.model import Model
from pipelines.training.metrics import direction, prepared

REPEATS = 5
# Beyond these only the features that look strongest are measured; the others are counted, not guessed.
MOST_FEATURES = 30
_BINS = 10


def permutation_importance(model: Model, metric: str, sample: Sample, seed: int) -> dict[str, Any]:
    """`features`: name, mean loss of the metric and its standard deviation over the repeats, largest first.

    A loss above zero means that the model scores worse without the feature, whatever the metric's direction. Shuffling
    one of two features that say the same costs little: each alone then looks unimportant. `problem` instead, where
    the metric is undefined on these rows.
    """
    scores = model.predict(sample.table)
    base = _value(metric, sample, scores)
    if not np.isfinite(base):
        return {"problem": f"{metric} is undefined on the {len(sample):,} sampled rows"}
    chosen = strongest(model, sample, scores)
    sign = 1.0 if direction(metric) == "higher" else -1.0
    found: list[dict[str, Any]] = []
    for name in chosen:
        losses = np.array([sign * (base - _shuffled(model, metric, sample, name, seed, i)) for i in range(REPEATS)])
        found.append({"feature": name, "loss": float(np.mean(losses)), "spread": float(np.std(losses))})
    found.sort(key=lambda row: (-row["loss"], row["feature"]))
    return {
        "metric": metric,
        "value": base,
        "rows": len(sample),
        "of_rows": sample.of_rows,
        "repeats": REPEATS,
        "features": found,
        "not_measured": len(model.features) - len(chosen),
    }


def strongest(model: Model, sample: Sample, scores: np.ndarray) -> list[str]:
    """At most `MOST_FEATURES` names, in the model's order: by its own importance, else by what they tell of scores."""
    if len(model.features) <= MOST_FEATURES:
        return model.features
    own = model.importance()
    if not any(own.values()):
        top = scores if scores.ndim == 1 else scores.max(axis=1)
        own = {name: _explained_share(sample.table[name], top) for name in model.features}
    kept = set(sorted(own, key=lambda name: (-own[name], name))[:MOST_FEATURES])
    return [name for name in model.features if name in kept]


def replaced(table: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    """The table with other values of one feature, of the same type."""
    return table.set_column(table.column_names.index(name), table.schema.field(name), values)


def _shuffled(model: Model, metric: str, sample: Sample, name: str, seed: int, repeat: int) -> float:
    order = generator(seed, "permutation", name, repeat).permutation(len(sample))
    shuffled = replaced(sample.table, name, sample.table[name].take(pa.array(order)))
    return _value(metric, sample, model.predict(shuffled))


def _value(metric: str, sample: Sample, scores: np.ndarray) -> float:
    if not len(sample) or not np.isfinite(scores).all():
        return float("nan")
    return float(prepared(metric, sample.labels, scores).values(sample.weights[None])[0])


def _explained_share(column: pa.ChunkedArray, scores: np.ndarray) -> float:
    """Share of the scores' variance between groups of the feature's values (correlation ratio, Pearson 1905)."""
    groups = _groups(column)
    counts = np.bincount(groups)
    means = np.bincount(groups, scores) / np.maximum(counts, 1)
    spread = float(np.var(scores))
    return float(np.average((means - scores.mean()) ** 2, weights=counts) / spread) if spread else 0.0


def _groups(column: pa.ChunkedArray) -> np.ndarray:
    """Codes `(n_rows,)`: tenths of the numbers, or the most frequent texts and the rest; missing is a group.

    Of images only whether there is one.
    """
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        values = pc.cast(column, pa.float64()).to_numpy()
        present = values[np.isfinite(values)]
        edges = np.unique(np.quantile(present, np.arange(1, _BINS) / _BINS)) if len(present) else np.empty(0)
        return np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values))
    if pa.types.is_binary(column.type):
        return pc.is_null(column).to_numpy().astype(np.int64)
    texts = np.asarray(pc.fill_null(pc.cast(column, pa.string()), "").to_pylist(), dtype=object)
    names, codes, counts = np.unique(texts, return_inverse=True, return_counts=True)
    rank = np.argsort(np.argsort(-counts, kind="stable"), kind="stable")
    return np.minimum(rank, _BINS)[codes] if len(names) else codes
