"""What is known beside the features: the champion's scores, matured labels and the quality that they show."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np

from pipelines.context import Context
from pipelines.engine import Engine
from pipelines.ledger import Row
from pipelines.monitoring.column_verdict import RANK, ColumnVerdict, Grade, Stake, judge_column
from pipelines.monitoring.concept import Losses, concept_drift, expected_quality
from pipelines.monitoring.coverage import coverage_reasons, realised_coverage
from pipelines.monitoring.inputs import accepted_until, classes_of, weekdays
from pipelines.monitoring.label_rate import label_rate, rate_reasons
from pipelines.monitoring.label_shares import judgeable, label_state
from pipelines.monitoring.labels import label_counts, labelled, matured, scored_labels
from pipelines.monitoring.limits import Chances
from pipelines.monitoring.losses import MOST_PARTITIONS, losses_of
from pipelines.monitoring.quality import (
    Realised,
    estimated_quality,
    holdout_metric,
    measures_of,
    metric_name,
    realised_quality,
)
from pipelines.monitoring.reference import build_reference, with_profile
from pipelines.monitoring.statistics import ColumnStatistics, fixed_bins, profiles

_SCORE_BINS = 1000
_SCORE_PARTITIONS_MIN = 3
_SCORE_TESTS = 10  # as if ten columns shared the rate of false alarms


@dataclass(frozen=True)
class Evidence:
    """`label_rate` holds the newest matured partition's rate against the reference's; empty without labels.

    `labels`: shares of labelled rows and what waits for labels; `notes`: what is to be said without being an alarm.
    """

    new_labels: int | None = None
    realised: Realised | None = None
    estimated: dict[str, float] = field(default_factory=dict)
    score: ColumnVerdict | None = None
    label_rate: dict[str, float] = field(default_factory=dict)
    coverage: dict[str, float] = field(default_factory=dict)
    concept: dict[str, Any] = field(default_factory=dict)
    grade: Grade = "quiet"
    reasons: tuple[str, ...] = ()
    labels: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def gather(context: Context, engine: Engine, champion: Row, model: Row, reference_keys: Sequence[str]) -> Evidence:
    """All evidence for one partition; each part is left out where its inputs do not exist yet."""
    version = champion["version"]
    released = released_by(context, version)
    score = score_drift(context, engine, released)
    estimated = estimate(context, engine, released)
    labels = label_state(context, engine, released, version)
    new_labels, realised, rate, losses = _label_evidence(
        context, engine, model, released, reference_keys, labels.partitions
    )
    coverage = realised_coverage(context, engine, model, [key for key in released if key in set(labels.partitions)])
    settings = context.pipeline.monitor
    found, concept = concept_drift(losses, settings.loss_rise) if losses else ([], {})
    found += expected_quality(losses, context.key, settings.loss_rise, settings.false_alarm_rate) if losses else []
    watched = [*(score.reasons if score else ()), *rate_reasons(rate), *coverage_reasons(coverage)]
    watched += [labels.note] if labels.is_long else []
    notes = (labels.note,) if labels.note and not labels.is_long else ()
    found = sorted([*found, *(("watch", text) for text in watched)], key=lambda one: RANK[one[0]])
    grade: Grade = found[0][0] if found else "quiet"
    reasons = tuple(text for _, text in found)
    return Evidence(
        new_labels, realised, estimated, score, rate, coverage, concept, grade, reasons, labels.record, notes
    )


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
    settings = context.pipeline.monitor
    earlier = {key: found[key] for key in first}
    whole = build_reference(bins, earlier, {key: one["score"].rows for key, one in earlier.items()})
    reference = with_profile(whole, weekdays(context, first), settings.weekday_profile).columns["score"]
    current: ColumnStatistics = found[context.key]["score"]
    stake = Stake(1.0, 0.0, Chances.shared(settings.false_alarm_rate, _SCORE_TESTS))
    return judge_column(
        "score", reference, current, stake, settings, weekdays(context, [context.key]).get(context.key), who
    )


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
    keys = judgeable(context, engine, keys[-training.window_partitions :], []).partitions if training else []
    rows = labelled(context, engine, keys) if keys else None
    if rows is None:
        return 0, 0
    counts = label_counts(context, engine, rows, []).rows
    return len(counts), sum(counts.values())


def _label_evidence(
    context: Context,
    engine: Engine,
    model: Row,
    released: Sequence[str],
    reference_keys: Sequence[str],
    due: Sequence[str],
) -> tuple[int | None, Realised | None, dict[str, float], Losses | None]:
    """From the partitions in `due`, whose labels have matured and suffice."""
    training, label = context.pipeline.training, context.pipeline.label
    if training is None or label is None:
        return None, None, {}, None
    wait = timedelta(days=label.delay_days)
    new = [key for key in due if context.pipeline.parse(key).end + wait > model["as_of"]]
    scored = [key for key in released if key in set(due)]
    judged = scored[-training.holdout_partitions :]
    wanted = sorted({*new, *scored[-MOST_PARTITIONS:], *matured(context, reference_keys)})
    table = labelled(context, engine, wanted) if wanted else None
    if table is None:
        return 0, None, {}, None
    rows = engine.materialize(table)
    counts = label_counts(context, engine, rows, classes_of(model))
    realised = _realised(context, engine, model, rows, judged)
    rate = label_rate(counts, reference_keys, [key for key in new if key not in set(reference_keys)])
    losses = losses_of(context, engine, model, rows, scored, released)
    return sum(counts.rows.get(key, 0) for key in new), realised, rate, losses


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
