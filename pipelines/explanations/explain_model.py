"""Everything that explains one model, computed on a sample of its holdout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.explanations.coefficients import coefficients
from pipelines.explanations.contributions import mean_contributions
from pipelines.explanations.dependence import MOST_FEATURES, partial_dependence
from pipelines.explanations.heatmaps import heatmaps
from pipelines.explanations.permutation import permutation_importance
from pipelines.explanations.sample import Sample, draw, rows_for
from pipelines.models.model import Model

_DIGITS = 5


def explain_model(model: Model, metric: str, holdout: pa.Table, labels: np.ndarray, seed: int) -> dict[str, Any]:
    """`permutation`, `contributions`, `coefficients` and `dependence`, JSON-able; what a model has not says why.

    With a network over images `heatmaps` besides.

    Only rows that the model scores are used. The same model, holdout and seed give the same numbers, rounded to five
    digits.
    """
    rows = rows_for(len(model.features), model.estimator_name)
    sample = _scored(model, draw(holdout, labels, rows, seed))
    if not len(sample):
        problem = {"problem": "the model scores none of the sampled holdout rows"}
        return {"permutation": problem, "contributions": problem, "coefficients": problem, "dependence": []}
    permutation = permutation_importance(model, metric, sample, seed)
    contributed = mean_contributions(model, sample.table)
    found = {
        "permutation": permutation,
        "contributions": contributed,
        # Where the contributions do not add up to the scores, the coefficients do not tell what the model does.
        "coefficients": contributed if "problem" in contributed else coefficients(model),
        "dependence": partial_dependence(model, sample, _top(model, permutation, contributed)),
    }
    looked = heatmaps(model, sample, seed)
    found |= {"heatmaps": looked} if looked else {}
    return {name: _rounded(value) for name, value in found.items()}


def _scored(model: Model, sample: Sample) -> Sample:
    scores = model.predict(sample.table)
    usable = np.isfinite(scores) if scores.ndim == 1 else np.isfinite(scores).all(axis=1)
    table = sample.table.filter(pa.array(usable))
    return Sample(table, sample.labels[usable], sample.weights[usable], sample.of_rows)


def _top(model: Model, permutation: dict[str, Any], contributed: dict[str, Any]) -> list[str]:
    """The features that matter most, by permutation where it could be measured."""
    for found in (permutation, contributed):
        if "features" in found:
            return [row["feature"] for row in found["features"]][:MOST_FEATURES]
    own = model.importance()
    return sorted(own, key=lambda name: (-own[name], name))[:MOST_FEATURES]


def _rounded(value: Any) -> Any:
    """Numbers with five digits; NaN and infinity become None, which JSON can hold."""
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None
    return value
