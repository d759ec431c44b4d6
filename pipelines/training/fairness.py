"""The gate's rule on declared sensitive columns: gaps of selection and of errors between their values.

By fairlearn (Weerts et al. 2023): demographic parity difference (largest minus smallest share of selected rows) and
equalized odds difference (the larger one of the differences of true and of false positive rates; Hardt et al. 2016).
Of numbers the difference of mean absolute errors, as a share of the error over all rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipelines.settings.tasks import VALUE_TASKS
from pipelines.training.candidates import Candidate, Evaluation
from pipelines.training.policy import Check, Policy


def fairness_checks(
    evaluation: Evaluation, challenger: Candidate, champion: Candidate | None, policy: Policy
) -> Iterator[Check]:
    """A gap above its limit holds a challenger back unless the champion's is as large; one that is unknown, always."""
    is_value = evaluation.task in VALUE_TASKS
    for column, values in evaluation.sensitive.items():
        mine = gaps(evaluation, challenger, values, policy, is_value)
        other = champion if champion is not None and evaluation.is_usable(champion) else None
        theirs = gaps(evaluation, other, values, policy, is_value) if other else {}
        for kind, limit in (("selection", policy.max_selection_gap), ("error", policy.max_error_gap)):
            if limit is not None and kind in mine:
                yield _check(f"{kind} gap {column}", mine[kind], theirs.get(kind, float("nan")), limit)


def gaps(
    evaluation: Evaluation, candidate: Candidate, values: np.ndarray, policy: Policy, is_value: bool
) -> dict[str, float]:
    """`selection` and `error`. NaN with fewer than two values of `slice_min_rows` rows each, or without a rate."""
    names, codes, counts = np.unique([str(one) for one in values], return_inverse=True, return_counts=True)
    large = counts >= policy.slice_min_rows
    inside = large[codes]
    kinds = ("error",) if is_value else ("selection", "error")
    if large.sum() <= 1:
        return dict.fromkeys(kinds, float("nan"))
    labels, scores, groups = evaluation.labels[inside], np.asarray(candidate.scores)[inside], names[codes][inside]
    if is_value:
        return {"error": _error_gap(labels, scores, groups)}
    return _class_gaps(labels, (scores >= policy.threshold).astype(int), groups)


def _class_gaps(labels: np.ndarray, selected: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    from fairlearn.metrics import MetricFrame, selection_rate

    frame = MetricFrame(
        metrics={"selection": selection_rate, "true": _share_of(1), "false": _share_of(0)},
        y_true=labels,
        y_pred=selected,
        sensitive_features=groups,
    )
    by_group = frame.by_group
    # A value without a positive (or negative) row has no such rate; the others are compared.
    known = {name: by_group[name].dropna().astype(float) for name in by_group.columns}
    found = {name: float(one.max() - one.min()) if len(one) > 1 else float("nan") for name, one in known.items()}
    return {"selection": found["selection"], "error": float(np.max([found["true"], found["false"]]))}


def _error_gap(labels: np.ndarray, values: np.ndarray, groups: np.ndarray) -> float:
    from fairlearn.metrics import MetricFrame
    from sklearn.metrics import mean_absolute_error

    frame = MetricFrame(metrics=mean_absolute_error, y_true=labels, y_pred=values, sensitive_features=groups)
    overall = float(frame.overall)
    return float(frame.difference()) / overall if overall > 0 else 0.0


class _share_of:  # a function with a parameter, as fairlearn wants it
    """The share of the rows of one class that are selected; NaN without one."""

    def __init__(self, label: int) -> None:
        self._label = label

    def __call__(self, y_true: np.ndarray, y_pred: np.ndarray) -> float:
        inside = np.asarray(y_true) == self._label
        return float(np.asarray(y_pred)[inside].mean()) if inside.any() else float("nan")


def _check(name: str, mine: float, theirs: float, limit: float) -> Check:
    passed = bool(mine <= limit or mine <= theirs)
    text = f"{name}: {mine:.4f}, at most {limit:g} allowed"
    if np.isnan(mine):
        text = f"{name} cannot be told: fewer than two values have enough rows"
    elif np.isfinite(theirs):
        text += f" unless the champion's is as large ({theirs:.4f})"
    return Check(name, passed, text, "HOLD", {"challenger": mine, "champion": theirs, "limit": limit})
