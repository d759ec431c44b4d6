"""Metrics of scores against labels, for one sample and for thousands of bootstrap resamples alike.

Most metrics are functions of weighted sums over rows (`pipelines.training.row_metrics`); ROC AUC and average precision
sort once and then only add up weights (`pipelines.training.ranking`).
Labels: 0/1 (binary, anomaly), class numbers (multiclass), values (regression, quantile). Scores: `(n,)`, or `(n, k)`
for multiclass. Metrics of a quantile have it in their name: 'pinball_0.9'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipelines.errors import ConfigError, did_you_mean, names, quote
from pipelines.settings.tasks import Task
from pipelines.settings.training import Training
from pipelines.training.ranking import AveragePrecision, RocAuc
from pipelines.training.row_metrics import (
    CALIBRATION_BINS,
    OfSums,
    balanced_accuracy,
    binned,
    brier,
    calibration_error,
    coverage_error,
    f1,
    log_loss,
    mape,
    mcc,
    mean_of,
    of_confusion,
    pinball,
    r_squared,
    right,
)
from pipelines.training.weighted import Mean, Sums, Weighted

Direction = Literal["higher", "lower"]
_MEDIAN = 0.5


@dataclass(frozen=True)
class Metric:
    """Either a function of sums over rows, or a `ranking` of scores against labels of two values."""

    direction: Direction
    tasks: tuple[Task, ...]
    of_sums: OfSums | None = None
    ranking: Callable[[np.ndarray, np.ndarray], Weighted] | None = None


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
    return float(prepared(name, labels, scores).values(np.ones((1, len(labels))))[0])


def prepared(name: str, labels: np.ndarray, scores: np.ndarray) -> Weighted:
    """The metric as a function of row weights; sorts and row statistics are done once, here.

    Rankings of several classes: unweighted mean over the classes of one against the rest.
    """
    entry = metric_of(name)
    if entry.of_sums is not None:
        statistics, value = entry.of_sums
        return Sums(statistics(labels, scores), value)
    if entry.ranking is None:
        raise TypeError(f"metric '{name}' is incomplete")
    if scores.ndim == 1:
        return entry.ranking(labels, scores)
    classes = range(scores.shape[1])
    return Mean([entry.ranking((labels == one).astype(float), scores[:, one]) for one in classes])


def calibration_curve(labels: np.ndarray, scores: np.ndarray) -> list[dict[str, float]]:
    """Per non-empty bin: mean score, share positive, rows."""
    labels, scores, bins = binned(labels, scores)
    sums = (np.bincount(bins, weights, CALIBRATION_BINS).tolist() for weights in (None, labels, scores))
    return [{"mean_score": s / n, "share_positive": y / n, "rows": n} for n, y, s in zip(*sums, strict=True) if n > 0]


_OF_QUANTILE: dict[str, Callable[[float], OfSums]] = {"pinball": pinball, "coverage_error": coverage_error}


def _of_quantile(name: str) -> Metric | None:
    base, _, level = name.rpartition("_")
    if base not in _OF_QUANTILE:
        return None
    try:
        return Metric("lower", ("quantile",), _OF_QUANTILE[base](float(level)))
    except ValueError:
        return None


_CLASSES: tuple[Task, ...] = ("binary", "multiclass")
_RANKED: tuple[Task, ...] = (*_CLASSES, "anomaly")
_VALUES: tuple[Task, ...] = ("regression",)
METRICS: dict[str, Metric] = {
    "roc_auc": Metric("higher", _RANKED, ranking=RocAuc),
    "pr_auc": Metric("higher", _RANKED, ranking=AveragePrecision),
    "log_loss": Metric("lower", _CLASSES, mean_of(log_loss)),
    "brier": Metric("lower", _CLASSES, mean_of(brier)),
    "calibration_error": Metric("lower", _CLASSES, calibration_error()),
    "accuracy": Metric("higher", _CLASSES, mean_of(right)),
    "balanced_accuracy": Metric("higher", _CLASSES, of_confusion(balanced_accuracy)),
    "f1": Metric("higher", _CLASSES, of_confusion(f1)),
    "mcc": Metric("higher", _CLASSES, of_confusion(mcc)),
    "rmse": Metric("lower", _VALUES, mean_of(lambda labels, scores: (labels - scores) ** 2, root=True)),
    "mae": Metric("lower", _VALUES, mean_of(lambda labels, scores: np.abs(labels - scores))),
    "mape": Metric("lower", _VALUES, mape()),
    "r2": Metric("higher", _VALUES, r_squared()),
    "pinball": Metric("lower", _VALUES, pinball(_MEDIAN)),
    # Of silhouettes, one per row, in place of scores.
    "silhouette": Metric("higher", ("segments",), mean_of(lambda _labels, silhouettes: silhouettes)),
}
# Whose values have an upper bound of 1, so that a margin in points means the same for every pipeline.
BOUNDED = frozenset(
    {"roc_auc", "pr_auc", "brier", "calibration_error", "accuracy", "balanced_accuracy", "f1", "mcc", "r2"}
)
