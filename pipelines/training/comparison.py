"""The gate's rules on quality: better than models that anybody could make, than a floor, and than the champion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace

import numpy as np

from pipelines.settings.gate import Leakage
from pipelines.training.bootstrap import Comparison, Resampled, resample
from pipelines.training.candidates import CHAMPION, CONSTANT, LINEAR, Candidate, Evaluation
from pipelines.training.delong import delong
from pipelines.training.metrics import BOUNDED, direction, metric
from pipelines.training.policy import Check, Outcome, Policy

# Both estimate the same error: further apart than this, one of them is wrong.
_MOST_APART = 1.5
_SAME = 1e-6


def baseline_checks(
    evaluation: Evaluation, challenger: Candidate, policy: Policy, alpha: float, seed: int
) -> Iterator[Check]:
    """Without a champion the constant baseline is what the challenger replaces, and is tested as a champion is."""
    is_first = CHAMPION not in evaluation.candidates
    for name in (CONSTANT, LINEAR):
        baseline = evaluation.candidates.get(name)
        confidence = 1 - alpha if is_first and name == CONSTANT else policy.confidence
        if name == LINEAR and not policy.must_beat_linear:
            if baseline is not None and evaluation.is_usable(baseline):
                yield _not_worse_than_linear(evaluation, challenger, baseline, policy, seed)
            continue
        if baseline is None or not evaluation.is_usable(baseline):
            why = f"the {name} baseline could not be judged: {baseline.problem if baseline else 'absent'}"
            yield Check(f"baseline {name}", False, why)
            continue
        found = _resampled(evaluation, challenger, baseline, policy, seed).compared(confidence)
        text = f"{_gain_text(found)} over the {name} baseline"
        # An undefined bound (one class in the holdout, say) is no verdict on the challenger: wait.
        verdict: Outcome = "REJECT" if np.isfinite(found.lower) else "HOLD"
        yield Check(f"baseline {name}", bool(found.lower > 0), text, verdict, asdict(found))


def _not_worse_than_linear(
    evaluation: Evaluation, challenger: Candidate, baseline: Candidate, policy: Policy, seed: int
) -> Check:
    """A linear model may be as good (and may be what was trained), but must not be better beyond doubt."""
    found = _resampled(evaluation, challenger, baseline, policy, seed).compared(policy.confidence)
    text = (
        f"{found.metric} {found.challenger:.4f} against {found.other:.4f} of a linear model: gain {found.gain:+.4f}, "
        f"at most {found.upper:+.4f} with {found.confidence_text} confidence"
    )
    return Check("baseline linear", bool(found.upper >= 0), text, "HOLD", asdict(found))


def floor_check(evaluation: Evaluation, challenger: Candidate, floor: float) -> Check:
    value = _value(evaluation, challenger)
    passed = value >= floor if direction(evaluation.metric) == "higher" else value <= floor
    text = f"{evaluation.metric} {value:.4f}, floor {floor:g}"
    verdict: Outcome = "REJECT" if np.isfinite(value) else "HOLD"
    return Check("floor", bool(np.isfinite(value) and passed), text, verdict, {"value": value, "floor": floor})


def age_check(age: float | None, policy: Policy) -> Check | None:
    """Never a reason against a challenger: it says that the champion is stale, in every decision."""
    limit = policy.max_champion_age_days
    if limit is None or age is None or age <= limit:
        return None
    text = f"STALE the champion was trained {age:.0f} days ago, {limit} wanted at most"
    if policy.when_stale != policy.test:
        text += f": the challenger need only be {policy.when_stale.replace('_', ' ')}"
    return Check("age", True, text, numbers={"age_days": age, "limit": limit, "test": policy.when_stale})


def in_force(policy: Policy, age: float | None) -> Policy:
    """The policy with the test that a champion of this age is held to."""
    return policy if age_check(age, policy) is None else replace(policy, test=policy.when_stale)


def champion_checks(
    evaluation: Evaluation, challenger: Candidate, champion: Candidate | None, policy: Policy, alpha: float, seed: int
) -> Iterator[Check]:
    """The test of the night at `alpha`, and for ROC AUC a second opinion."""
    if champion is None:
        yield Check("champion", True, "there is no champion yet: beating the baselines suffices")
        return
    if not evaluation.is_usable(champion):
        why = champion.problem or "its scores are not finite"
        yield Check("champion", False, f"the champion (version {champion.version}) could not be judged: {why}")
        return
    drawn = _resampled(evaluation, challenger, champion, policy, seed)
    found = drawn.compared(1 - alpha)
    # It is turned away for good when it is worse by ordinary standards: no budget of promotions is at stake.
    upper = drawn.bounds(policy.confidence)[1]
    yield _champion_check(evaluation, champion, found, upper, policy, alpha)
    if evaluation.metric == "roc_auc" and evaluation.groups is None and np.asarray(challenger.scores).ndim == 1:
        yield _second_opinion(evaluation, challenger, champion, found)


def _champion_check(
    evaluation: Evaluation, champion: Candidate, found: Comparison, upper: float, policy: Policy, alpha: float
) -> Check:
    is_superior = policy.test == "superior"
    needed = scaled(policy.margin if is_superior else -policy.tolerance, evaluation.metric, found.other)
    passed = bool(np.isfinite(found.lower) and found.lower > needed)
    text = f"{_gain_text(found)} over champion version {champion.version}, more than {needed:.4f} needed"
    verdict: Outcome = "REJECT" if upper < min(needed, 0) else "HOLD"
    numbers = asdict(found) | {"margin": needed, "test": policy.test, "alpha": alpha}
    return Check("champion", passed, text, verdict, numbers)


def _second_opinion(evaluation: Evaluation, challenger: Candidate, champion: Candidate, found: Comparison) -> Check:
    other = delong(evaluation.labels, np.asarray(challenger.scores), np.asarray(champion.scores), found.confidence)
    if other is None or not np.isfinite(found.lower):
        return Check("delong", True, "too few rows of one class for DeLong's test; the bootstrap alone decides")
    text = f"DeLong's test: gain {other.difference:+.4f}, at least {other.lower:+.4f}, p {other.p_value:.3g}"
    smaller, larger = sorted((other.standard_error, found.standard_error))
    is_alike = abs(other.difference - found.gain) <= _SAME and larger <= _MOST_APART * smaller + _SAME
    is_contrary = (found.lower > 0 and other.upper < 0) or (found.upper < 0 and other.lower > 0)
    if not is_alike or is_contrary:
        text += (
            f", which contradicts the bootstrap (gain {found.gain:+.4f}, standard error {found.standard_error:.4f} "
            f"against {other.standard_error:.4f}): one of them is wrong, a person must look"
        )
    return Check("delong", is_alike and not is_contrary, text, "HOLD", asdict(other))


def too_good_check(evaluation: Evaluation, challenger: Candidate, limits: Leakage) -> Check:
    """A leap that good models do not make is a leak until somebody has looked.

    A loss is held against the best of champion and baselines: behind a champion that the world has left, it may leap.
    """
    mine = _value(evaluation, challenger)
    others = {
        name: _value(evaluation, one)
        for name, one in evaluation.candidates.items()
        if one is not challenger and evaluation.is_usable(one)
    }
    if direction(evaluation.metric) == "higher":
        limit = limits.too_good if evaluation.metric in BOUNDED else float("inf")
        is_leap = bool(mine >= limit and not others.get(CHAMPION, float("nan")) >= limit)
    else:
        limit = (1 - limits.max_improvement) * min([one for one in others.values() if np.isfinite(one)], default=0.0)
        is_leap = bool(mine < limit)
    text = f"{evaluation.metric} {mine:.4g}, believed up to {limit:.4g}"
    if is_leap:
        text += ": too good to be true, look for a feature that knows the label (or change 'gate.leakage')"
    return Check("too good", not is_leap, text, "HOLD", {"challenger": mine, "limit": limit, "others": others})


def _value(evaluation: Evaluation, candidate: Candidate) -> float:
    return metric(evaluation.metric, evaluation.labels, np.asarray(candidate.scores))


def scaled(margin: float, name: str, reference: float) -> float:
    """A margin in points for bounded metrics, a share of the reference for the others."""
    return margin if name in BOUNDED else margin * abs(reference)


def _resampled(evaluation: Evaluation, one: Candidate, other: Candidate, policy: Policy, seed: int) -> Resampled:
    return resample(
        evaluation.metric,
        evaluation.labels,
        np.asarray(one.scores),
        np.asarray(other.scores),
        resamples=policy.resamples,
        seed=seed,
        groups=evaluation.groups,
    )


def _gain_text(found: Comparison) -> str:
    return (
        f"{found.metric} {found.challenger:.4f} against {found.other:.4f}: gain {found.gain:+.4f}, at least "
        f"{found.lower:+.4f} with {found.confidence_text} confidence,"
    )
