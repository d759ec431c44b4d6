"""Metrics of scores against labels, for one sample and for thousands of bootstrap resamples alike.

Most metrics are functions of weighted sums over rows, so one resample costs one product of weights and row
statistics. Ranking metrics (ROC AUC, PR AUC) sort once and then only add up weights.
Labels: 0/1 (binary, anomaly), class numbers (multiclass), values (regression, quantile). Scores: `(n,)`, or `(n, k)`
for multiclass. Metrics of a quantile have it in their name: 'pinball_0.9'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pipelines.errors import ConfigError, did_you_mean, names, quote
from pipelines.settings.tasks import Task
from pipelines.settings.training import Training

Direction = Literal["higher", "lower"]
# Equal-width bins of the expected calibration error: |share positive - mean score| weighted by bin size
# (Guo et al. 2017, "On Calibration of Modern Neural Networks", M = 15).
CALIBRATION_BINS = 15
_SMALLEST_PROBABILITY = 1e-15
_THRESHOLD = 0.5
_MEDIAN = 0.5

Statistics = Callable[[np.ndarray, np.ndarray], np.ndarray]
Value = Callable[[np.ndarray], np.ndarray]
# Prepares one (labels, scores) pair and returns the metric as a function of row weights `(n,)`.
Prepared = Callable[[np.ndarray], float]


@dataclass(frozen=True)
class Metric:
    """`statistics(labels, scores)` is `(n, m)`; `value(sums)` maps weighted sums `(b, m)` to `(b,)`."""

    direction: Direction
    tasks: tuple[Task, ...]
    statistics: Statistics | None = None
    value: Value | None = None
    prepare: Callable[[np.ndarray, np.ndarray], Prepared] | None = None


def direction(metric: str) -> Direction:
    """Whether more is better.

    Raises:
        ConfigError: E-CONFIG-METRIC for an unknown metric, with the nearest one.
    """
    return metric_of(metric).direction


def metric_of(metric: str, task: Task | None = None) -> Metric:
    found = METRICS.get(metric) or _of_quantile(metric)
    if found is None or (task is not None and task not in found.tasks):
        known = [name for name, entry in METRICS.items() if task is None or task in entry.tasks]
        raise ConfigError(
            "E-CONFIG-METRIC",
            "training.metric",
            f"must be a metric of task '{task}' ({names(known)}), got {quote(metric)}" if task else quote(metric),
            did_you_mean(metric, known),
        )
    return found


def default_metric(task: Task) -> str:
    defaults = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse", "quantile": "pinball"}
    return defaults.get(task, "pr_auc")


def wanted_metric(training: Training) -> str:
    """What the gate and tuning compare; of a quantile with the quantile in its name."""
    name = training.metric or default_metric(training.task)
    return name if training.quantile is None else f"{name}_{training.quantile:g}"


def metrics(task: Task, labels: np.ndarray, scores: np.ndarray, quantile: float | None = None) -> dict[str, float]:
    """Every metric of the task. What cannot be computed (one class, NaN or infinite scores, no rows) is NaN."""
    if task == "quantile":
        found = [f"{name}_{quantile:g}" for name in _OF_QUANTILE]
    else:
        found = [name for name, entry in METRICS.items() if task in entry.tasks]
    return {name: metric(name, labels, scores) for name in found}


def metric(name: str, labels: np.ndarray, scores: np.ndarray) -> float:
    """One metric; NaN when it is undefined for these rows."""
    if not len(labels) or not np.isfinite(scores).all() or not np.isfinite(labels).all():
        return float("nan")
    return prepared(name, labels, scores)(np.ones(len(labels)))


def prepared(name: str, labels: np.ndarray, scores: np.ndarray) -> Prepared:
    """The metric as a function of row weights; sorts and row statistics are done once, here."""
    entry = metric_of(name)
    if entry.prepare is not None:
        return entry.prepare(labels, scores)
    if entry.statistics is None or entry.value is None:
        raise TypeError(f"metric '{name}' is incomplete")
    rows, value = entry.statistics(labels, scores), entry.value

    def weighted(weights: np.ndarray) -> float:
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(value((weights @ rows)[None, :])[0])

    return weighted


def calibration_curve(labels: np.ndarray, scores: np.ndarray) -> list[dict[str, float]]:
    """Per non-empty bin: mean score, share positive, rows."""
    labels, scores, bins = _binned(labels, scores)
    sums = (np.bincount(bins, weights, CALIBRATION_BINS).tolist() for weights in (None, labels, scores))
    return [{"mean_score": s / n, "share_positive": y / n, "rows": n} for n, y, s in zip(*sums, strict=True) if n > 0]


def _mean(loss: Callable[[np.ndarray, np.ndarray], np.ndarray], root: bool = False) -> tuple[Statistics, Value]:
    def statistics(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
        per_row = loss(labels, scores)
        return np.column_stack([np.ones(len(per_row)), per_row])

    def value(sums: np.ndarray) -> np.ndarray:
        mean = sums[:, 1] / sums[:, 0]
        return np.sqrt(mean) if root else mean

    return statistics, value


def _log_loss(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    if scores.ndim == 2:
        chance = scores[np.arange(len(labels)), labels.astype(int)]
    else:
        chance = np.where(labels == 1, scores, 1 - scores)
    return -np.log(np.clip(chance, _SMALLEST_PROBABILITY, 1.0))


def _brier(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    if scores.ndim == 1:
        return (scores - labels) ** 2
    return ((scores - np.eye(scores.shape[1])[labels.astype(int)]) ** 2).sum(axis=1)


def _predicted(scores: np.ndarray) -> np.ndarray:
    return scores.argmax(axis=1) if scores.ndim == 2 else (scores >= _THRESHOLD).astype(int)


def _right(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return (_predicted(scores) == labels).astype(float)


def _percentage(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Rows whose true value is zero have no relative error; see `_mape_statistics`."""
    return np.abs(labels - scores) / np.where(labels == 0, 1.0, np.abs(labels))


def _mape_statistics(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    counted = (labels != 0).astype(float)
    return np.column_stack([counted, counted * _percentage(labels, scores)])


def _pinball(quantile: float) -> Metric:
    """Mean loss whose least value has the conditional quantile (Koenker & Bassett 1978)."""

    def loss(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
        above = labels - scores
        return np.maximum(quantile * above, (quantile - 1) * above)

    return Metric("lower", ("quantile",), *_mean(loss))


def _coverage_error(quantile: float) -> Metric:
    """How far the share of labels up to the score is from the quantile."""
    statistics, share = _mean(lambda labels, scores: (labels <= scores).astype(float))
    return Metric("lower", ("quantile",), statistics, lambda sums: np.abs(share(sums) - quantile))


_OF_QUANTILE: dict[str, Callable[[float], Metric]] = {"pinball": _pinball, "coverage_error": _coverage_error}


def _of_quantile(name: str) -> Metric | None:
    base, _, level = name.rpartition("_")
    if base not in _OF_QUANTILE:
        return None
    try:
        return _OF_QUANTILE[base](float(level))
    except ValueError:
        return None


def _r2_statistics(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    # Centred first: the variance of large values would otherwise drown in rounding.
    centred = labels - labels.mean()
    return np.column_stack([np.ones(len(labels)), centred, centred**2, (labels - scores) ** 2])


def _r2(sums: np.ndarray) -> np.ndarray:
    count, total, squares, errors = sums.T
    spread = squares - total**2 / count
    return np.where(spread > 0, 1 - errors / np.where(spread > 0, spread, 1), np.nan)


def _of_confusion(value: Callable[[np.ndarray, np.ndarray, np.ndarray], float]) -> Callable[..., Prepared]:
    """A metric of the rows per class that are right, true and predicted, each `(k,)`. Binary has k = 2."""

    def prepare(labels: np.ndarray, scores: np.ndarray) -> Prepared:
        classes = scores.shape[1] if scores.ndim == 2 else 2
        cells = labels.astype(int) * classes + _predicted(scores)

        def weighted(weights: np.ndarray) -> float:
            table = np.bincount(cells, weights, classes * classes).reshape(classes, classes)
            with np.errstate(divide="ignore", invalid="ignore"):
                return float(value(np.diagonal(table), table.sum(axis=1), table.sum(axis=0)))

        return weighted

    return prepare


def _f1(right: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> float:
    """Binary: of the positive class. Multiclass: mean over the classes. Undefined without true or predicted ones."""
    each = 2 * right / (true + predicted)
    return float(each[1] if len(each) == 2 else each.mean())


def _balanced_accuracy(right: np.ndarray, true: np.ndarray, _predicted: np.ndarray) -> float:
    """Mean recall over the classes; undefined while one has no row."""
    return float((right / true).mean())


def _mcc(right: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> float:
    """Matthews correlation for k classes (Gorodkin 2004).

    Undefined when all labels are equal. When all predictions are equal it is 0, its limit (Chicco & Jurman 2020):
    that is what a constant baseline scores, and it must be beatable.
    """
    count = true.sum()
    of_labels, of_predictions = count**2 - (true**2).sum(), count**2 - (predicted**2).sum()
    if of_labels <= 0:
        return float("nan")
    both = right.sum() * count - (true * predicted).sum()
    return float(both / np.sqrt(of_predictions * of_labels)) if of_predictions > 0 else 0.0


def _binned(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Label, score and bin per row. Multiclass: of the most probable class, and whether it was right."""
    if scores.ndim == 2:
        labels, scores = _right(labels, scores), scores.max(axis=1)
    return labels, scores, np.clip((scores * CALIBRATION_BINS).astype(int), 0, CALIBRATION_BINS - 1)


def _calibration_error(labels: np.ndarray, scores: np.ndarray) -> Prepared:
    labels, scores, bins = _binned(labels, scores)
    gap = labels - scores

    def weighted(weights: np.ndarray) -> float:
        return float(np.abs(np.bincount(bins, weights * gap, CALIBRATION_BINS)).sum() / weights.sum())

    return weighted


def _roc_auc(labels: np.ndarray, scores: np.ndarray) -> Prepared:
    """Multiclass: unweighted mean over the classes of one against the rest."""
    if scores.ndim == 2:
        each = [_roc_auc((labels == index).astype(float), scores[:, index]) for index in range(scores.shape[1])]
        return lambda weights: float(np.mean([one(weights) for one in each]))
    positive = np.flatnonzero(labels == 1)
    negative = np.flatnonzero(labels != 1)
    negative = negative[np.argsort(scores[negative], kind="stable")]
    below = np.searchsorted(scores[negative], scores[positive], "left")
    up_to = np.searchsorted(scores[negative], scores[positive], "right")

    # Buffers are reused over thousands of resamples: fresh arrays of this size cost more than the arithmetic.
    drawn, behind, ranks = np.empty(len(negative)), np.zeros(len(negative) + 1), np.empty((3, len(positive)))

    def weighted(weights: np.ndarray) -> float:
        """The share of (positive, negative) pairs in the right order; ties count one half."""
        np.cumsum(np.take(weights, negative, out=drawn, mode="clip"), out=behind[1:])
        np.take(behind, below, out=ranks[0], mode="clip")
        np.take(behind, up_to, out=ranks[1], mode="clip")
        mine = np.take(weights, positive, out=ranks[2], mode="clip")
        pairs = mine.sum() * behind[-1]
        return float((mine @ ranks[0] + mine @ ranks[1]) / 2 / pairs) if pairs > 0 else float("nan")

    return weighted


def _pr_auc(labels: np.ndarray, scores: np.ndarray) -> Prepared:
    """Average precision: precision at each distinct score, weighted by the recall gained there."""
    if scores.ndim == 2:
        each = [_pr_auc((labels == index).astype(float), scores[:, index]) for index in range(scores.shape[1])]
        return lambda weights: float(np.mean([one(weights) for one in each]))
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    positive = (labels[order] == 1).astype(float)
    drawn, running = np.empty(len(order)), np.empty(len(order))
    found, taken, gained = np.empty(len(ends)), np.empty(len(ends)), np.empty(len(ends))

    def weighted(weights: np.ndarray) -> float:
        np.take(weights, order, out=drawn, mode="clip")
        np.take(np.cumsum(drawn, out=running), ends, out=taken, mode="clip")
        np.multiply(drawn, positive, out=drawn)
        np.take(np.cumsum(drawn, out=running), ends, out=found, mode="clip")
        if found[-1] <= 0:
            return float("nan")
        gained[0] = found[0]
        np.subtract(found[1:], found[:-1], out=gained[1:])
        np.multiply(gained, found, out=gained)
        np.maximum(taken, 1e-300, out=taken)
        return float(np.divide(gained, taken, out=gained).sum() / found[-1])

    return weighted


_CLASSES: tuple[Task, ...] = ("binary", "multiclass")
_RANKED: tuple[Task, ...] = (*_CLASSES, "anomaly")
_VALUES: tuple[Task, ...] = ("regression",)
METRICS: dict[str, Metric] = {
    "roc_auc": Metric("higher", _RANKED, prepare=_roc_auc),
    "pr_auc": Metric("higher", _RANKED, prepare=_pr_auc),
    "log_loss": Metric("lower", _CLASSES, *_mean(_log_loss)),
    "brier": Metric("lower", _CLASSES, *_mean(_brier)),
    "calibration_error": Metric("lower", _CLASSES, prepare=_calibration_error),
    "accuracy": Metric("higher", _CLASSES, *_mean(_right)),
    "balanced_accuracy": Metric("higher", _CLASSES, prepare=_of_confusion(_balanced_accuracy)),
    "f1": Metric("higher", _CLASSES, prepare=_of_confusion(_f1)),
    "mcc": Metric("higher", _CLASSES, prepare=_of_confusion(_mcc)),
    "rmse": Metric("lower", _VALUES, *_mean(lambda labels, scores: (labels - scores) ** 2, root=True)),
    "mae": Metric("lower", _VALUES, *_mean(lambda labels, scores: np.abs(labels - scores))),
    "mape": Metric("lower", _VALUES, _mape_statistics, _mean(_percentage)[1]),
    "r2": Metric("higher", _VALUES, _r2_statistics, _r2),
    "pinball": replace(_pinball(_MEDIAN), tasks=_VALUES),
    # Of silhouettes, one per row, in place of scores.
    "silhouette": Metric("higher", ("segments",), *_mean(lambda _labels, silhouettes: silhouettes)),
}
# Whose values have an upper bound of 1, so that a margin in points means the same for every pipeline.
BOUNDED = frozenset(
    {"roc_auc", "pr_auc", "brier", "calibration_error", "accuracy", "balanced_accuracy", "f1", "mcc", "r2"}
)
