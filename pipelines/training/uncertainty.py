"""What calibration and intervals are worth on the holdout, which neither they nor the model have seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.models.model import Model
from pipelines.training.metrics import calibration_curve, metric

_FIGURES = ("log_loss", "brier", "calibration_error")
_DIGITS = 5
_CONFIDENCE = 0.95


def uncertainty(model: Model, holdout: pa.Table, target: np.ndarray) -> dict[str, Any]:
    """`calibration` (what the holdout says without it) and `intervals` (realised coverage); empty without both.

    Rows that the model refuses are left out.
    """
    if model.calibrator is None and model.conformal is None:
        return {}
    scores = model.uncalibrated(holdout)
    usable = np.isfinite(scores) if scores.ndim == 1 else np.isfinite(scores).all(axis=1)
    scores, target = scores[usable], target[usable]
    found: dict[str, Any] = {}
    if model.calibrator is not None:
        curve = calibration_curve(target, scores) if len(scores) else []
        found["calibration"] = {
            "method": model.calibrator.method,
            "uncalibrated": {name: _rounded(metric(name, target, scores)) for name in _FIGURES},
            "curve": [{name: _rounded(value) for name, value in point.items()} for point in curve],
        }
    if model.conformal is not None:
        found["intervals"] = _coverage(model, scores, target)
    return found


def uncertainty_metrics(found: Mapping[str, Any]) -> dict[str, float]:
    """As MLflow takes them; what is undefined is left out."""
    before = (found.get("calibration") or {}).get("uncalibrated", {})
    intervals = found.get("intervals") or {}
    named = {f"uncalibrated_{name}": value for name, value in before.items()}
    named |= {f"interval_{name}": intervals.get(name) for name in ("coverage", "realised", "size")}
    return {name: value for name, value in named.items() if value is not None}


def covered(model: Model, holdout: pa.Table, target: np.ndarray) -> tuple[float, float] | None:
    """The coverage that was promised and the realised one; None without intervals, NaN without rows."""
    if model.conformal is None:
        return None
    scores = model.uncalibrated(holdout)
    usable = np.isfinite(scores) if scores.ndim == 1 else np.isfinite(scores).all(axis=1)
    inside, _ = _inside(model, scores[usable], target[usable])
    return model.conformal.coverage, float(inside.mean()) if len(inside) else float("nan")


def _coverage(model: Model, scores: np.ndarray, target: np.ndarray) -> dict[str, Any]:
    """`realised` with the interval that chance alone explains; `size`: mean width, or labels per set."""
    from scipy.stats import binomtest

    if model.conformal is None or not len(target):
        return {"rows": 0}
    inside, size = _inside(model, scores, target)
    chance = binomtest(int(inside.sum()), len(inside)).proportion_ci(_CONFIDENCE, "wilson")
    return {
        "coverage": model.conformal.coverage,
        "realised": _rounded(float(inside.mean())),
        "interval": [_rounded(chance.low), _rounded(chance.high)],
        "size": _rounded(size),
        "rows": len(inside),
    }


def _inside(model: Model, scores: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
    """`(n,)` True where the label lies within, and the mean size."""
    if model.conformal is None or not len(target):
        return np.zeros(0, dtype=bool), float("nan")
    if model.task == "regression":
        low, high = model.conformal.interval(scores)
        return (low <= target) & (target <= high), float((high - low).mean())
    members = model.conformal.members(scores, model.calibrated(scores))
    return members[np.arange(len(target)), target.astype(int)], float(members.sum(axis=1).mean())


def _rounded(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None
