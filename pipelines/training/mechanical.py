"""The gate's first rules: whether there is anything to compare, on enough rows, and what it costs to score."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipelines.training.candidates import Candidate, Evaluation
from pipelines.training.policy import Check, Policy


def scores_check(evaluation: Evaluation, challenger: Candidate | None) -> Check:
    if challenger is None or challenger.scores is None:
        why = challenger.problem if challenger else "it was not evaluated"
        return Check("scores", False, f"the challenger could not score the holdout: {why}", "REJECT")
    bad = int((~np.isfinite(challenger.scores)).sum())
    numbers = {"rows": len(evaluation.labels), "not_finite": bad}
    if not evaluation.is_usable(challenger):
        text = f"{bad:,} of {len(evaluation.labels):,} challenger scores are not finite"
        return Check("scores", False, text, "REJECT", numbers)
    return Check("scores", True, f"all {len(evaluation.labels):,} scores are finite", numbers=numbers)


def mechanical_checks(evaluation: Evaluation, challenger: Candidate, policy: Policy) -> Iterator[Check]:
    yield _same_holdout(evaluation)
    yield _enough_rows(evaluation, policy)
    if evaluation.groups is not None:
        yield _enough_groups(evaluation.groups, policy)
    yield _not_constant(challenger)
    yield from _limits(challenger, policy)


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
