"""What can be said of models that nobody gave labels: measured on the holdout, judged by the gate.

Without labels nobody can measure quality. Segments are judged by how well they are apart and how much they stay the
same; detectors of anomalies by whether they are degenerate, how much they would flag, and how alike they rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipelines.models.segments import agreement
from pipelines.training.bootstrap import compare
from pipelines.training.metrics import metric
from pipelines.training.policy import Check, Outcome, Policy

if TYPE_CHECKING:
    from pipelines.models.model import Model
    from pipelines.training.candidates import Evaluation

SILHOUETTE, AGREEMENT = "silhouette", "agreement"
_CHALLENGER, _CHAMPION = "challenger", "champion"
# All pairs of these are measured; evenly over the holdout.
_SILHOUETTE_ROWS = 2_000
_THRESHOLD_ROWS = 20_000
# Below it a row is hardly nearer to its own segment than to the next (Kaufman & Rousseeuw 1990 see "no substantial
# structure" up to 0.25, which real tables often stay below).
_SILHOUETTE_FLOOR = 0.1
_LARGEST_SEGMENT = 0.95
_MOST_EQUAL = 0.5
_EXPLAINED_SHARE = 0.05
_STRANGEST_SHARE, _STRANGEST_ROWS = 0.01, 10


@dataclass(frozen=True)
class Measured:
    """Of one candidate on the holdout. `groups` `(n,)`: the column of each row's segment.

    `silhouettes`: of the sampled rows, in the challenger's prepared features, so that both are held to one measure.
    `threshold`: the score that `gate.flagged_share` of the training rows exceed.
    """

    groups: np.ndarray | None = None
    silhouettes: np.ndarray | None = None
    threshold: float | None = None


def measure_segments(scores: Mapping[str, np.ndarray], challenger: Model, holdout: pa.Table) -> dict[str, Measured]:
    """`scores`: memberships per candidate, all finite."""
    rows = sampled(holdout.num_rows, _SILHOUETTE_ROWS)
    matrix = challenger.preprocess.transform(holdout.take(pa.array(rows)))
    groups = {name: one.argmax(axis=1) for name, one in scores.items()}
    return {name: Measured(one, _silhouettes(matrix, one[rows])) for name, one in groups.items()}


def measure_anomalies(models: Mapping[str, Model], train: pa.Table, flagged_share: float) -> dict[str, Measured]:
    """`train`: the challenger's training rows."""
    sample = train.take(pa.array(sampled(train.num_rows, _THRESHOLD_ROWS)))
    found = {}
    for name, model in models.items():
        scores = model.predict(sample)
        found[name] = Measured(threshold=float(np.quantile(scores[np.isfinite(scores)], 1 - flagged_share)))
    return found


def sampled(rows: int, most: int) -> np.ndarray:
    """Row numbers, evenly over all."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(int))


def score_facts(task: str, scores: np.ndarray) -> dict[str, float]:
    """What scores say of themselves: of segments the mean largest membership and the shares of the largest and the
    smallest segment; of anomalies the median and the 99th percentile."""
    if not len(scores) or not np.isfinite(scores).all():
        return {}
    if task == "segments":
        shares = np.bincount(scores.argmax(axis=1), minlength=scores.shape[1]) / len(scores)
        largest, smallest = float(shares.max()), float(shares.min())
        return {"membership": float(scores.max(axis=1).mean()), "largest_share": largest, "smallest_share": smallest}
    middle, high = np.quantile(scores, [0.5, 0.99]).tolist()
    return {"score_median": middle, "score_p99": high}


def gate_facts(evaluation: Evaluation, name: str) -> dict[str, float]:
    """What was measured of a candidate for the gate, as metrics."""
    measured, candidate = evaluation.unlabelled.get(name), evaluation.candidates[name]
    if measured is None or candidate.scores is None:
        return {}
    found = {} if measured.silhouettes is None else {SILHOUETTE: float(measured.silhouettes.mean())}
    if measured.threshold is not None:
        found["flagged_share"] = _flagged(candidate.scores, measured.threshold)
    if name == _CHALLENGER and _CHAMPION in evaluation.unlabelled:
        found[AGREEMENT] = _agreement(evaluation)
    return found


def own_question(task: str, scores: np.ndarray) -> tuple[str, np.ndarray]:
    """A metric and labels that ask how much a model's own answer depends on a feature.

    Segments: the share of rows that stay in theirs. Anomalies: how well the rows that it finds strangest (one in
    twenty) still stand out.
    """
    if task == "segments":
        return "accuracy", np.nan_to_num(scores).argmax(axis=1).astype(np.float64)
    strange = np.nan_to_num(scores)
    return "roc_auc", (strange > np.quantile(strange, 1 - _EXPLAINED_SHARE)).astype(np.float64)


def unlabelled_checks(evaluation: Evaluation, policy: Policy, alpha: float, seed: int) -> Iterator[Check]:
    """The gate's rules for a challenger whose scores are finite and differ."""
    if evaluation.task == "segments":
        yield from _segment_checks(evaluation, policy)
    else:
        yield from _anomaly_checks(evaluation, policy)
    champion = evaluation.candidates.get(_CHAMPION)
    if champion is None:
        yield Check("champion", True, "there is no champion yet: nothing to agree with")
        return
    if _CHAMPION not in evaluation.unlabelled:
        why = champion.problem or "its scores are not finite"
        yield Check("champion", False, f"the champion (version {champion.version}) could not be judged: {why}")
        return
    if evaluation.task == "segments":
        yield _better_apart(evaluation, policy, alpha, seed)
    yield _agreement_check(evaluation, policy)


def _segment_checks(evaluation: Evaluation, policy: Policy) -> Iterator[Check]:
    own = evaluation.unlabelled[_CHALLENGER]
    groups, silhouettes = _groups(own), _silhouettes_of(own)
    columns = np.asarray(evaluation.candidates[_CHALLENGER].scores).shape[1]
    sizes = np.bincount(groups, minlength=columns)
    share = float(sizes.max() / sizes.sum())
    text = f"{int((sizes > 0).sum())} of {columns} segments hold rows, the largest {share:.1%} of them"
    is_sound = bool(share <= _LARGEST_SEGMENT)
    yield Check(
        "segments", is_sound, f"{text}, at most {_LARGEST_SEGMENT:.0%} allowed", "REJECT", {"sizes": sizes.tolist()}
    )
    floor = _SILHOUETTE_FLOOR if policy.floor is None else policy.floor
    value = float(silhouettes.mean())
    text = f"mean silhouette {value:.4f} on {len(silhouettes):,} rows, floor {floor:g}"
    yield Check("floor", bool(value >= floor), text, "REJECT", {"value": value, "floor": floor})


def _anomaly_checks(evaluation: Evaluation, policy: Policy) -> Iterator[Check]:
    scores = np.asarray(evaluation.candidates[_CHALLENGER].scores)
    threshold = evaluation.unlabelled[_CHALLENGER].threshold
    _, counts = np.unique(scores, return_counts=True)
    equal = float(counts.max() / len(scores))
    text = f"{equal:.1%} of the rows have one and the same score, at most {_MOST_EQUAL:.0%} allowed"
    yield Check("equal scores", bool(equal <= _MOST_EQUAL), text, "REJECT", {"share": equal})
    share = _flagged(scores, float("nan") if threshold is None else threshold)
    text = (
        f"{share:.2%} of the holdout lie above the score that {policy.flagged_share:.2%} of the training rows exceed, "
        f"at most {policy.max_flagged_share:.2%} allowed"
    )
    numbers = {"share": share, "threshold": threshold, "limit": policy.max_flagged_share}
    yield Check("flagged", bool(share <= policy.max_flagged_share), text, "HOLD", numbers)


def _better_apart(evaluation: Evaluation, policy: Policy, alpha: float, seed: int) -> Check:
    mine, theirs = (_silhouettes_of(evaluation.unlabelled[name]) for name in (_CHALLENGER, _CHAMPION))
    found = compare(
        SILHOUETTE,
        np.zeros(len(mine)),
        mine,
        theirs,
        confidence=1 - alpha,
        resamples=policy.resamples,
        seed=seed,
    )
    passed = bool(np.isfinite(found.lower) and found.lower > policy.margin)
    text = (
        f"mean silhouette {found.challenger:.4f} against {found.other:.4f}: gain {found.gain:+.4f}, at least "
        f"{found.lower:+.4f} with {found.confidence_text} confidence, over champion version "
        f"{evaluation.candidates[_CHAMPION].version}, more than {policy.margin:.4f} needed"
    )
    verdict: Outcome = "REJECT" if found.upper < 0 else "HOLD"
    return Check("champion", passed, text, verdict, asdict(found) | {"margin": policy.margin})


def _agreement_check(evaluation: Evaluation, policy: Policy) -> Check:
    value, version = _agreement(evaluation), evaluation.candidates[_CHAMPION].version
    if evaluation.task == "segments":
        text = f"adjusted Rand index {value:.4f} with the segments of champion version {version}"
    else:
        text = (
            f"champion version {version} ranks the rows that the challenger finds strangest above the others in "
            f"{(value + 1) / 2:.1%} of all pairs: agreement {value:.4f}"
        )
    numbers = {"value": value, "limit": policy.min_agreement}
    passed = bool(value >= policy.min_agreement)
    return Check(AGREEMENT, passed, f"{text}, at least {policy.min_agreement:g} needed", "HOLD", numbers)


def _agreement(evaluation: Evaluation) -> float:
    """Of segments the adjusted Rand index. Of anomalies Somers' D of the champion's scores and what the challenger
    finds strangest (one row in a hundred, at least ten): all other ranks are noise. 1: alike, 0: as by chance."""
    mine, theirs = (np.asarray(evaluation.candidates[name].scores) for name in (_CHALLENGER, _CHAMPION))
    if evaluation.task == "segments":
        return agreement(mine.argmax(axis=1), theirs.argmax(axis=1))
    strange = np.zeros(len(mine))
    strange[np.argsort(-mine, kind="stable")[: max(_STRANGEST_ROWS, round(_STRANGEST_SHARE * len(mine)))]] = 1
    return 2 * metric("roc_auc", strange, theirs) - 1


def _silhouettes(matrix: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """`(n,)`, Rousseeuw 1987; 0 where all rows are in one segment, or each in its own."""
    if not 1 < len(np.unique(groups)) < len(groups):
        return np.zeros(len(groups))
    from sklearn.metrics import silhouette_samples

    return np.asarray(silhouette_samples(matrix, groups), dtype=np.float64)


def _flagged(scores: np.ndarray, threshold: float) -> float:
    return float((scores > threshold).mean()) if np.isfinite(threshold) else float("nan")


def _groups(measured: Measured) -> np.ndarray:
    if measured.groups is None:
        raise TypeError("no segments")
    return measured.groups


def _silhouettes_of(measured: Measured) -> np.ndarray:
    if measured.silhouettes is None:
        raise TypeError("no segments")
    return measured.silhouettes
