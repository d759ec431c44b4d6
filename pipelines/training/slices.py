"""The gate's rule on slices: no part of the rows that is large enough may get certainly worse beyond its margin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from pipelines.settings.gate import Correction
from pipelines.training.bootstrap import Resampled, resample
from pipelines.training.candidates import Candidate, Evaluation
from pipelines.training.comparison import scaled
from pipelines.training.policy import Check, Policy

_NORMAL = NormalDist()
# A slice is called weak when a loss must be this many times the accepted one to be noticed four times in five.
_WEAK = 3.0
_POWER = 0.8


@dataclass(frozen=True)
class _Slice:
    name: str
    found: Resampled
    allowed: float

    @property
    def is_lost(self) -> bool:
        """By the point estimate; a metric that only one of both models has is a loss."""
        return not self.found.gain >= -self.allowed

    @property
    def is_undefined(self) -> bool:
        """One class only: the metric says nothing about either model."""
        return bool(np.isnan(self.found.challenger) and np.isnan(self.found.other))


def slice_checks(
    evaluation: Evaluation, challenger: Candidate, champion: Candidate, policy: Policy, seed: int
) -> Iterator[Check]:
    """One check per slice with enough rows and both classes. A loss that cannot be tested counts as one."""
    found = [one for one in _slices(evaluation, challenger, champion, policy, seed) if not one.is_undefined]
    alpha = 1 - policy.confidence
    p_values = [one.found.p_worse(-one.allowed) for one in found]
    adjusted = corrected([value for value in p_values if np.isfinite(value)], policy.slice_correction)
    remaining = iter(adjusted)
    for one, p_value in zip(found, p_values, strict=True):
        p_adjusted = next(remaining) if np.isfinite(p_value) else float("nan")
        is_worse = one.is_lost and not p_adjusted > alpha
        yield _check(one, p_value, p_adjusted, not is_worse, policy, alpha / len(found))


def corrected(p_values: list[float], correction: Correction) -> list[float]:
    """Adjusted for their number: Holm 1979 (any false alarm), or Benjamini & Hochberg 1995 (their share)."""
    if not p_values:
        return []
    from statsmodels.stats.multitest import multipletests

    method = "holm" if correction == "holm" else "fdr_bh"
    return [float(one) for one in multipletests(p_values, method=method)[1]]


def _slices(
    evaluation: Evaluation, challenger: Candidate, champion: Candidate, policy: Policy, seed: int
) -> Iterator[_Slice]:
    for name, inside in members(evaluation.slices, policy.slice_min_rows):
        found = resample(
            evaluation.metric,
            evaluation.labels[inside],
            np.asarray(challenger.scores)[inside],
            np.asarray(champion.scores)[inside],
            resamples=policy.resamples,
            seed=seed,
            groups=None if evaluation.groups is None else evaluation.groups[inside],
        )
        yield _Slice(name, found, scaled(policy.slice_margin, evaluation.metric, found.other))


def members(columns: Mapping[str, np.ndarray], min_rows: int) -> Iterator[tuple[str, np.ndarray]]:
    """`column=value` and its rows `(n,)`, of the values with enough rows."""
    for column, values in columns.items():
        texts, codes = np.unique([str(one) for one in values], return_inverse=True)
        for code, value in enumerate(texts.tolist()):
            inside = codes == code
            if inside.sum() >= min_rows:
                yield f"{column}={value}", inside


def _check(one: _Slice, p_value: float, p_adjusted: float, passed: bool, policy: Policy, alpha: float) -> Check:
    found = one.found
    reach = (_NORMAL.inv_cdf(1 - alpha) + _NORMAL.inv_cdf(_POWER)) * found.standard_error
    detectable = one.allowed + reach
    text = f"{one.name} ({found.rows:,} rows): {found.metric} {found.other:.4f} -> {found.challenger:.4f}"
    if not passed and np.isnan(p_adjusted):
        text += ", and whether that is chance cannot be tested"
    elif one.is_lost:
        text += f", a loss beyond {one.allowed:.4f} (p {p_adjusted:.3g}, {policy.slice_correction.replace('_', '-')})"
    is_weak = not detectable <= _WEAK * one.allowed
    if is_weak and passed:
        text += f"; too few rows to notice a loss below {detectable:.4f} four times in five"
    numbers = {
        "rows": found.rows,
        "champion": found.other,
        "challenger": found.challenger,
        "allowed_loss": one.allowed,
        "standard_error": found.standard_error,
        "p_value": p_value,
        "p_adjusted": p_adjusted,
        "detectable_loss": detectable,
        "is_weak": is_weak,
    }
    return Check(f"slice {one.name}", passed, text, "HOLD", numbers)
