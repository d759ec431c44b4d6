"""The monitor of a stream in memory: what it would decide each night about the champion that scored the day."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.decisions.nights import Nights, Trained
from pipelines.engine import Engine
from pipelines.monitoring.decision import Decision, Facts, Vote, decide
from pipelines.monitoring.quality import MOST_ROWS, Realised, measures_of, metric_name, realised_quality
from pipelines.monitoring.reference import Reference, build_reference
from pipelines.monitoring.statistics import column_kinds, fixed_bins, profiles, row_counts
from pipelines.monitoring.verdict import judge_partition


@dataclass
class Watch:
    """One policy's monitor: its votes about the present champion, and when it last asked for a model."""

    nights: Nights
    engine: Engine
    champion: Trained | None = None
    votes: list[Vote] = field(default_factory=list)
    scored: list[str] = field(default_factory=list)
    asked: str | None = None
    references: dict[int, Reference] = field(default_factory=dict)

    def night(self, day: str, champion: Trained) -> Decision:
        """The decision about the champion that scored `day`."""
        if self.champion is not champion:
            self.champion, self.votes, self.scored = champion, [], []
        self.scored.append(day)
        settings, days = self.nights.stream.pipeline.monitor, self.nights.stream.days
        reference = self._reference(champion)
        rows = self.engine.memory(self.nights.stream.between(day, day))
        found = profiles(self.engine, rows, {name: column.bins for name, column in reference.columns.items()})
        self.engine.drop(rows)
        count = len(self.nights.stream.labels(day, day))
        verdict = judge_partition(reference, found[day], count, champion.model.importance(), settings)
        self.votes.append(Vote(day, verdict.grade, verdict.reasons))
        place = days.index(day)
        facts = Facts(
            since_champion=len(self.scored),
            since_retrain=place - days.index(self.asked) if self.asked else None,
            new_labels=len(self.nights.stream.labels(days[days.index(champion.night) + 1], day)),
            realised=self._realised(champion, day),
        )
        decision = decide(self.votes, settings, facts)
        if decision.outcome == "RETRAIN":
            self.asked = day
        return decision

    def _reference(self, champion: Trained) -> Reference:
        if champion.version not in self.references:
            stream = self.nights.stream
            keys = champion.frozen.training_partitions[-stream.pipeline.monitor.reference_partitions :]
            kinds = column_kinds(stream.rows.schema, list(champion.frozen.types))
            rows = self.engine.memory(stream.between(keys[0], keys[-1]))
            bins = fixed_bins(self.engine, rows, kinds)
            built = build_reference(bins, profiles(self.engine, rows, bins), row_counts(self.engine, rows))
            self.engine.drop(rows)
            self.references[champion.version] = built
        return self.references[champion.version]

    def _realised(self, champion: Trained, day: str) -> Realised | None:
        """Of the newest days that this champion scored, as many as a holdout has."""
        training, stream = self.nights.training, self.nights.stream
        judged = self.scored[-training.holdout_partitions :]
        measures = measures_of(training.task, training.quantile)
        metric = metric_name(measures, training.metric)
        y, score = stream.labels(judged[0], day), champion.on(stream, judged[0], day)
        seed = zlib.crc32(f"{stream.pipeline.name} {day}".encode())
        holdout = champion.metrics[metric]
        return realised_quality(
            measures, metric, holdout, y[-MOST_ROWS:], np.asarray(score)[-MOST_ROWS:], judged, True, seed
        )


def open_engine(nights: Nights, scratch: Path) -> Engine:
    return Engine(scratch, nights.stream.pipeline.resources_of("monitor"))
