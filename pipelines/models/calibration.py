"""Curves that turn a model's scores into the shares of rows that they claim to be; plain numbers, stored as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Method = Literal["sigmoid", "isotonic"]
# Log-odds end here: a naive Bayes says 1 - 1e-30 lightly, and one such row must not decide the slope.
_SMALLEST_PROBABILITY = 1e-12


@dataclass(frozen=True)
class Sigmoid:
    """`1 / (1 + exp(-(slope * log-odds + intercept)))`; slope 1 and intercept 0 change nothing."""

    slope: float
    intercept: float

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """`(n,)` to `(n,)`; NaN stays NaN."""
        return 1 / (1 + np.exp(-(self.slope * log_odds(scores) + self.intercept)))


@dataclass(frozen=True)
class Isotonic:
    """Straight lines between knots `(scores[i], chances[i])`, both rising; flat beyond the ends."""

    scores: tuple[float, ...]
    chances: tuple[float, ...]

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """`(n,)` to `(n,)`; NaN stays NaN."""
        chances = np.asarray(self.chances)
        found = np.interp(scores, self.scores, chances)
        # Rounding could carry the end of one line above the start of the next: two rows would change places.
        right = np.searchsorted(self.scores, scores, side="right")
        low, high = chances[np.maximum(right - 1, 0)], chances[np.minimum(right, len(chances) - 1)]
        return np.clip(found, low, high)


Curve = Sigmoid | Isotonic


@dataclass(frozen=True)
class Calibrator:
    """One curve for a binary task; one per class for several, None for a class whose score stays as it is."""

    method: Method
    curves: tuple[Curve | None, ...]

    def apply(self, scores: np.ndarray) -> np.ndarray:
        """`(n,)` or `(n, k)` to the same shape, in [0, 1]; the classes of a row sum to 1 again. NaN stays NaN."""
        if scores.ndim == 1:
            return _curved(self.curves[0], scores)
        each = np.column_stack([_curved(curve, scores[:, column]) for column, curve in enumerate(self.curves)])
        total = each.sum(axis=1, keepdims=True)
        # Nothing is left of a row only where every class without a curve has score 0.
        return np.where(total > 0, each / np.where(total > 0, total, 1), scores)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it: floats keep every digit."""
        return {"method": self.method, "curves": [_numbers(curve) for curve in self.curves]}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Calibrator:
        """Raises KeyError or TypeError for anything else than `to_dict` gives."""
        return cls(saved["method"], tuple(_curve(numbers) for numbers in saved["curves"]))


def log_odds(scores: np.ndarray) -> np.ndarray:
    """`ln(s / (1 - s))`, bounded."""
    clipped = np.clip(scores, _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY)
    return np.log(clipped / (1 - clipped))


def fit_calibrator(method: Method, scores: np.ndarray, target: np.ndarray) -> Calibrator:
    """`scores` of rows that the model has not learnt from, `(n,)` or `(n, k)`; `target` 0/1 or class numbers.

    Several classes: each against the rest (Zadrozny & Elkan 2002). A class that none or all of the rows have keeps
    its score: nothing is known about it.
    """
    if scores.ndim == 1:
        return Calibrator(method, (_fit_curve(method, scores, target == 1),))
    columns = [(scores[:, number], target == number) for number in range(scores.shape[1])]
    return Calibrator(
        method, tuple(_fit_curve(method, *column) if 0 < column[1].sum() < len(target) else None for column in columns)
    )


def _fit_curve(method: Method, scores: np.ndarray, is_positive: np.ndarray) -> Curve:
    return fit_sigmoid(scores, is_positive) if method == "sigmoid" else fit_isotonic(scores, is_positive)


def fit_sigmoid(scores: np.ndarray, is_positive: np.ndarray) -> Sigmoid:
    """Logistic regression on the log-odds, with Platt's targets, which no perfect order drives to infinity.

    The slope is never negative: of scores that rank backwards nothing but the share of positives is left.
    Source: Platt 1999, "Probabilistic Outputs for Support Vector Machines", section 2.2.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    positives, negatives = int(is_positive.sum()), int((~is_positive).sum())
    aim = np.where(is_positive, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    odds, labels = np.tile(log_odds(scores), 2)[:, None], np.repeat([1, 0], len(scores))
    with threadpool_limits(1):  # the order in which threads add up would be part of the model
        fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
            odds, labels, sample_weight=np.concatenate([aim, 1 - aim])
        )
    if fitted.coef_[0, 0] >= 0:
        return Sigmoid(float(fitted.coef_[0, 0]), float(fitted.intercept_[0]))
    share = aim.mean()
    return Sigmoid(0.0, float(np.log(share / (1 - share))))


def fit_isotonic(scores: np.ndarray, is_positive: np.ndarray) -> Isotonic:
    """The rising steps nearest to the labels, by the pool-adjacent-violators algorithm of scikit-learn.

    No chance is nearer to 0 or 1 than one row among all would be (Laplace): a single row that proves a certainty
    wrong would cost an infinite log loss.
    """
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression().fit(scores, is_positive.astype(np.float64))
    edge = 1 / (len(scores) + 2)
    chances = np.clip(fitted.y_thresholds_, edge, 1 - edge)
    return Isotonic(tuple(map(float, fitted.X_thresholds_)), tuple(map(float, chances)))


def _curved(curve: Curve | None, scores: np.ndarray) -> np.ndarray:
    return scores if curve is None else curve(scores)


def _numbers(curve: Curve | None) -> dict[str, Any] | None:
    if curve is None:
        return None
    if isinstance(curve, Sigmoid):
        return {"slope": curve.slope, "intercept": curve.intercept}
    return {"scores": list(curve.scores), "chances": list(curve.chances)}


def _curve(numbers: Mapping[str, Any] | None) -> Curve | None:
    if numbers is None:
        return None
    if "slope" in numbers:
        return Sigmoid(numbers["slope"], numbers["intercept"])
    values: tuple[Sequence[float], Sequence[float]] = numbers["scores"], numbers["chances"]
    return Isotonic(*map(tuple, values))
