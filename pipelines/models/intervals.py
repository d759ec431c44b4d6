"""How far off a score may be, with a promised probability: split conformal intervals and sets, as one number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.errors import ModelError


@dataclass(frozen=True)
class Conformal:
    """`bound`: the distance between label and score that holds for `coverage` of rows like those it was learnt on.

    Regression: in units of the label. Classes: 1 minus the score of the true class, before calibration.
    """

    coverage: float
    bound: float

    def interval(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`(n,)` lowest and `(n,)` highest label."""
        return scores - self.bound, scores + self.bound

    def members(self, uncalibrated: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """`(n, k)` True for the classes in the set of a row, from its scores `(n,)` or `(n, k)`, both ways.

        The likeliest class always is: an empty set would say nothing, and a larger one covers more.
        """
        found: np.ndarray = 1 - per_class(uncalibrated) <= self.bound
        found[np.arange(len(found)), per_class(scores).argmax(axis=1)] = True
        return found

    def to_dict(self) -> dict[str, float]:
        return {"coverage": self.coverage, "bound": self.bound}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Conformal:
        return cls(saved["coverage"], saved["bound"])


def per_class(scores: np.ndarray) -> np.ndarray:
    """`(n, k)`; of a binary task the negative class comes first."""
    return np.column_stack([1 - scores, scores]) if scores.ndim == 1 else scores


def fit_conformal(coverage: float, scores: np.ndarray, target: np.ndarray, is_value: bool) -> Conformal:
    """From rows that the model has not learnt from; `is_value`: the label is a number, else a class.

    Source: Vovk et al. 2005 (split conformal prediction); Sadinle et al. 2019 for sets of classes.

    Raises:
        ModelError: E-TRAIN-INTERVALS when the rows are too few for this coverage.
    """
    if is_value:
        distances = np.abs(target - scores)
    else:
        distances = 1 - per_class(scores)[np.arange(len(target)), target.astype(int)]
    needed = int(max(1 / (1 - coverage), 1 / coverage)) + 2
    if len(distances) < needed:
        raise ModelError(
            "E-TRAIN-INTERVALS",
            "training.intervals",
            f"a coverage of {coverage:g} needs at least {needed:,} rows kept back, got {len(distances):,}",
            "The champion stays. Take a larger window, or a smaller coverage.",
        )
    return Conformal(coverage, conformal_bound(distances, coverage))


def conformal_bound(distances: np.ndarray, coverage: float) -> float:
    """The k-th smallest distance, k = (n + 1) * coverage rounded up, as MAPIE finds it for residuals around 0."""
    from mapie.regression import SplitConformalRegressor
    from sklearn.base import BaseEstimator, RegressorMixin

    class Nothing(RegressorMixin, BaseEstimator):
        """Predicts 0, so that the distances are the residuals."""

        fitted_ = True

        def fit(self, _rows: np.ndarray, _target: np.ndarray) -> Nothing:
            return self

        def predict(self, rows: np.ndarray) -> np.ndarray:
            return np.zeros(len(rows))

    regressor = SplitConformalRegressor(Nothing(), confidence_level=coverage, prefit=True)
    regressor.conformalize(np.zeros((len(distances), 1)), distances)
    _, interval = regressor.predict_interval(np.zeros((1, 1)))
    return float(interval[0, 1, 0])
