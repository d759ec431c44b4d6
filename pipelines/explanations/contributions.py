"""What each feature adds to a row's raw score, for the families whose models say so themselves."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.models.model import Model

LOG_ODDS, VALUE, LOGARITHM = "log-odds", "value", "logarithm of the value"
_LINKS = {
    "binary:logistic": LOG_ODDS,
    "reg:logistic": LOG_ODDS,
    "multi:softprob": LOG_ODDS,
    "reg:squarederror": VALUE,
    "reg:absoluteerror": VALUE,
    "reg:pseudohubererror": VALUE,
    "reg:quantileerror": VALUE,
    "reg:gamma": LOGARITHM,
    "reg:tweedie": LOGARITHM,
    "count:poisson": LOGARITHM,
}
# Sums of 32-bit numbers.
_TOLERANCE = 1e-3
# Leaves x depth^2 x rows: TreeSHAP's cost (Lundberg et al. 2020, algorithm 2); about two seconds of one core.
_MOST_STEPS = 200_000_000
_FEWEST_ROWS = 20


@dataclass(frozen=True)
class Contributions:
    """`values` is `(n_rows, n_outputs, n_features)`, `base` `(n_rows, n_outputs)`: their sum is the raw score.

    `outputs`: the positive class, every class, or 'prediction'. `scale`: what the sum is.
    """

    values: np.ndarray
    base: np.ndarray
    outputs: list[str]
    scale: str

    def total(self) -> np.ndarray:
        """`(n_rows, n_outputs)` raw scores."""
        total: np.ndarray = self.base + self.values.sum(axis=2)
        return total


def contributions(model: Model, table: pa.Table) -> Contributions | str:
    """Of each row and feature; or why this model has none.

    XGBoost: TreeSHAP. Linear models: coefficient times prepared value (a number as its distance from the training
    mean). What does not add up to the model's own scores is not shown.
    """
    is_trees = model.family == "xgboost"
    if not is_trees and not is_linear(model):
        return (
            f"'{model.estimator_name}' does not split its scores into features; the model card shows "
            "permutation importance, which holds for the model, not for one row"
        )
    projection = model.preprocess.projection
    if projection is not None and (is_trees or projection.matrix is None):
        return (
            f"the model sees components of '{projection.settings.method}', each made of many features, and its scores "
            "are no sums of these; the model card shows permutation importance"
        )
    found = _of_trees(model, table) if is_trees else _of_coefficients(model, table)
    if not _adds_up(model, table, found):
        return "they do not add up to the model's scores, which it adjusts later"
    return found if model.calibrator is None else replace(found, scale=f"{found.scale} before calibration")


def is_linear(model: Model) -> bool:
    """Whether the estimator has one coefficient per prepared column, so that its raw score should be their sum."""
    weights = getattr(model.estimator, "coef_", None) if model.family == "sklearn" else None
    return isinstance(weights, np.ndarray) and np.atleast_2d(weights).shape[1] == len(model.preprocess.output_names)


def mean_contributions(model: Model, table: pa.Table) -> dict[str, Any]:
    """Mean absolute contribution per feature over the first rows, as many as are affordable; or a `problem`."""
    rows = min(table.num_rows, _affordable_rows(model))
    found = contributions(model, table.slice(0, rows))
    if isinstance(found, str):
        return {"problem": found}
    sizes = np.abs(found.values).mean(axis=(0, 1))
    ranked = sorted(zip(model.features, sizes.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))
    features = [{"feature": name, "mean": size} for name, size in ranked]
    return {"scale": found.scale, "rows": rows, "method": _method(model), "features": features}


def _method(model: Model) -> str:
    return "TreeSHAP" if model.family == "xgboost" else "coefficient times value"


def _affordable_rows(model: Model) -> int:
    if model.family != "xgboost":
        return 1_000_000
    trees = model.estimator.get_dump()
    leaves = sum(tree.count("leaf=") for tree in trees)
    depth = max((line.count("\t") for tree in trees for line in tree.splitlines()), default=0) + 1
    return max(_FEWEST_ROWS, _MOST_STEPS // max(leaves * depth**2, 1))


def _of_trees(model: Model, table: pa.Table) -> Contributions:
    import xgboost

    matrix = xgboost.DMatrix(
        model.preprocess.transform(table, np.float32),
        feature_types=model.preprocess.output_types,
        enable_categorical=True,
    )
    found = np.asarray(model.estimator.predict(matrix, pred_contribs=True), dtype=np.float64)
    found = found[:, None, :] if found.ndim == 2 else found
    objective = json.loads(model.estimator.save_config())["learner"]["objective"]["name"]
    return Contributions(
        _by_feature(model, found[:, :, :-1], model.preprocess.origin()),
        found[:, :, -1],
        _outputs(model),
        _LINKS.get(objective, "raw score"),
    )


def _of_coefficients(model: Model, table: pa.Table) -> Contributions:
    weights, added = input_weights(model)
    matrix = model.preprocess.encode(table)
    intercept = np.atleast_1d(model.estimator.intercept_).astype(np.float64) + added
    base = np.broadcast_to(intercept, (len(matrix), len(weights)))
    values = _by_feature(model, matrix[:, None, :] * weights, model.preprocess.encoded_origin)
    return Contributions(values, base, _outputs(model), linear_scale(model))


def input_weights(model: Model) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of a linear model for the encoded columns `(n_outputs, n_encoded)`, through components by their
    loadings, and what these add to the intercept `(n_outputs,)`."""
    weights = np.atleast_2d(np.asarray(model.estimator.coef_, dtype=np.float64))
    found = model.preprocess.pulled_back(weights)
    if found is None:
        raise TypeError("a component is no sum of its inputs")
    return found


def linear_scale(model: Model) -> str:
    """What the sum of a linear model is."""
    if model.task in ("binary", "multiclass"):
        return LOG_ODDS
    return LOGARITHM if model.estimator_name in ("PoissonRegressor", "GammaRegressor", "TweedieRegressor") else VALUE


def _by_feature(model: Model, values: np.ndarray, origin: list[str]) -> np.ndarray:
    """Columns of one feature (its categories, its indicator) added up, `(n_rows, n_outputs, n_features)`."""
    position = {name: index for index, name in enumerate(model.features)}
    result = np.zeros((*values.shape[:2], len(position)))
    for column, name in enumerate(origin):
        result[:, :, position[name]] += values[:, :, column]
    return result


def _outputs(model: Model) -> list[str]:
    if model.task == "multiclass":
        return list(model.classes)
    return [model.classes[-1] if model.classes else "prediction"]


def _adds_up(model: Model, table: pa.Table, found: Contributions) -> bool:
    """Whether the sums give the model's scores before calibration.

    Where the way from one to the other is not known, nobody can tell.
    """
    scores, total = model.uncalibrated(table), found.total()
    if total.shape[1] != len(found.outputs):
        return False  # a class without training rows has no coefficients
    scores = scores[:, None] if scores.ndim == 1 else scores
    usable = np.isfinite(scores).all(axis=1)
    ways = _ways(found.scale, total[usable])
    return not ways or any(np.allclose(way, scores[usable], rtol=_TOLERANCE, atol=_TOLERANCE) for way in ways)


def _ways(scale: str, total: np.ndarray) -> list[np.ndarray]:
    """The scores that such sums can stand for, `(n_rows, n_outputs)`; of classes two, as libraries differ."""
    if scale == VALUE:
        return [total]
    if scale == LOGARITHM:
        return [np.exp(total)]
    if scale != LOG_ODDS:
        return []
    each = 1 / (1 + np.exp(-total))
    if total.shape[1] == 1:
        return [each]
    powers = np.exp(total - total.max(axis=1, keepdims=True))
    return [powers / powers.sum(axis=1, keepdims=True), each / each.sum(axis=1, keepdims=True)]
