"""Coefficients of linear models in the features' own units: odds ratios, rate ratios or differences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pipelines.explanations.contributions import LOG_ODDS, LOGARITHM, input_weights, is_linear, linear_scale
from pipelines.models.model import Model
from pipelines.models.prepared_column import Column

MOST_ROWS = 60


def coefficients(model: Model) -> dict[str, Any]:
    """`rows`: one per feature, category and class, or a `problem`.

    Of a number: `per_unit`, and `per_deviation` for one standard deviation of the training rows where it is scaled by
    it. Through linear components by their loadings. Of a category:
    `per_unit` against the feature's first category in order. `kind`: 'odds ratio' (exp of the coefficient; 1 means no
    effect), 'rate ratio' or 'difference' (0 means no effect). The numbers are those of a model that was regularised
    as configured: they have no standard errors, and none are made up.
    """
    if not is_linear(model):
        return {"problem": f"'{model.estimator_name}' is not a linear model"}
    weights, _added = input_weights(model)
    scale = linear_scale(model)
    kind = {LOG_ODDS: "odds ratio", LOGARITHM: "rate ratio"}.get(scale, "difference")
    classes = [str(model.classes[int(index)]) for index in getattr(model.estimator, "classes_", [])]
    outputs = classes if len(weights) > 1 else [classes[-1] if classes else "prediction"]
    rows = [
        {"output": output, **row}
        for output, each in zip(outputs, weights, strict=True)
        for row in _rows(model, each, is_ratio=kind != "difference")
    ]
    ranked = sorted(rows, key=lambda row: (-row.pop("size"), row["output"], row["term"]))
    return {"kind": kind, "rows": ranked[:MOST_ROWS], "left_out": max(0, len(ranked) - MOST_ROWS)}


def _rows(model: Model, weights: np.ndarray, is_ratio: bool) -> Iterator[dict[str, Any]]:
    """One row per output column; `size` ranks them: the coefficient on the scale that the model was fitted on."""

    def shown(value: float) -> float:
        with np.errstate(over="ignore"):
            return float(np.exp(value)) if is_ratio else float(value)

    position, prepared = 0, model.preprocess
    used = set(prepared.selected_names)
    for column in prepared.columns:
        names = column.outputs(prepared.one_hot)
        own = weights[position : position + len(names)]
        position += len(names)
        for term, weight, against in _terms(column, own):
            if term not in used and term in names:  # the model does not see it
                continue
            row = {"feature": column.name, "term": term, "against": against, "size": abs(float(weight))}
            if column.type == "number" and term == column.name:
                is_deviation = prepared.scale == "standard"
                row |= {"per_unit": shown(weight / column.scale if prepared.scaled else weight)}
                row |= {"per_deviation": shown(weight) if is_deviation else None}
                row |= {"deviation": column.scale if is_deviation else None}
            else:
                row |= {"per_unit": shown(weight), "per_deviation": None, "deviation": None}
            yield row


def _terms(column: Column, weights: np.ndarray) -> Iterator[tuple[str, float, str | None]]:
    """(term, coefficient, what it is against)."""
    values = weights[:-1] if column.indicator else weights
    if column.type == "number":
        yield column.name, float(values[0]), None
    elif column.encoder is not None:
        for name, weight in zip(column.encoder.names(column.name), values, strict=True):
            yield name, float(weight), None
    elif column.pixels is not None:
        for name, weight in zip(column.pixels.names(column.name), values, strict=True):
            yield name, float(weight), None
    else:
        for category, weight in list(zip(column.categories, values, strict=True))[1:]:
            yield f"{column.name}={category}", float(weight - values[0]), f"{column.name}={column.categories[0]}"
    if column.indicator:
        yield f"{column.name} is missing", float(weights[-1]), "there is a value"
