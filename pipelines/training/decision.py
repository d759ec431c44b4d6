"""The gate's rules as a pure function: an evaluation and a policy give PROMOTE, HOLD or REJECT, with every number.

In order: mechanical checks, baselines beaten, absolute floor, the test against the champion, too good to be true,
slices, sensitive columns, calibration. What is missing, NaN or judged on another holdout is a HOLD: the gate fails
closed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.training.calibration_checks import calibration_checks
from pipelines.training.candidates import CHALLENGER, CHAMPION, Candidate, Evaluation
from pipelines.training.comparison import (
    age_check,
    baseline_checks,
    champion_checks,
    floor_check,
    in_force,
    too_good_check,
)
from pipelines.training.fairness import fairness_checks
from pipelines.training.mechanical import mechanical_checks, scores_check
from pipelines.training.policy import NIGHTLY, Check, Outcome, Policy
from pipelines.training.slices import slice_checks
from pipelines.training.unlabelled import unlabelled_checks

# What a promotion is explained with, and what is said whatever the outcome.
_TOLD = ("champion", "agreement", "baseline constant")
_ALWAYS_TOLD = "age"


@dataclass(frozen=True)
class Decision:
    """The first failed check decides; all checks that could be made are kept."""

    outcome: Outcome
    reasons: list[str]
    checks: list[Check]

    def numbers(self) -> dict[str, Any]:
        return {"checks": [asdict(check) for check in self.checks]}


def decide(
    evaluation: Evaluation,
    policy: Policy,
    seed: int,
    before: list[Check] | None = None,
    tests_per_year: float = NIGHTLY,
) -> Decision:
    """`before`: checks of the run itself (training data, hindsight) that come first. `tests_per_year`: among how many
    tests the year's budget of false promotions is shared; see `pipelines.training.budget`."""
    checks: list[Check] = list(before or [])
    for check in _checks(evaluation, policy, policy.alpha(tests_per_year), seed):
        checks.append(check)
        if not check.passed and check.name == "scores":
            break  # nothing can be compared
    failed = [check for check in checks if not check.passed]
    always = [check.text for check in checks if check.name == _ALWAYS_TOLD]
    if not failed:
        told = [check.text for name in _TOLD for check in checks if check.name == name]
        return Decision("PROMOTE", [*told, *always], checks)
    return Decision(failed[0].verdict, [*(check.text for check in failed), *always], checks)


def _checks(evaluation: Evaluation, policy: Policy, alpha: float, seed: int) -> Iterator[Check]:
    challenger = evaluation.candidates.get(CHALLENGER)
    champion = evaluation.candidates.get(CHAMPION)
    yield scores_check(evaluation, challenger)
    if challenger is None or not evaluation.is_usable(challenger):
        return
    yield from mechanical_checks(evaluation, challenger, policy)
    if (age := age_check(evaluation.champion_age_days, policy)) is not None:
        yield age
    if not evaluation.is_labelled:
        yield from unlabelled_checks(evaluation, policy, alpha, seed)
        return
    yield from _labelled_checks(evaluation, challenger, champion, policy, alpha, seed)


def _labelled_checks(
    evaluation: Evaluation, challenger: Candidate, champion: Candidate | None, policy: Policy, alpha: float, seed: int
) -> Iterator[Check]:
    yield from baseline_checks(evaluation, challenger, policy, alpha, seed)
    if policy.floor is not None:
        yield floor_check(evaluation, challenger, policy.floor)
    tested = in_force(policy, evaluation.champion_age_days)
    yield from champion_checks(evaluation, challenger, champion, tested, alpha, seed)
    if policy.leakage is not None:
        yield too_good_check(evaluation, challenger, policy.leakage)
    if champion is not None and evaluation.is_usable(champion):
        yield from slice_checks(evaluation, challenger, champion, policy, seed)
    yield from fairness_checks(evaluation, challenger, champion, policy)
    if policy.max_calibration_error is not None:
        yield from calibration_checks(evaluation, challenger, champion, policy.max_calibration_error)
