"""The gate's rules on what scores promise: probabilities that are shares of rows, quantiles and intervals that hold."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipelines.training.candidates import Candidate, Evaluation
from pipelines.training.metrics import metric
from pipelines.training.policy import Check


def calibration_checks(
    evaluation: Evaluation, challenger: Candidate, champion: Candidate | None, limit: float
) -> Iterator[Check]:
    """The champion's own error decides nothing: it is recorded beside the challenger's."""
    if evaluation.quantile is not None:
        yield _coverage_check(evaluation, challenger, champion, evaluation.quantile, limit)
    elif evaluation.task in ("binary", "multiclass"):
        yield _calibration_check(evaluation, challenger, champion, limit)
    if challenger.coverage is not None:
        yield _interval_check(*challenger.coverage, limit)


def _calibration_check(
    evaluation: Evaluation, challenger: Candidate, champion: Candidate | None, limit: float
) -> Check:
    error = metric("calibration_error", evaluation.labels, np.asarray(challenger.scores))
    text = f"expected calibration error {error:.4f}, at most {limit:g} allowed"
    numbers = {"error": error, "limit": limit} | _of_champion("calibration_error", evaluation, champion)
    return Check("calibration", bool(error <= limit), text, "HOLD", numbers)


def _of_champion(name: str, evaluation: Evaluation, champion: Candidate | None) -> dict[str, float]:
    if champion is None or not evaluation.is_usable(champion):
        return {}
    return {"champion": metric(name, evaluation.labels, np.asarray(champion.scores))}


def _coverage_check(
    evaluation: Evaluation, challenger: Candidate, champion: Candidate | None, quantile: float, limit: float
) -> Check:
    name = f"coverage_error_{quantile:g}"
    error = metric(name, evaluation.labels, np.asarray(challenger.scores))
    text = f"the share of labels up to the score is {error:.4f} from {quantile:g}, at most {limit:g} allowed"
    numbers = {"error": error, "limit": limit} | _of_champion(name, evaluation, champion)
    return Check("coverage", bool(error <= limit), text, "HOLD", numbers)


def _interval_check(promised: float, realised: float, limit: float) -> Check:
    """Intervals that hold more labels than promised are wide, not wrong."""
    text = f"{realised:.4f} of the labels lie in the intervals or sets, {promised:g} promised, {limit:g} less allowed"
    numbers = {"promised": promised, "realised": realised, "limit": limit}
    return Check("intervals", bool(realised >= promised - limit), text, "HOLD", numbers)
