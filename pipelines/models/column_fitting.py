"""Learns from training rows how one feature is filled and encoded, and how numbers are scaled."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from pipelines.errors import ModelError
from pipelines.models.imputers import Imputer, fit_imputer
from pipelines.models.prepared_column import Column, text
from pipelines.models.texts import fit_text
from pipelines.settings.missing import Constant, Drop, Fitted, Iterative, Missing, Neighbours
from pipelines.settings.preparation import Hashing, Scale, Tfidf

# Beyond these the rarest categories count as unseen: a leaked id must not grow the model without bound.
MOST_CATEGORIES_NATIVE = 1_000
MOST_CATEGORIES_ONE_HOT = 50


def fit_number(name: str, values: np.ndarray, setting: Missing, takes_missing: bool) -> Column:
    present = values[~np.isnan(values)]
    indicator = bool(getattr(setting, "indicator", False))
    column = Column(name, "number", setting.strategy, indicator=indicator)
    if isinstance(setting, Constant):
        return Column(**{**vars(column), "fill": float(setting.value)})
    if isinstance(setting, Fitted):
        return Column(**{**vars(column), "fill": _typical(present, setting.strategy)})
    if setting.strategy == "forward_fill" and not takes_missing:
        return Column(**{**vars(column), "fill": _typical(present, "median")})
    if setting.strategy == "native" and not takes_missing and len(present) < len(values):
        raise ModelError(
            "E-TRAIN-MISSING",
            f"feature '{name}'",
            f"{len(values) - len(present)} of {len(values)} training values are missing and this estimator takes none",
            f"Set training.missing.{name} (or 'default') to median, constant, ..., or use XGBoost.",
        )
    return column


def fit_category(name: str, column: pa.ChunkedArray, setting: Missing, one_hot: bool) -> Column:
    counts = sorted(
        ((str(entry["values"]), int(entry["counts"])) for entry in text(column).drop_null().value_counts().to_pylist()),
        key=lambda pair: (-pair[1], pair[0]),
    )
    most = MOST_CATEGORIES_ONE_HOT if one_hot else MOST_CATEGORIES_NATIVE
    known = {category for category, _count in counts[:most]}
    fill = None
    if isinstance(setting, Constant):
        fill = str(setting.value)
        known.add(fill)
    elif isinstance(setting, Fitted) and counts:
        fill = counts[0][0]
    indicator = bool(getattr(setting, "indicator", False))
    return Column(name, "category", setting.strategy, fill, indicator, tuple(sorted(known)))


def fit_words(name: str, column: pa.ChunkedArray, setting: Missing, encoder: Tfidf | Hashing) -> Column:
    fill = str(setting.value) if isinstance(setting, Constant) else None
    indicator = bool(getattr(setting, "indicator", False))
    draft = Column(name, "text", setting.strategy, fill, indicator)
    return draft.with_encoder(fit_text(name, draft.filled(column), encoder))


def fit_imputers(usable: Mapping[str, np.ndarray], settings: Mapping[str, Missing], seed: int) -> tuple[Imputer, ...]:
    groups: dict[str, tuple[Neighbours | Iterative, list[str]]] = {}
    for name in usable:
        setting = settings[name]
        if isinstance(setting, Neighbours | Iterative):
            key = setting.model_copy(update={"indicator": False}).model_dump_json()
            groups.setdefault(key, (setting, []))[1].append(name)
    dropped = [name for name in usable if isinstance(settings[name], Drop)]
    context = {name: values for name, values in usable.items() if name not in dropped}
    return tuple(
        fit_imputer(index, setting, targets, context, seed)
        for index, (_key, (setting, targets)) in enumerate(sorted(groups.items()))
    )


def _typical(present: np.ndarray, strategy: str) -> float:
    """Zero for a feature without any value: it then carries no information either way."""
    if not len(present):
        return 0.0
    if strategy == "mean":
        return float(np.mean(present))
    if strategy == "median":
        return float(np.median(present))
    values, counts = np.unique(present, return_counts=True)
    return float(values[np.argmax(counts)])


def spread(values: np.ndarray, scale: Scale) -> tuple[float, float]:
    """What is subtracted from prepared training values `(n_rows,)`, then divided by; a constant is divided by 1."""
    present = values[~np.isnan(values)]
    if not len(present):
        return 0.0, 1.0
    if scale == "minmax":
        center, size = float(np.min(present)), float(np.max(present) - np.min(present))
    elif scale == "robust":
        lower, middle, upper = np.quantile(present, [0.25, 0.5, 0.75]).tolist()
        center, size = middle, upper - lower
    else:
        center, size = float(np.mean(present)), float(np.std(present))
    return center, size if size > 1e-12 * max(1.0, abs(center)) else 1.0
