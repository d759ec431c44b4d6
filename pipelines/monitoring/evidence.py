"""What is known beside the features: the champion's scores, matured labels and the quality that they show."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np

from pipelines.context import Context
from pipelines.engine import Engine
from pipelines.ledger import Row
from pipelines.monitoring.coverage import coverage_reasons, realised_coverage
from pipelines.monitoring.inputs import accepted_until, classes_of
from pipelines.monitoring.labels import LabelCounts, label_counts, labelled, matured, scored_labels
from pipelines.monitoring.quality import (
    Realised,
    estimated_quality,
    holdout_metric,
    measures_of,
    metric_name,
    realised_quality,
)
from pipelines.monitoring.reference import ColumnReference
from pipelines.monitoring.statistics import ColumnStatistics, fixed_bins, profiles
from pipelines.monitoring.verdict import ColumnVerdict, judge_column

_SCORE_BINS = 1000
_SCORE_PARTITIONS_MIN = 3
_RATE_Z = 4.0  # about one false alarm in 15,000 partitions if label rates were normal


@dataclass(frozen=True)
class Evidence:
    """`label_rate` holds the newest matured partition's rate against the reference's; empty without labels."""

    new_labels: int | None = None
    realised: Realised | None = None
    estimated: dict[str, float] = field(default_factory=dict)
    score: ColumnVerdict | None = None
    label_rate: dict[str, float] = field(default_factory=dict)
    coverage: dict[str, float] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()


def gather(context: Context, engine: Engine, champion: Row, model: Row, reference_keys: Sequence[str]) -> Evidence:
    """All evidence for one partition; each part is left out where its inputs do not exist yet."""
    version = champion["version"]
    released = released_by(context, version)
    score = score_drift(context, engine, released)
    estimated = estimate(context, engine, released)
    new_labels, realised, rate = _label_evidence(context, engine, model, released, reference_keys)
    coverage = realised_coverage(context, engine, model, released)
    reasons = [*(score.reasons if score else ()), *_rate_reasons(rate), *coverage_reasons(coverage)]
    return Evidence(new_labels, realised, estimated, score, rate, coverage, tuple(reasons))


def released_by(context: Context, version: int) -> list[str]:
    """Partitions up to the monitored one whose current release this version made without hindsight, oldest first."""
    return sorted(
        row["partition"]
        for row in context.ledger.releases(context.name)
        if row["state"] == "released"
        and row["model_version"] == version
        and not row["is_hindsight"]
        and row["partition"] <= context.key
    )


def score_drift(context: Context, engine: Engine, released: Sequence[str]) -> ColumnVerdict | None:
    """The score distribution against the champion's own first partitions; never more than a thing to watch.

    Of segments the shares of rows that they hold.

    None before the champion has released three earlier partitions.
    """
    first = [key for key in released if key < context.key][: context.pipeline.monitor.reference_partitions]
    if context.key not in released or len(first) < _SCORE_PARTITIONS_MIN:
        return None
    training = context.pipeline.training
    is_segment = training is not None and training.task == "segments"
    column, kind, who = (
        ("predicted_label", "category", "The segment") if is_segment else ("score", "number", "The score")
    )
    predictions = engine.scan(context.snapshot("predictions"), [*first, context.key])
    scores = predictions.select("partition", score=predictions[column])
    bins = fixed_bins(engine, scores.filter(scores["partition"] != context.key), {"score": kind})
    found = profiles(engine, scores, bins)
    if any(key not in found for key in (*first, context.key)):
        return None
    reference = ColumnReference(bins["score"], tuple(found[key]["score"] for key in first))
    current: ColumnStatistics = found[context.key]["score"]
    return judge_column("score", reference, current, 1.0, False, context.pipeline.monitor, who=who)


def estimate(context: Context, engine: Engine, released: Sequence[str]) -> dict[str, float]:
    """Estimated quality of the monitored partition's scores, binary tasks only."""
    training = context.pipeline.training
    if context.key not in released or training is None or training.task != "binary":
        return {}
    scores = engine.scan(context.snapshot("predictions"), [context.key]).select("score")
    binned = scores.mutate(bin=(scores["score"] * _SCORE_BINS).floor().cast("int64"))
    histogram = engine.table(
        binned.group_by("bin").agg(n=binned.count(), mean=binned["score"].mean()), order_by=["bin"]
    )
    return estimated_quality(
        np.asarray(histogram["mean"].to_numpy(), dtype=np.float64), np.asarray(histogram["n"].to_numpy())
    )


def bootstrap_labels(context: Context, engine: Engine) -> tuple[int, int]:
    """Matured partitions with labels, and labelled rows in them: what a first model could be trained on.

    Without labels all accepted partitions and their rows.
    """
    keys = matured(context, accepted_until(context))
    training = context.pipeline.training
    if context.pipeline.label is None:
        built = context.ledger.publications(context.name, "features", accepted_until(context))
        sizes = [row["row_count"] for row in built if row["row_count"]]
        return len(sizes), sum(sizes)
    rows = labelled(context, engine, keys[-training.window_partitions :]) if keys and training else None
    if rows is None:
        return 0, 0
    counts = label_counts(context, engine, rows, []).rows
    return len(counts), sum(counts.values())


def _label_evidence(
    context: Context, engine: Engine, model: Row, released: Sequence[str], reference_keys: Sequence[str]
) -> tuple[int | None, Realised | None, dict[str, float]]:
    training, label = context.pipeline.training, context.pipeline.label
    if training is None or label is None:
        return None, None, {}
    due = matured(context, accepted_until(context))[-training.window_partitions :]
    wait = timedelta(days=label.delay_days)
    new = [key for key in due if context.pipeline.parse(key).end + wait > model["as_of"]]
    judged = [key for key in released if key in set(due)][-training.holdout_partitions :]
    wanted = sorted({*new, *judged, *matured(context, reference_keys)})
    table = labelled(context, engine, wanted) if wanted else None
    if table is None:
        return 0, None, {}
    rows = engine.materialize(table)
    counts = label_counts(context, engine, rows, classes_of(model))
    realised = _realised(context, engine, model, rows, judged)
    rate = _label_rate(counts, reference_keys, [key for key in new if key not in set(reference_keys)])
    return sum(counts.rows.get(key, 0) for key in new), realised, rate


def _realised(context: Context, engine: Engine, model: Row, rows: Any, judged: Sequence[str]) -> Realised | None:
    training = context.pipeline.training
    if training is None or not judged:
        return None
    measures = measures_of(training.task, training.quantile)
    metric = metric_name(measures, training.metric)
    holdout = holdout_metric(model["record"], metric)
    if holdout is None:
        return None
    y, score = scored_labels(context, engine, rows, judged, model["version"], classes_of(model))
    seed = zlib.crc32(f"{context.name} {context.key}".encode())
    return realised_quality(measures, metric, holdout, y, score, judged, context.key in judged, seed)


def _label_rate(counts: LabelCounts, reference_keys: Sequence[str], recent: Sequence[str]) -> dict[str, float]:
    """The newest matured partition's rate, the reference's mean, and how many spreads lie between them.

    The spread is the larger of what reference partitions show and what chance shows for a share.
    """
    before = [counts.rates[key] for key in reference_keys if key in counts.rates]
    known = [key for key in recent if key in counts.rates]
    if len(before) < _SCORE_PARTITIONS_MIN or not known:
        return {}
    mean, rate = float(np.mean(before)), counts.rates[known[-1]]
    chance = math.sqrt(mean * (1 - mean) / counts.rows[known[-1]]) if 0 < mean < 1 else 0.0
    spread = max(float(np.std(before, ddof=1)), chance)
    z = (rate - mean) / spread if spread else 0.0
    return {"rate": rate, "reference": float(f"{mean:.6g}"), "z": float(f"{z:.6g}")}


def _rate_reasons(rate: dict[str, float]) -> list[str]:
    if abs(rate.get("z", 0.0)) <= _RATE_Z:
        return []
    return [
        f"LABEL_RATE the newest matured labels average {rate['rate']:.4g}, in the reference {rate['reference']:.4g} "
        f"({rate['z']:+.1f} spreads, limit {_RATE_Z:g})."
    ]
