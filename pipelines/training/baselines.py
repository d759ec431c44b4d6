"""What anybody could do without a model: a constant, and a plain linear model on the readable features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.context import Context
from pipelines.errors import DataError, ModelError
from pipelines.models.fitting import Recipe, Rows, fit
from pipelines.models.model import Model
from pipelines.settings.training import Training
from pipelines.training.candidates import CONSTANT, LINEAR, Candidate
from pipelines.training.dataset import Frozen, required
from pipelines.training.tuning import recipe_of, training_rows

# Its linear program takes seconds for these and minutes for ten times as many.
_ROWS_OF_A_LINEAR_QUANTILE = 2_000
# The plain model of each task. Of anomalies: the distance from the mean, in standard deviations.
_PLAIN: dict[str, tuple[str, dict[str, Any]]] = {
    "binary": ("LogisticRegression", {"max_iter": 300}),
    "multiclass": ("LogisticRegression", {"max_iter": 300}),
    "regression": ("Ridge", {}),
    "quantile": ("QuantileRegressor", {"alpha": 0.0}),
    "anomaly": ("KMeans", {"n_clusters": 1}),
}


def baselines(context: Context, frozen: Frozen, holdout: pa.Table, digest: str) -> list[Candidate]:
    """What anybody could do without a model: the training mean, and a plain linear model on the numeric features."""
    training, _ = required(context)
    rows, _validation = training_rows(context, frozen)
    constant = Candidate(CONSTANT, _constant(training, rows, holdout.num_rows, frozen.classes), holdout_digest=digest)
    try:
        scores = _linear(context, frozen, rows).predict(holdout)
    except (ModelError, DataError, ValueError) as error:
        return [constant, Candidate(LINEAR, None, problem=str(error), holdout_digest=digest)]
    return [constant, Candidate(LINEAR, scores, holdout_digest=digest)]


def _constant(training: Training, rows: Rows, count: int, classes: list[str]) -> np.ndarray:
    if training.task == "multiclass":
        shares = np.bincount(rows.target.astype(int), minlength=len(classes)) / len(rows)
        return np.tile(shares, (count, 1))
    if training.quantile is not None:
        return np.full(count, np.quantile(rows.target, training.quantile))
    return np.full(count, rows.target.mean())


def _linear(context: Context, frozen: Frozen, rows: Rows) -> Model:
    recipe = recipe_of(context, frozen)
    readable = {name: kind for name, kind in frozen.types.items() if kind in ("number", "text")}
    if not readable:
        raise ModelError("E-GATE-BASELINE", context.name, "there is no number and no text for a linear baseline")
    if recipe.training.task == "quantile":
        rows = rows.take(np.arange(len(rows)) % max(1, len(rows) // _ROWS_OF_A_LINEAR_QUANTILE) == 0)
    estimator, parameters = _PLAIN[recipe.training.task]
    plain = Training.model_validate(
        {
            "task": recipe.training.task,
            "quantile": recipe.training.quantile,
            "model": {"family": "sklearn", "estimator": estimator, "parameters": parameters},
            "missing": {"default": {"strategy": "median"}},
            "seed": recipe.training.seed,
        }
    )
    return fit(Recipe(plain, readable, recipe.classes, recipe.threads), rows, None)
