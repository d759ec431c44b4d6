"""The gate's rules as a pure function: an evaluation and a policy give PROMOTE, HOLD or REJECT, with every number.

In order: mechanical checks, baselines beaten, absolute floor, margin over the champion, slices, calibration. What is
missing, NaN or judged on another holdout is a HOLD: the gate fails closed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipelines.training.bootstrap import Comparison, compare
from pipelines.training.evaluation import CHALLENGER, CHAMPION, CONSTANT, LINEAR, Candidate, Evaluation
from pipelines.training.metrics import BOUNDED, direction, metric
from pipelines.training.policy import Check, Outcome, Policy
from pipelines.training.unlabelled import unlabelled_checks


@dataclass(frozen=True)
class Decision:
    """The first failed check decides; all checks that could be made are kept."""

    outcome: Outcome
    reasons: list[str]
    checks: list[Check]

    def numbers(self) -> dict[str, Any]:
        return {"checks": [asdict(check) for check in self.checks]}


def decide(evaluation: Evaluation, policy: Policy, seed: int, before: list[Check] | None = None) -> Decision:
    """`before`: checks of the run itself (training data, hindsight) that come first."""
    checks: list[Check] = list(before or [])
    for check in _checks(evaluation, policy, seed):
        checks.append(check)
        if not check.passed and check.name == "scores":
            break  # nothing can be compared
    failed = [check for check in checks if not check.passed]
    if not failed:
        told = [check.text for name in _TOLD for check in checks if check.name == name]
        return Decision("PROMOTE", told, checks)
    return Decision(failed[0].verdict, [check.text for check in failed], checks)


_TOLD = ("champion", "agreement", "baseline constant")


def _checks(evaluation: Evaluation, policy: Policy, seed: int) -> Iterator[Check]:
    challenger = evaluation.candidates.get(CHALLENGER)
    champion = evaluation.candidates.get(CHAMPION)
    yield _scores_check(evaluation, challenger)
    if challenger is None or challenger.scores is None or not _usable(evaluation, challenger):
        return
    yield _same_holdout(evaluation)
    yield _enough_rows(evaluation, policy)
    if evaluation.groups is not None:
        yield _enough_groups(evaluation.groups, policy)
    yield _not_constant(challenger)
    yield from _limits(challenger, policy)
    if not evaluation.is_labelled:
        yield from unlabelled_checks(evaluation, policy, seed)
        return
    yield from _baseline_checks(evaluation, challenger, policy, seed)
    if policy.floor is not None:
        yield _floor_check(evaluation, challenger, policy.floor)
    yield _champion_check(evaluation, challenger, champion, policy, seed)
    if champion is not None and _usable(evaluation, champion):
        yield from _slice_checks(evaluation, challenger, champion, policy)
    if policy.max_calibration_error is not None and evaluation.quantile is not None:
        yield _coverage_check(evaluation, challenger, evaluation.quantile, policy.max_calibration_error)
    elif policy.max_calibration_error is not None and evaluation.task in ("binary", "multiclass"):
        yield _calibration_check(evaluation, challenger, policy.max_calibration_error)
    if policy.max_calibration_error is not None and challenger.coverage is not None:
        yield _interval_check(*challenger.coverage, policy.max_calibration_error)


def _usable(evaluation: Evaluation, candidate: Candidate) -> bool:
    scores = candidate.scores
    return scores is not None and len(scores) == len(evaluation.labels) > 0 and bool(np.isfinite(scores).all())


def _scores_check(evaluation: Evaluation, challenger: Candidate | None) -> Check:
    if challenger is None or challenger.scores is None:
        why = challenger.problem if challenger else "it was not evaluated"
        return Check("scores", False, f"the challenger could not score the holdout: {why}", "REJECT")
    bad = int((~np.isfinite(challenger.scores)).sum())
    numbers = {"rows": len(evaluation.labels), "not_finite": bad}
    if not _usable(evaluation, challenger):
        text = f"{bad:,} of {len(evaluation.labels):,} challenger scores are not finite"
        return Check("scores", False, text, "REJECT", numbers)
    return Check("scores", True, f"all {len(evaluation.labels):,} scores are finite", numbers=numbers)


def _same_holdout(evaluation: Evaluation) -> Check:
    other = sorted(
        name for name, one in evaluation.candidates.items() if one.holdout_digest != evaluation.holdout_digest
    )
    text = f"{', '.join(other)} judged on another holdout" if other else "all were judged on the same holdout"
    return Check("holdout", not other, text, numbers={"digest": evaluation.holdout_digest})


def _enough_rows(evaluation: Evaluation, policy: Policy) -> Check:
    rows = len(evaluation.labels)
    what = "labelled rows" if evaluation.is_labelled else "rows"
    text = f"the holdout has {rows:,} {what}, {policy.min_holdout_rows:,} needed"
    return Check("rows", rows >= policy.min_holdout_rows, text, numbers={"rows": rows})


def _enough_groups(groups: np.ndarray, policy: Policy) -> Check:
    found = len(np.unique(groups))
    text = f"the holdout has {found:,} groups, {policy.min_holdout_groups:,} needed"
    return Check("groups", found >= policy.min_holdout_groups, text, numbers={"groups": found})


def _not_constant(challenger: Candidate) -> Check:
    scores = np.asarray(challenger.scores)
    spread = float((scores.max(axis=0) - scores.min(axis=0)).max())
    text = "the scores differ between rows" if spread > 0 else "the challenger gives every row the same score"
    return Check("spread", spread > 0, text, "REJECT", {"spread": spread})


def _limits(challenger: Candidate, policy: Policy) -> Iterator[Check]:
    for name, value, limit, unit in (
        ("speed", challenger.seconds_per_1000_rows, policy.max_seconds_per_1000_rows, "s per 1,000 rows"),
        ("size", challenger.megabytes, policy.max_megabytes, "MB"),
    ):
        if limit is None:
            continue
        passed = value is not None and value <= limit
        text = f"{name}: {'unknown' if value is None else format(value, '.3g')} {unit}, at most {limit:g} allowed"
        yield Check(name, passed, text, "REJECT", {"value": value, "limit": limit})


def _baseline_checks(evaluation: Evaluation, challenger: Candidate, policy: Policy, seed: int) -> Iterator[Check]:
    for name in (CONSTANT, LINEAR):
        baseline = evaluation.candidates.get(name)
        if name == LINEAR and not policy.must_beat_linear:
            if baseline is not None and _usable(evaluation, baseline):
                yield _not_worse_than_linear(evaluation, challenger, baseline, policy, seed)
            continue
        if baseline is None or not _usable(evaluation, baseline):
            why = f"the {name} baseline could not be judged: {baseline.problem if baseline else 'absent'}"
            yield Check(f"baseline {name}", False, why)
            continue
        found = _compare(evaluation, challenger, baseline, policy, seed)
        text = f"{_gain_text(found)} over the {name} baseline"
        # An undefined bound (one class in the holdout, say) is no verdict on the challenger: wait.
        verdict: Outcome = "REJECT" if np.isfinite(found.lower) else "HOLD"
        yield Check(f"baseline {name}", bool(found.lower > 0), text, verdict, asdict(found))


def _not_worse_than_linear(
    evaluation: Evaluation, challenger: Candidate, baseline: Candidate, policy: Policy, seed: int
) -> Check:
    """A linear model may be as good (and may be what was trained), but must not be better beyond doubt."""
    found = _compare(evaluation, challenger, baseline, policy, seed)
    text = (
        f"{found.metric} {found.challenger:.4f} against {found.other:.4f} of a linear model: gain {found.gain:+.4f}, "
        f"at most {found.upper:+.4f} with {found.confidence:.0%} confidence"
    )
    return Check("baseline linear", bool(found.upper >= 0), text, "HOLD", asdict(found))


def _floor_check(evaluation: Evaluation, challenger: Candidate, floor: float) -> Check:
    value = metric(evaluation.metric, evaluation.labels, np.asarray(challenger.scores))
    passed = value >= floor if direction(evaluation.metric) == "higher" else value <= floor
    text = f"{evaluation.metric} {value:.4f}, floor {floor:g}"
    verdict: Outcome = "REJECT" if np.isfinite(value) else "HOLD"
    return Check("floor", bool(np.isfinite(value) and passed), text, verdict, {"value": value, "floor": floor})


def _champion_check(
    evaluation: Evaluation, challenger: Candidate, champion: Candidate | None, policy: Policy, seed: int
) -> Check:
    if champion is None:
        return Check("champion", True, "there is no champion yet: beating the baselines suffices")
    if not _usable(evaluation, champion):
        why = champion.problem or "its scores are not finite"
        return Check("champion", False, f"the champion (version {champion.version}) could not be judged: {why}")
    found = _compare(evaluation, challenger, champion, policy, seed)
    margin = scaled(policy.margin, evaluation.metric, found.other)
    passed = bool(np.isfinite(found.lower) and found.lower > margin)
    text = f"{_gain_text(found)} over champion version {champion.version}, more than {margin:.4f} needed"
    verdict: Outcome = "REJECT" if found.upper < 0 else "HOLD"
    return Check("champion", passed, text, verdict, asdict(found) | {"margin": margin})


def _slice_checks(
    evaluation: Evaluation, challenger: Candidate, champion: Candidate, policy: Policy
) -> Iterator[Check]:
    sign = 1.0 if direction(evaluation.metric) == "higher" else -1.0
    for column, values in evaluation.slices.items():
        texts, codes = np.unique([str(one) for one in values], return_inverse=True)
        for code, value in enumerate(texts.tolist()):
            inside = codes == code
            if inside.sum() < policy.slice_min_rows:
                continue
            mine, theirs = (
                metric(evaluation.metric, evaluation.labels[inside], np.asarray(one.scores)[inside])
                for one in (challenger, champion)
            )
            if not np.isfinite(mine) and not np.isfinite(theirs):
                continue  # one class only in this slice: the metric says nothing about either model
            loss = sign * (theirs - mine)
            allowed = scaled(policy.slice_margin, evaluation.metric, theirs)
            text = f"{column}={value} ({int(inside.sum()):,} rows): {evaluation.metric} {theirs:.4f} -> {mine:.4f}"
            numbers = {"rows": int(inside.sum()), "champion": theirs, "challenger": mine, "allowed_loss": allowed}
            yield Check(f"slice {column}={value}", bool(loss <= allowed), text, "HOLD", numbers)


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


def scaled(margin: float, name: str, reference: float) -> float:
    """A margin in points for bounded metrics, a share of the reference for the others."""
    return margin if name in BOUNDED else margin * abs(reference)


def _compare(evaluation: Evaluation, one: Candidate, other: Candidate, policy: Policy, seed: int) -> Comparison:
    return compare(
        evaluation.metric,
        evaluation.labels,
        np.asarray(one.scores),
        np.asarray(other.scores),
        confidence=policy.confidence,
        resamples=policy.resamples,
        seed=seed,
        groups=evaluation.groups,
    )


def _gain_text(found: Comparison) -> str:
    return (
        f"{found.metric} {found.challenger:.4f} against {found.other:.4f}: gain {found.gain:+.4f}, at least "
        f"{found.lower:+.4f} with {found.confidence:.0%} confidence,"
    )
