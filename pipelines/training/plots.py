"""Small pictures of a model on its holdout, for MLflow."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from pipelines.settings.tasks import TWO_VALUED_TASKS, VALUE_TASKS, Task
from pipelines.training.metrics import calibration_curve

_MOST_POINTS = 5_000


def plots(task: Task, target: np.ndarray, scores: np.ndarray) -> dict[str, bytes]:
    """File name to PNG: ROC, precision-recall and calibration; residuals of values; calibration of several classes."""
    if not len(target):
        return {}
    if task in VALUE_TASKS:
        return {"residuals.png": _residuals(target, scores)}
    pictures = {} if task == "anomaly" else {"calibration.png": _calibration(target, scores)}
    if task in TWO_VALUED_TASKS and len(np.unique(target)) == 2:
        pictures |= {"roc.png": _roc(target, scores), "precision_recall.png": _precision_recall(target, scores)}
    return pictures


def _roc(target: np.ndarray, scores: np.ndarray) -> bytes:
    from sklearn.metrics import roc_curve

    false_rate, true_rate, _ = roc_curve(target, scores)
    figure, axes = _axes("false positive rate", "true positive rate")
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axes.plot(false_rate, true_rate)
    return _png(figure)


def _precision_recall(target: np.ndarray, scores: np.ndarray) -> bytes:
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(target, scores)
    figure, axes = _axes("recall", "precision")
    axes.plot(recall, precision)
    axes.axhline(float(np.mean(target)), color="0.7", linewidth=1)
    return _png(figure)


def _calibration(target: np.ndarray, scores: np.ndarray) -> bytes:
    curve = calibration_curve(target, scores)
    figure, axes = _axes("mean score", "share positive")
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axes.plot([point["mean_score"] for point in curve], [point["share_positive"] for point in curve], marker="o")
    return _png(figure)


def _residuals(target: np.ndarray, scores: np.ndarray) -> bytes:
    chosen = slice(None, None, max(1, len(target) // _MOST_POINTS))
    figure, axes = _axes("prediction", "value - prediction")
    axes.axhline(0, color="0.7", linewidth=1)
    axes.plot(scores[chosen], (target - scores)[chosen], ".", markersize=2)
    return _png(figure)


def _axes(x: str, y: str) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 3.2), dpi=90, layout="tight")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _png(figure: Any) -> bytes:
    target = io.BytesIO()
    figure.savefig(target, format="png", metadata={"Software": None})
    return target.getvalue()
