"""The challengers of a stream, one per night, each trained once for all policies by the product's own training."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.decisions.stream import Stream
from pipelines.context import Context
from pipelines.features import feature_types
from pipelines.home import REPOSITORY, Home
from pipelines.ledger import Ledger
from pipelines.models.fitting import fit
from pipelines.models.model import Model
from pipelines.settings.training import Training
from pipelines.training.baselines import baselines
from pipelines.training.candidates import CHALLENGER, CHAMPION, Candidate, Evaluation
from pipelines.training.dataset import TARGET, Frozen, required
from pipelines.training.leakage import Sides, leakage_checks
from pipelines.training.metrics import metrics, wanted_metric
from pipelines.training.policy import Check, policy_of
from pipelines.training.tuning import can_judge, recipe_of, training_rows


@dataclass(frozen=True)
class InMemory(Frozen):
    """A training set that was never written."""

    parts: Mapping[str, pa.Table] = field(default_factory=dict)

    def table(self, context: Context, part: str) -> pa.Table:
        del context
        return self.parts[part]


@dataclass(frozen=True)
class Trained:
    """The challenger of one night. `scores`: of all rows of the stream from the first of its holdout on."""

    night: str
    version: int
    model: Model
    frozen: InMemory
    scores: np.ndarray
    baselines: tuple[Candidate, ...]
    metrics: Mapping[str, float]
    seconds_per_1000_rows: float
    megabytes: float

    def on(self, stream: Stream, first: str, last: str) -> np.ndarray:
        """Its scores of the rows of all days from `first` to `last`."""
        origin = stream.place[self.frozen.holdout_partitions[0]][0]
        start, end = stream.place[first][0] - origin, stream.place[last][1] - origin
        if start < 0:
            raise ValueError(f"the model of {self.night} has no scores of {first}: it was trained on that day")
        return self.scores[start:end]

    def candidate(self, name: str, scores: np.ndarray, digest: str) -> Candidate:
        return Candidate(name, scores, self.version, None, self.seconds_per_1000_rows, self.megabytes, digest)


class Nights:
    """Trains on demand; the same night is trained once."""

    def __init__(self, stream: Stream, scratch: Path) -> None:
        home = Home(scratch, REPOSITORY / "config")
        first = stream.pipeline.first_partition()
        self.stream = stream
        self.context = Context(stream.pipeline, home, Ledger(home.ledger_url), first, "decisions")
        self._trained: dict[str, Trained | None] = {}
        self._refitted: dict[str, Trained] = {}
        self._leaks: dict[str, list[Check]] = {}

    @property
    def training(self) -> Training:
        return required(self.context)[0]

    def trained(self, night: str) -> Trained | None:
        """The challenger that a retrain makes in the evening of `night`; None while there are too few rows."""
        if night not in self._trained:
            frozen = self._frozen(night)
            self._trained[night] = self._train(night, frozen) if frozen else None
        return self._trained[night]

    def refitted(self, night: str) -> Trained:
        """The challenger of `night` fitted again on all rows of its window, holdout included, for the days after it."""
        if (known := self._refitted.get(night)) is not None:
            return known
        trained = self.trained(night)
        if trained is None:
            raise ValueError(f"nothing was trained on {night}")
        frozen, days = trained.frozen, self.stream.days
        keys = [*frozen.training_partitions, *frozen.holdout_partitions]
        parts = {"train": self.stream.between(keys[0], keys[-1])}
        whole = replace(frozen, training_partitions=keys, holdout_partitions=[night], parts=parts)
        rows, validation = training_rows(self.context, whole)
        model = fit(recipe_of(self.context, whole), rows, validation if can_judge(rows, validation) else None)
        scores = model.predict(self.stream.between(night, days[-1]))
        self._refitted[night] = replace(trained, model=model, frozen=whole, scores=scores)
        return self._refitted[night]

    def evaluation(self, challenger: Trained, champion: Trained | None) -> Evaluation:
        """Both on the challenger's holdout, as the task `evaluate` has them."""
        frozen, digest = challenger.frozen, challenger.night
        first, last = frozen.holdout_partitions[0], frozen.holdout_partitions[-1]
        candidates = {CHALLENGER: challenger.candidate(CHALLENGER, challenger.on(self.stream, first, last), digest)}
        if champion:
            candidates[CHAMPION] = champion.candidate(CHAMPION, champion.on(self.stream, first, last), digest)
        candidates |= {one.name: one for one in challenger.baselines}
        return Evaluation(
            task=self.training.task,
            metric=wanted_metric(self.training),
            labels=self.stream.labels(first, last),
            candidates=candidates,
            holdout_digest=digest,
            partitions=frozen.holdout_partitions,
            champion_age_days=self._age(challenger, champion),
        )

    def before(self, challenger: Trained) -> list[Check]:
        """The checks of the run that come first: here whether rows or features leak the label."""
        limits, frozen = policy_of(self.stream.pipeline.gate).leakage, challenger.frozen
        if limits is None:
            return []
        if challenger.night not in self._leaks:
            train, holdout = (frozen.table(self.context, part) for part in ("train", "holdout"))
            sides = Sides(train, holdout, self.training.task, frozen.types, self.stream.pipeline.key)
            self._leaks[challenger.night] = list(leakage_checks(sides, limits, True))
        return self._leaks[challenger.night]

    def _age(self, challenger: Trained, champion: Trained | None) -> float | None:
        """Days from the champion's training to the challenger's."""
        if champion is None:
            return None
        parse = self.stream.pipeline.parse
        return (parse(challenger.night).end - parse(champion.night).end).total_seconds() / 86_400

    def _frozen(self, night: str) -> InMemory | None:
        days = self.stream.days
        window = days[: days.index(night) + 1][-self.training.window_partitions :]
        train, holdout = window[: -self.training.holdout_partitions], window[-self.training.holdout_partitions :]
        if not train:
            return None
        parts = {
            name: self.stream.between(some[0], some[-1]) for name, some in (("train", train), ("holdout", holdout))
        }
        if parts["train"].num_rows < self.training.min_rows or len(np.unique(parts["train"][TARGET])) < 2:
            return None
        is_binary = self.training.task == "binary"
        return InMemory(
            snapshot_id=night,
            as_of=night,
            training_partitions=train,
            holdout_partitions=holdout,
            types=dict(sorted(feature_types(self.stream.pipeline).items())),  # as the record of a snapshot has them
            classes=["0", "1"] if is_binary else [],
            rows={name: part.num_rows for name, part in parts.items()},
            unlabelled=0,
            incomplete=0,
            both_sides=0,
            positive_rate=float(np.mean(parts["train"][TARGET].to_numpy())) if is_binary else None,
            tables={},
            digests=dict.fromkeys(parts, night),
            parts=parts,
        )

    def _train(self, night: str, frozen: InMemory) -> Trained:
        rows, validation = training_rows(self.context, frozen)
        model = fit(recipe_of(self.context, frozen), rows, validation if can_judge(rows, validation) else None)
        days, holdout = self.stream.days, frozen.table(self.context, "holdout")
        ahead = self.stream.between(frozen.holdout_partitions[0], days[-1])
        started = time.perf_counter()
        scores = model.predict(ahead)
        seconds = 1000 * (time.perf_counter() - started) / ahead.num_rows
        return Trained(
            night,
            days.index(night),
            model,
            frozen,
            scores,
            tuple(baselines(self.context, frozen, holdout, night)),
            metrics(self.training.task, holdout[TARGET].to_numpy(), scores[: holdout.num_rows]),
            seconds,
            sum(len(content) for content in model.to_files().values()) / 1e6,
        )
