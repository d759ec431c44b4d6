"""What people are told of a challenger beside the gate's numbers: intervals, slices, calibration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pipelines.training.bootstrap import intervals
from pipelines.training.candidates import CHALLENGER, CHAMPION, Evaluation
from pipelines.training.fit_step import rounded
from pipelines.training.metrics import calibration_curve, direction, metric

CONFIDENCE = 0.95
_RESAMPLES = 200
# All metrics on one resample of a million rows take a tenth of a second.
_MOST_DRAWS = 20_000_000
_FEWEST_RESAMPLES = 100
_MOST_VALUES = 20


def judged(evaluation: Evaluation, names: Sequence[str], seed: int) -> dict[str, Any]:
    """`better`, `intervals` of the metrics `names` (and how they were made), `slices` and `calibration`.

    All of the challenger; empty when it could not score, and without labels.

    Rows that the challenger refuses leave its metrics undefined, and so these.
    """
    challenger = evaluation.candidates.get(CHALLENGER)
    if not evaluation.is_labelled or challenger is None or challenger.scores is None:
        return {}
    if not np.isfinite(challenger.scores).all():
        return {}
    scores = challenger.scores
    resamples = max(_FEWEST_RESAMPLES, min(_RESAMPLES, _MOST_DRAWS // max(len(scores), 1)))
    found = intervals(
        names,
        evaluation.labels,
        scores,
        confidence=CONFIDENCE,
        resamples=resamples,
        seed=abs(seed),
        groups=evaluation.groups,
    )
    drawn = "rows" if evaluation.groups is None else "groups"
    return {
        "better": {name: direction(name) for name in names},
        "intervals": {name: [rounded(low), rounded(high)] for name, (low, high) in found.items()},
        "interval_method": {"confidence": CONFIDENCE, "resamples": resamples, "drawn": drawn},
        "slices": list(_slices(evaluation)),
        "calibration": _calibration(evaluation, scores) if "calibration_error" in names else [],
    }


def _slices(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    """The metric per value of each slice column, the values with most rows first."""
    for column, values in evaluation.slices.items():
        texts, codes, counts = np.unique([str(one) for one in values], return_inverse=True, return_counts=True)
        order = sorted(range(len(texts)), key=lambda code, counts=counts: (-counts[code], code))  # type: ignore[misc]
        for code in order[:_MOST_VALUES]:
            inside = codes == code
            yield {
                "column": column,
                "value": str(texts[code]),
                "rows": int(counts[code]),
                **{name: _on(evaluation, name, inside) for name in (CHALLENGER, CHAMPION)},
            }


def _on(evaluation: Evaluation, name: str, inside: np.ndarray) -> float | None:
    candidate = evaluation.candidates.get(name)
    if candidate is None or candidate.scores is None:
        return None
    return rounded(metric(evaluation.metric, evaluation.labels[inside], candidate.scores[inside]))


def _calibration(evaluation: Evaluation, scores: np.ndarray) -> list[dict[str, Any]]:
    """Of the positive class; of several classes, of the most probable one."""
    curve = calibration_curve(evaluation.labels, scores)
    return [{name: rounded(value) for name, value in point.items()} | {"rows": int(point["rows"])} for point in curve]
