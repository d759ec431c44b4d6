"""How good the champion's released scores turned out, and how good they seem before labels mature."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RESAMPLES = 300
CONFIDENCE = 0.95  # of each one-sided bound
MOST_ROWS = 20_000  # bounds the bootstrap; more rows narrow the interval only a little
_CLIP = 1e-15


@dataclass(frozen=True)
class Realised:
    """The metric on matured labels of released scores against the champion's holdout.

    `drop` is how much worse (positive: worse, in units of the metric), with one-sided 95 % bounds; the holdout's own
    uncertainty is not in them. `covers_newest`: the monitored partition is among these rows.
    """

    metric: str
    value: float
    holdout: float
    drop: float
    drop_low: float
    drop_high: float
    rows: int
    partitions: tuple[str, ...]
    covers_newest: bool

    def sentence(self) -> str:
        return (
            f"{self.metric} on {self.rows:,} matured labels of {self.partitions[0]} to {self.partitions[-1]} is "
            f"{self.value:.4g}, on the holdout it was {self.holdout:.4g}: worse by {self.drop:+.4g} "
            f"(95 % bounds {self.drop_low:+.4g} to {self.drop_high:+.4g})."
        )

    def to_dict(self) -> dict[str, Any]:
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def roc_auc(y: Floats, score: Floats) -> float:
    """Share of (positive, negative) pairs in the right order, ties counting half; NaN with one class only."""
    positives = float(y.sum())
    negatives = len(y) - positives
    if not positives or not negatives:
        return math.nan
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2
    return float((rank[place][y > 0].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def log_loss(y: Floats, score: Floats) -> float:
    """Mean of -ln P(what happened); for multiclass `y` is 1 and `score` the probability of the true class."""
    likelihood = np.clip(np.where(y > 0, score, 1 - score), _CLIP, 1.0)
    return float(-np.log(likelihood).mean())


def brier(y: Floats, score: Floats) -> float:
    return float(((score - y) ** 2).mean())


def accuracy(y: Floats, score: Floats) -> float:
    return float(((score >= 0.5) == (y > 0)).mean())


def rmse(y: Floats, score: Floats) -> float:
    return math.sqrt(((score - y) ** 2).mean())


def mae(y: Floats, score: Floats) -> float:
    return float(np.abs(score - y).mean())


def average_precision(y: Floats, score: Floats) -> float:
    """Precision at each distinct score, weighted by the recall gained there; NaN without a positive."""
    if not y.sum():
        return math.nan
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    found = np.cumsum(y[order])[ends]
    return float((np.diff(found, prepend=0.0) * found / (ends + 1)).sum() / found[-1])


def pinball(quantile: float) -> Callable[[Floats, Floats], float]:
    """Mean loss whose least value has the quantile (Koenker & Bassett 1978)."""

    def loss(y: Floats, score: Floats) -> float:
        return float(np.maximum(quantile * (y - score), (quantile - 1) * (y - score)).mean())

    return loss


# Function and whether more is better, per task, its default first: what can be told from label
# and score alone.
Measures = dict[str, tuple[Callable[[Floats, Floats], float], bool]]
METRICS: dict[str, Measures] = {
    "binary": {
        "roc_auc": (roc_auc, True),
        "log_loss": (log_loss, False),
        "brier": (brier, False),
        "accuracy": (accuracy, True),
    },
    "multiclass": {"log_loss": (log_loss, False)},
    "regression": {"rmse": (rmse, False), "mae": (mae, False)},
    "anomaly": {"pr_auc": (average_precision, True), "roc_auc": (roc_auc, True)},
}


def measures_of(task: str, quantile: float | None = None) -> Measures:
    """What can be computed for the task; of a quantile with the quantile in the name, as the gate has it."""
    return METRICS[task] if quantile is None else {f"pinball_{quantile:g}": (pinball(quantile), False)}


def metric_name(measures: Measures, wanted: str | None) -> str:
    """The gate's metric when it can be computed here, else the task's default, which is the first."""
    return wanted if wanted in measures else next(iter(measures))


def realised_quality(
    measures: Measures,
    metric: str,
    holdout: float,
    y: Floats,
    score: Floats,
    partitions: Sequence[str],
    covers_newest: bool,
    seed: int,
) -> Realised | None:
    """The realised metric with its bootstrap bounds; None when it cannot be told (no rows, one class only)."""
    compute, more_is_better = measures[metric]
    value = compute(y, score) if len(y) else math.nan
    if not math.isfinite(value) or not math.isfinite(holdout):
        return None
    generator = np.random.default_rng(seed)
    drawn = [compute(y[rows], score[rows]) for rows in generator.integers(0, len(y), (RESAMPLES, len(y)))]
    sign = 1.0 if more_is_better else -1.0
    drops = sign * (holdout - np.array([one for one in drawn if math.isfinite(one)]))
    low, high = np.quantile(drops, [1 - CONFIDENCE, CONFIDENCE])
    return Realised(
        metric=metric,
        value=_rounded(value),
        holdout=_rounded(holdout),
        drop=_rounded(sign * (holdout - value)),
        drop_low=_rounded(low),
        drop_high=_rounded(high),
        rows=len(y),
        partitions=tuple(partitions),
        covers_newest=covers_newest,
    )


def estimated_quality(score: Floats, rows: NDArray[np.int64]) -> dict[str, float]:
    """Expected accuracy (threshold 0.5), ROC AUC and log loss if the scores are calibrated, without any label.

    Takes a histogram: mean score and row count per bin, ascending. A row with score p counts as p of a positive and
    1 - p of a negative (confidence-based performance estimation; NannyML). It cannot see a changed relation between
    features and label. Empty when there are no rows.
    """
    total = float(rows.sum())
    if not total:
        return {}
    chance = np.clip(score, _CLIP, 1 - _CLIP)
    positive, negative = rows * chance, rows * (1 - chance)
    below = np.cumsum(negative) - negative
    pairs = positive.sum() * negative.sum()
    entropy = -(chance * np.log(chance) + (1 - chance) * np.log(1 - chance))
    return {
        "accuracy": _rounded(float((rows * np.maximum(chance, 1 - chance)).sum() / total)),
        "roc_auc": _rounded(float((positive * (below + negative / 2)).sum() / pairs)),
        "log_loss": _rounded(float((rows * entropy).sum() / total)),
        "positive_share": _rounded(float(positive.sum() / total)),
    }


def holdout_metric(record: Mapping[str, Any], metric: str) -> float | None:
    """The champion's own holdout metric from its model record, or None when it was not recorded."""
    metrics = record.get("holdout_metrics") or record.get("metrics") or {}
    nested = metrics.get("holdout") if isinstance(metrics, Mapping) else None
    value = (nested if isinstance(nested, Mapping) else metrics).get(metric)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _rounded(value: float) -> float:
    return float(f"{float(value):.6g}")
