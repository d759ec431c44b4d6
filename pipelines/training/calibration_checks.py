"""The gate's rules on what scores promise: probabilities that are shares of rows, quantiles and intervals that hold."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipelines.training.candidates import Candidate, Evaluation
from pipelines.training.metrics import metric
from pipelines.training.policy import Check


def calibration_checks(evaluation: Evaluation, challenger: Candidate, limit: float) -> Iterator[Check]:
    if evaluation.quantile is not None:
        yield _coverage_check(evaluation, challenger, evaluation.quantile, limit)
    elif evaluation.task in ("binary", "multiclass"):
        yield _calibration_check(evaluation, challenger, limit)
    if challenger.coverage is not None:
        yield _interval_check(*challenger.coverage, limit)


def _calibration_check(evaluation: Evaluation, challenger: Candidate, limit: float) -> Check:
    error = metric("calibration_error", evaluation.labels, np.asarray(challenger.scores))
    text = f"expected calibration error {error:.4f}, at most {limit:g} allowed"
    return Check("calibration", bool(error <= limit), text, "HOLD", {"error": error, "limit": limit})


def _coverage_check(evaluation: Evaluation, challenger: Candidate, quantile: float, limit: float) -> Check:
    error = metric(f"coverage_error_{quantile:g}", evaluation.labels, np.asarray(challenger.scores))
    text = f"the share of labels up to the score is {error:.4f} from {quantile:g}, at most {limit:g} allowed"
    return Check("coverage", bool(error <= limit), text, "HOLD", {"error": error, "limit": limit})


def _interval_check(promised: float, realised: float, limit: float) -> Check:
    """Intervals that hold more labels than promised are wide, not wrong."""
    text = f"{realised:.4f} of the labels lie in the intervals or sets, {promised:g} promised, {limit:g} less allowed"
    numbers = {"promised": promised, "realised": realised, "limit": limit}
    return Check("intervals", bool(realised >= promised - limit), text, "HOLD", numbers)
