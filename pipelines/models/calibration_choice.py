"""Which curve calibrates a model, if any: judged on rows that neither the model nor the curve has seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipelines.errors import ModelError
from pipelines.models.calibration import Calibrator, Method, fit_calibrator
from pipelines.models.intervals import per_class
from pipelines.settings.training import Calibration
from pipelines.training.metrics import metric

FOLDS = 5
# Below this a fold has ten rows, and any figure of it is chance.
FEWEST_ROWS = 50
NONE = "none"
_METHODS: tuple[Method, ...] = ("sigmoid", "isotonic")
_FIGURES = ("log_loss", "brier", "calibration_error")
_DIGITS = 6
_SMALLEST_PROBABILITY = 1e-15


def choose_calibrator(
    settings: Calibration, scores: np.ndarray, target: np.ndarray, fold: np.ndarray
) -> tuple[Calibrator | None, dict[str, Any]]:
    """The calibrator, learnt from all these rows, and `{"method", "wanted", "rows", "figures"}`; None for 'none'.

    `figures`: log loss, Brier score and calibration error per method, each row calibrated by a curve that has not
    seen its `fold` `(n,)`. `auto` takes the method with the smallest log loss, or none where it gains too little.

    Raises:
        ModelError: E-TRAIN-CALIBRATION when the rows are too few, or of one label once a fold is left out.
    """
    _require_usable(target, fold)
    tried = {NONE: scores} | {method: _unseen(method, scores, target, fold) for method in _METHODS}
    figures = {name: _figures(target, found) for name, found in tried.items()}
    method = _best(tried, target) if settings.method == "auto" else settings.method
    facts = {"method": method or NONE, "wanted": settings.method, "rows": len(target), "figures": figures}
    return (fit_calibrator(method, scores, target) if method else None), facts


def _best(tried: Mapping[str, np.ndarray], target: np.ndarray) -> Method | None:
    """The method with the smallest log loss, if what it gains over none is more than chance: one standard error.

    A curve that gains nothing would still cost the model its latest rows.
    """
    losses = {name: _losses(scores, target) for name, scores in tried.items()}
    best = min(_METHODS, key=lambda name: losses[name].mean())
    gains = losses[NONE] - losses[best]
    return best if gains.mean() > gains.std(ddof=1) / np.sqrt(len(gains)) else None


def _losses(scores: np.ndarray, target: np.ndarray) -> np.ndarray:
    chance = per_class(scores)[np.arange(len(target)), target.astype(int)]
    return -np.log(np.clip(chance, _SMALLEST_PROBABILITY, 1.0))


def _unseen(method: Method, scores: np.ndarray, target: np.ndarray, fold: np.ndarray) -> np.ndarray:
    found = np.empty_like(scores)
    for number in np.unique(fold):
        inside = fold == number
        found[inside] = fit_calibrator(method, scores[~inside], target[~inside]).apply(scores[inside])
    return found


def _figures(target: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    return {name: float(f"{metric(name, target, scores):.{_DIGITS}g}") for name in _FIGURES}


def _require_usable(target: np.ndarray, fold: np.ndarray) -> None:
    numbers = np.unique(fold)
    fewest = min((len(np.unique(target[fold != number])) for number in numbers), default=0)
    if len(target) < FEWEST_ROWS or len(numbers) < 2 or fewest < 2:
        raise ModelError(
            "E-TRAIN-CALIBRATION",
            "training.calibration",
            f"the rows kept back to calibrate on must be at least {FEWEST_ROWS} with two label values in any "
            f"{FOLDS - 1} of {FOLDS} parts, got {len(target):,} rows with {len(np.unique(target))} label value(s)",
            "The champion stays. Take a larger window, or leave out training.calibration.",
        )
