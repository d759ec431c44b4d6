"""The limits that the gate holds a challenger to, by name, and one rule as it was found."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pipelines.settings.gate import Correction, Gate, Leakage, Test

Outcome = Literal["PROMOTE", "HOLD", "REJECT"]
# Of a pipeline that retrains every night.
NIGHTLY = 365.0
_LEAKAGE = Leakage()


@dataclass(frozen=True)
class Policy:
    """Limits of one named policy. `margin`, `tolerance` and `slice_margin` are in units of the metric, and, where the
    metric has no upper bound, shares of the champion's value."""

    margin: float = 0.0
    confidence: float = 0.95
    false_promotions_per_year: float = 0.5
    resamples: int = 2000
    test: Test = "superior"
    tolerance: float = 0.0
    max_champion_age_days: int | None = None
    when_stale: Test = "superior"
    min_holdout_rows: int = 200
    # Below this many groups a bootstrap by group promises more confidence than it has (Cameron, Gelbach & Miller 2008
    # find rejection rates well above nominal with few clusters).
    min_holdout_groups: int = 30
    floor: float | None = None
    slice_min_rows: int = 100
    slice_margin: float = 0.05
    slice_correction: Correction = "holm"
    threshold: float = 0.5
    max_selection_gap: float | None = None
    max_error_gap: float | None = None
    leakage: Leakage | None = _LEAKAGE
    max_calibration_error: float | None = 0.15
    max_seconds_per_1000_rows: float | None = 5.0
    max_megabytes: float | None = 500.0
    must_beat_linear: bool = False
    # Of models without labels.
    min_agreement: float = 0.5
    flagged_share: float = 0.01
    max_flagged_share: float = 0.05

    def alpha(self, tests_per_year: float) -> float:
        """How likely a challenger that is no better may be promoted by one test.

        The expected number of false promotions in a year is at most the sum over its tests, whatever binds one night
        to the next: expectations add up without independence.
        """
        return min(1 - self.confidence, self.false_promotions_per_year / max(tests_per_year, 1.0))


POLICIES = {
    "default": Policy(),
    "strict": Policy(
        margin=0.002,
        confidence=0.99,
        false_promotions_per_year=0.1,
        resamples=5000,
        min_holdout_rows=1000,
        slice_margin=0.02,
        must_beat_linear=True,
        min_agreement=0.8,
    ),
    # For a young pipeline: fewer rows suffice, the proof is as hard.
    "bootstrap": Policy(min_holdout_rows=50, min_holdout_groups=15, max_calibration_error=None),
}


@dataclass(frozen=True)
class Check:
    """One rule: whether it passed, in words, with its numbers. A failed one leads to `verdict`."""

    name: str
    passed: bool
    text: str
    verdict: Outcome = "HOLD"
    numbers: dict[str, Any] = field(default_factory=dict)


def policy_of(gate: Gate) -> Policy:
    """The named policy with the values that the pipeline sets itself."""
    own = {name: getattr(gate, name) for name in Policy.__dataclass_fields__ if hasattr(gate, name)}
    explicit = {
        name: value
        for name, value in own.items()
        if value is not None and (name != "slice_min_rows" or name in gate.model_fields_set)
    }
    return replace(POLICIES[gate.policy], **explicit | {"leakage": gate.leakage})
