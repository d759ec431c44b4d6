"""Which prepared columns a model sees, learnt from training rows: one step after the other, each with its reasons."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from pipelines.errors import ModelError
from pipelines.settings.preparation import (
    ByCorrelation,
    ByElimination,
    ByL1,
    ByMutualInformation,
    ByVariance,
    Selection,
)

# Seeded samples of this size bound the time of a step; what a column says shows on them.
MOST_ROWS = 10_000
# Named in the record; the others are counted.
MOST_NAMED = 100
# A column with so few values is a category to the estimate of mutual information.
_FEW_VALUES = 20
_NEVER_VARIES = 1e-12


@dataclass(frozen=True)
class Rows:
    """Prepared training rows. `target`: class numbers where `is_class`, else values. `names`: of the columns."""

    matrix: np.ndarray
    target: np.ndarray
    names: list[str]
    is_class: bool
    seed: int

    def of(self, kept: np.ndarray) -> Rows:
        """With these columns only."""
        return Rows(self.matrix[:, kept], self.target, [self.names[one] for one in kept], self.is_class, self.seed)


def select(rows: Rows, steps: Sequence[Selection]) -> tuple[tuple[int, ...], list[dict[str, Any]]]:
    """Positions of the columns that every step keeps, and per step what it dropped and why.

    Gaps count as the column's mean.

    Raises:
        ModelError: E-TRAIN-SELECT when a step leaves no column.
    """
    means = np.nan_to_num(np.nanmean(rows.matrix, axis=0)) if len(rows.matrix) else 0.0
    rows = Rows(np.where(np.isnan(rows.matrix), means, rows.matrix), rows.target, rows.names, rows.is_class, rows.seed)
    kept, told = np.arange(len(rows.names)), []
    for step in steps:
        now = rows.of(kept)
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of linear models that stop before their last digit
            reasons = _dropped(now, step)
        if len(reasons) == len(kept):
            raise ModelError(
                "E-TRAIN-SELECT",
                f"training.select by {step.by}",
                f"no column is left of {len(kept):,}",
                "Loosen it, or leave it out.",
            )
        named = [{"column": now.names[place], "why": why} for place, why in sorted(reasons.items())]
        told.append(
            {"by": step.by, "before": len(kept), "dropped": named[:MOST_NAMED], "after": len(kept) - len(named)}
        )
        kept = np.delete(kept, sorted(reasons))
    return tuple(kept.tolist()), told


def _dropped(rows: Rows, step: Selection) -> dict[int, str]:
    """Why, by position."""
    if isinstance(step, ByVariance):
        found = rows.matrix.var(axis=0)
        return {
            place: f"variance {value:.3g}, must be above {step.min:g}"
            for place, value in enumerate(found.tolist())
            if value <= max(step.min, _NEVER_VARIES)
        }
    if isinstance(step, ByCorrelation):
        return _alike(rows, step.max)
    if isinstance(step, ByMutualInformation):
        return _worst(_mutual_information(rows), step.keep, "mutual information")
    if isinstance(step, ByL1):
        size = _l1_weights(rows, step)
        return dict.fromkeys(np.flatnonzero(size == 0).tolist(), f"no weight at alpha {step.alpha:g}")
    return _eliminated(rows, step)


def _alike(rows: Rows, most: float) -> dict[int, str]:
    """A column is only dropped for one that stays."""
    standard = _standard(rows.matrix)
    together = np.abs(standard.T @ standard) / max(1, len(standard))
    found: dict[int, str] = {}
    for place in range(len(rows.names)):
        before = [one for one in range(place) if one not in found and together[place, one] > most]
        if before:
            twin = max(before, key=lambda one: (together[place, one], -one))
            found[place] = f"correlation {together[place, twin]:.3g} with {rows.names[twin]}"
    return found


def _mutual_information(rows: Rows) -> np.ndarray:
    """`(n_columns,)` in nats."""
    from sklearn.feature_selection import mutual_info_classif, mutual_info_regression

    few = np.array([len(np.unique(column)) <= _FEW_VALUES for column in rows.matrix.T])
    ask = mutual_info_classif if rows.is_class else mutual_info_regression
    return np.asarray(ask(rows.matrix, rows.target, discrete_features=few, random_state=rows.seed))


def _l1_weights(rows: Rows, step: ByL1) -> np.ndarray:
    """`(n_columns,)` largest absolute weight over the classes, of standardised columns.

    The loss is the mean log loss, or half the mean squared error of the standardised target, plus alpha times the sum
    of the weights' sizes.
    """
    from sklearn.linear_model import Lasso, LogisticRegression

    standard = _standard(rows.matrix)
    if not rows.is_class:
        target = _standard(rows.target[:, None])[:, 0]
        return np.abs(Lasso(alpha=step.alpha, max_iter=5000).fit(standard, target).coef_)
    strength = 1 / (step.alpha * max(1, len(standard)))
    fitted = LogisticRegression(l1_ratio=1, C=strength, solver="saga", max_iter=300, random_state=rows.seed)
    return np.abs(fitted.fit(standard, rows.target).coef_).max(axis=0)


def _eliminated(rows: Rows, step: ByElimination) -> dict[int, str]:
    from sklearn.feature_selection import RFE
    from sklearn.linear_model import LogisticRegression, Ridge

    if step.keep >= len(rows.names):
        return {}
    linear = LogisticRegression(max_iter=300) if rows.is_class else Ridge()
    fitted = RFE(linear, n_features_to_select=step.keep, step=0.1).fit(_standard(rows.matrix), rows.target)
    last = int(fitted.ranking_.max())
    return {
        place: f"eliminated in round {last - rank + 1} of {last - 1}"
        for place, rank in enumerate(fitted.ranking_.tolist())
        if rank > 1
    }


def _worst(values: np.ndarray, keep: int, what: str) -> dict[int, str]:
    order = sorted(range(len(values)), key=lambda place: (-values[place], place))
    return {
        place: f"{what} {values[place]:.3g}, place {number + 1} of {len(order)}"
        for number, place in enumerate(order)
        if number >= keep
    }


def _standard(matrix: np.ndarray) -> np.ndarray:
    """Mean 0 and deviation 1; a column that does not vary is 0."""
    centered = matrix - matrix.mean(axis=0)
    deviation = matrix.std(axis=0)
    return np.where(deviation > _NEVER_VARIES, centered / np.where(deviation > _NEVER_VARIES, deviation, 1), 0.0)
