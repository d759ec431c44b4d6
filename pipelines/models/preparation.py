"""Learns from training rows how features become the numbers of a model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from pipelines.errors import ModelError
from pipelines.models.imputers import Imputer, fit_imputer
from pipelines.models.prepared_column import Column, number, text
from pipelines.models.preprocess import Preprocess
from pipelines.models.texts import fit_text
from pipelines.settings.preparation import Tfidf
from pipelines.settings.training import Constant, Drop, Fitted, Iterative, Missing, Native, Neighbours

# Beyond these the rarest categories count as unseen: a leaked id must not grow the model without bound.
MOST_CATEGORIES_NATIVE = 1_000
MOST_CATEGORIES_ONE_HOT = 50


def fit_preprocess(
    table: pa.Table,
    types: Mapping[str, str],
    missing: Mapping[str, Missing],
    *,
    one_hot: bool,
    scaled: bool,
    takes_missing: bool,
    seed: int,
    masked: frozenset[str] = frozenset(),
) -> Preprocess:
    """Learns fills, categories and scales from the training rows `table`.

    `takes_missing` says whether the estimator itself copes with gaps. Where it does not, gaps that forward fill
    left are filled with the median, and 'native' with gaps is refused. The gaps of `masked` features mean something
    and always stay.

    Raises:
        ModelError: E-TRAIN-MISSING names a feature whose gaps nobody handles.
    """
    settings = {name: missing.get(name) or missing.get("default") or Native() for name in types}
    settings |= dict.fromkeys(masked, Native())
    usable = {name: number(table.column(name)) for name, kind in types.items() if kind == "number"}
    columns = []
    for name, kind in types.items():
        setting = settings[name]
        if kind == "text":
            column = _fit_text(name, table.column(name), setting)
        elif kind == "category":
            column = _fit_category(name, table.column(name), setting, one_hot)
        else:
            column = _fit_number(name, usable[name], setting, takes_missing or name in masked)
        columns.append(column)
    imputers = _fit_imputers(usable, settings, seed)
    draft = Preprocess(tuple(columns), one_hot, scaled, imputers)
    return _with_scales(draft, usable) if scaled else draft


def _fit_number(name: str, values: np.ndarray, setting: Missing, takes_missing: bool) -> Column:
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


def _fit_category(name: str, column: pa.ChunkedArray, setting: Missing, one_hot: bool) -> Column:
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


def _fit_text(name: str, column: pa.ChunkedArray, setting: Missing) -> Column:
    fill = str(setting.value) if isinstance(setting, Constant) else None
    texts = text(column).to_pylist()
    encoder = fit_text(name, texts if fill is None else [fill if one is None else one for one in texts], Tfidf())
    return Column(name, "text", setting.strategy, fill, bool(getattr(setting, "indicator", False)), encoder=encoder)


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


def _fit_imputers(usable: Mapping[str, np.ndarray], settings: Mapping[str, Missing], seed: int) -> tuple[Imputer, ...]:
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


def _with_scales(draft: Preprocess, usable: Mapping[str, np.ndarray]) -> Preprocess:
    """Standardises numbers by the mean and deviation of the filled training values; a constant keeps scale 1."""
    filled = draft.imputed(dict(usable))
    columns = []
    for column in draft.columns:
        if column.type == "number":
            values = filled[column.name]
            if isinstance(column.fill, float):
                values = np.where(np.isnan(values), column.fill, values)
            present = values[~np.isnan(values)]
            mean = float(np.mean(present)) if len(present) else 0.0
            deviation = float(np.std(present)) if len(present) else 0.0
            scale = deviation if deviation > 1e-12 * max(1.0, abs(mean)) else 1.0
            column = Column(**{**vars(column), "mean": mean, "scale": scale})
        columns.append(column)
    return Preprocess(tuple(columns), draft.one_hot, draft.scaled, draft.imputers)
