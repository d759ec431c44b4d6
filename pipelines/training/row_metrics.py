"""Losses per row and the metrics that are functions of their weighted sums.

`statistics(labels, scores)` is `(n, m)`, dense or sparse; `value(sums)` maps weighted sums `(b, m)` to `(b,)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

# Equal-width bins of the expected calibration error: |share positive - mean score| weighted by bin size
# (Guo et al. 2017, "On Calibration of Modern Neural Networks", M = 15).
CALIBRATION_BINS = 15
_SMALLEST_PROBABILITY = 1e-15
_THRESHOLD = 0.5

Statistics = Callable[[np.ndarray, np.ndarray], Any]
Value = Callable[[np.ndarray], np.ndarray]
OfSums = tuple[Statistics, Value]


def mean_of(loss: Callable[[np.ndarray, np.ndarray], np.ndarray], root: bool = False) -> OfSums:
    """The weighted mean of a loss per row, or its root."""

    def statistics(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
        per_row = loss(labels, scores)
        return np.column_stack([np.ones(len(per_row)), per_row])

    def value(sums: np.ndarray) -> np.ndarray:
        mean = sums[:, 1] / sums[:, 0]
        return np.sqrt(mean) if root else mean

    return statistics, value


def log_loss(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    if scores.ndim == 2:
        chance = scores[np.arange(len(labels)), labels.astype(int)]
    else:
        chance = np.where(labels == 1, scores, 1 - scores)
    return -np.log(np.clip(chance, _SMALLEST_PROBABILITY, 1.0))


def brier(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    if scores.ndim == 1:
        return (scores - labels) ** 2
    return ((scores - np.eye(scores.shape[1])[labels.astype(int)]) ** 2).sum(axis=1)


def predicted(scores: np.ndarray) -> np.ndarray:
    """`(n,)` class numbers: the most probable one; of two classes 1 from one half on."""
    return scores.argmax(axis=1) if scores.ndim == 2 else (scores >= _THRESHOLD).astype(int)


def right(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return (predicted(scores) == labels).astype(float)


def mape() -> OfSums:
    """Rows whose true value is zero have no relative error and do not count."""

    def statistics(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
        counted = (labels != 0).astype(float)
        error = np.abs(labels - scores) / np.where(labels == 0, 1.0, np.abs(labels))
        return np.column_stack([counted, counted * error])

    return statistics, lambda sums: sums[:, 1] / sums[:, 0]


def pinball(quantile: float) -> OfSums:
    """Mean loss whose least value has the conditional quantile (Koenker & Bassett 1978)."""

    def loss(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
        above = labels - scores
        return np.maximum(quantile * above, (quantile - 1) * above)

    return mean_of(loss)


def coverage_error(quantile: float) -> OfSums:
    """How far the share of labels up to the score is from the quantile."""
    statistics, share = mean_of(lambda labels, scores: (labels <= scores).astype(float))
    return statistics, lambda sums: np.abs(share(sums) - quantile)


def r_squared() -> OfSums:
    def statistics(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
        # Centred first: the variance of large values would otherwise drown in rounding.
        centred = labels - labels.mean()
        return np.column_stack([np.ones(len(labels)), centred, centred**2, (labels - scores) ** 2])

    def value(sums: np.ndarray) -> np.ndarray:
        count, total, squares, errors = sums.T
        spread = squares - total**2 / count
        return np.where(spread > 0, 1 - errors / np.where(spread > 0, spread, 1), np.nan)

    return statistics, value


def of_confusion(measure: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> OfSums:
    """A metric of the rows per class that are right, true and predicted, each `(b, k)`. Binary has k = 2."""

    def statistics(labels: np.ndarray, scores: np.ndarray) -> Any:
        classes = scores.shape[1] if scores.ndim == 2 else 2
        true, found = labels.astype(int), predicted(scores)
        # Sparse: with many classes nearly all of it is zero.
        return _sparse([(found, true == found), (classes + true, None), (2 * classes + found, None)], 3 * classes)

    def value(sums: np.ndarray) -> np.ndarray:
        return measure(*np.split(sums, 3, axis=1))

    return statistics, value


def f1(right: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Binary: of the positive class. Multiclass: mean over the classes. Undefined without true or predicted ones."""
    each = 2 * right / (true + predicted)
    return each[:, 1] if each.shape[1] == 2 else each.mean(axis=1)


def balanced_accuracy(right: np.ndarray, true: np.ndarray, _predicted: np.ndarray) -> np.ndarray:
    """Mean recall over the classes; undefined while one has no row."""
    return (right / true).mean(axis=1)


def mcc(right: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Matthews correlation for k classes (Gorodkin 2004).

    Undefined when all labels are equal. When all predictions are equal it is 0, its limit (Chicco & Jurman 2020):
    that is what a constant baseline scores, and it must be beatable.
    """
    count = true.sum(axis=1)
    of_labels, of_predictions = count**2 - (true**2).sum(axis=1), count**2 - (predicted**2).sum(axis=1)
    both = right.sum(axis=1) * count - (true * predicted).sum(axis=1)
    product = of_predictions * of_labels
    found = np.where(of_predictions > 0, both / np.sqrt(np.where(product > 0, product, 1)), 0.0)
    return np.where(of_labels > 0, found, np.nan)


def binned(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Label, score and bin per row. Multiclass: of the most probable class, and whether it was right."""
    if scores.ndim == 2:
        labels, scores = right(labels, scores), scores.max(axis=1)
    return labels, scores, np.clip((scores * CALIBRATION_BINS).astype(int), 0, CALIBRATION_BINS - 1)


def calibration_error() -> OfSums:
    def statistics(labels: np.ndarray, scores: np.ndarray) -> Any:
        labels, scores, bins = binned(labels, scores)
        all_rows = np.full(len(labels), CALIBRATION_BINS)
        return _sparse([(bins, labels - scores), (all_rows, None)], CALIBRATION_BINS + 1)

    return statistics, lambda sums: np.abs(sums[:, :-1]).sum(axis=1) / sums[:, -1]


def _sparse(entries: list[tuple[np.ndarray, np.ndarray | None]], columns: int) -> Any:
    """`(n, columns)` with one entry per row and pair of (columns, values); without values ones."""
    from scipy.sparse import csr_array

    rows = len(entries[0][0])
    places = np.column_stack([where for where, _ in entries])
    values = np.column_stack([np.ones(rows) if what is None else what.astype(float) for _, what in entries])
    starts = np.arange(0, places.size + 1, len(entries))
    return csr_array((values.ravel(), places.ravel(), starts), shape=(rows, columns))
