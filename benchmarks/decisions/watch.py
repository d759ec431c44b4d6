"""The monitor of a stream in memory: what it would decide each night about the champion that scored the day."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np

from benchmarks.decisions.nights import Nights, Trained
from pipelines.engine import Engine
from pipelines.monitoring.column_verdict import RANK
from pipelines.monitoring.concept import Losses, concept_drift, expected_quality
from pipelines.monitoring.decision import Decision, Facts, Vote, decide
from pipelines.monitoring.quality import MOST_ROWS, Realised, measures_of, metric_name, realised_quality
from pipelines.monitoring.reference import Reference, build_reference, with_profile
from pipelines.monitoring.statistics import column_kinds, fixed_bins, profiles, row_counts
from pipelines.monitoring.verdict import judge_partition


@dataclass
class Scored:
    """The days that one champion has scored, and its mean losses on them as `pipelines.monitoring.losses` has them."""

    champion: Trained
    reference: Reference
    days: list[str] = field(default_factory=list)
    votes: list[Vote] = field(default_factory=list)
    realised: dict[str, float] = field(default_factory=dict)
    expected: dict[str, float] = field(default_factory=dict)

    def add(self, day: str, labels: np.ndarray, scores: np.ndarray, task: str) -> None:
        self.days.append(day)
        is_binary = task == "binary"
        self.realised[day] = float(np.mean((scores - labels) ** 2 if is_binary else np.abs(scores - labels)))
        if is_binary:
            self.expected[day] = float(np.mean(scores * (1 - scores)))


@dataclass
class Watch:
    """The monitor of one policy. Labels are known the same evening, as both streams have them."""

    nights: Nights
    engine: Engine
    scored: Scored | None = None
    asked: str | None = None

    def night(self, day: str, champion: Trained) -> Decision:
        """The decision about the champion that scored `day`, as the task `monitor` makes it."""
        stream, settings = self.nights.stream, self.nights.stream.pipeline.monitor
        if self.scored is None or self.scored.champion is not champion:
            self.scored = Scored(champion, self._reference(champion))
        scored, task = self.scored, self.nights.training.task
        scored.add(day, stream.labels(day, day), champion.on(stream, day, day), task)
        scored.votes.append(self._vote(day, scored))
        place = stream.days.index
        decision = decide(
            scored.votes,
            settings,
            Facts(
                since_champion=len(scored.days),
                since_retrain=place(day) - place(self.asked) if self.asked else None,
                new_labels=len(stream.labels(stream.days[place(champion.night) + 1], day)),
                realised=self._realised(day, scored),
            ),
        )
        if decision.outcome == "RETRAIN":
            self.asked = day
        return decision

    def _vote(self, day: str, scored: Scored) -> Vote:
        """The worse of what the columns and what the losses say."""
        stream, settings = self.nights.stream, self.nights.stream.pipeline.monitor
        rows = self.engine.memory(stream.between(day, day))
        bins = {name: column.bins for name, column in scored.reference.columns.items()}
        found = profiles(self.engine, rows, bins)[day]
        self.engine.drop(rows)
        count, importance = len(stream.labels(day, day)), scored.champion.model.importance()
        weekday = date.fromisoformat(day).weekday()
        verdict = judge_partition(scored.reference, found, count, importance, settings, weekday)
        losses = Losses("the loss", scored.realised, scored.expected)
        said, _ = concept_drift(losses, settings.loss_rise)
        said += expected_quality(losses, day, settings.loss_rise, settings.false_alarm_rate)
        grades = [verdict.grade, *(grade for grade, _ in said)]
        return Vote(day, min(grades, key=RANK.__getitem__), (*verdict.reasons, *(text for _, text in said)))

    def _reference(self, champion: Trained) -> Reference:
        """Of the last training partitions of the champion."""
        stream, settings = self.nights.stream, self.nights.stream.pipeline.monitor
        keys = champion.frozen.training_partitions[-settings.reference_partitions :]
        rows = self.engine.memory(stream.between(keys[0], keys[-1]))
        bins = fixed_bins(self.engine, rows, column_kinds(stream.rows.schema, list(champion.frozen.types)))
        built = build_reference(bins, profiles(self.engine, rows, bins), row_counts(self.engine, rows))
        self.engine.drop(rows)
        return with_profile(built, {key: date.fromisoformat(key).weekday() for key in keys}, settings.weekday_profile)

    def _realised(self, day: str, scored: Scored) -> Realised | None:
        """Of the newest days that this champion scored, as many as a holdout has."""
        training, stream = self.nights.training, self.nights.stream
        judged = scored.days[-training.holdout_partitions :]
        measures = measures_of(training.task, training.quantile)
        metric = metric_name(measures, training.metric)
        labels, scores = stream.labels(judged[0], day), scored.champion.on(stream, judged[0], day)
        return realised_quality(
            measures,
            metric,
            scored.champion.metrics[metric],
            labels[-MOST_ROWS:],
            scores[-MOST_ROWS:],
            judged,
            True,
            zlib.crc32(f"{stream.pipeline.name} {day}".encode()),
        )


def open_engine(nights: Nights, scratch: Path) -> Engine:
    return Engine(scratch, nights.stream.pipeline.resources_of("monitor"))
