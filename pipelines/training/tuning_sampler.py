"""What Optuna proposes for a trial, and when it ends one: from the trials that are known, and from nothing else."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from pipelines.ledger import Row
from pipelines.models.ranges import Range, most_steps, ranges_of
from pipelines.settings.search import Choices, IntRange, Tuning
from pipelines.settings.training import Training
from pipelines.training.tuning_study import COMPLETE, PRUNED, RUNNING

optuna.logging.set_verbosity(optuna.logging.WARNING)

_KEPT_BY_PRUNERS = "completed_rung_"
_REDUCTION = 3  # of `halving` and `hyperband`: one in three goes on
_STATES = {COMPLETE: TrialState.COMPLETE, PRUNED: TrialState.PRUNED, RUNNING: TrialState.RUNNING}


@dataclass(frozen=True)
class Proposer:
    """The same number, seed, occasion and known trials give the same proposal in any process.

    `occasion`: the searches of two nights must not draw the same parameters.
    """

    training: Training
    tuning: Tuning
    is_higher_better: bool
    occasion: str = ""

    def trial(self, number: int, known: Sequence[Row], given: Mapping[str, Any] | None) -> Attempt:
        """Trial `number`; parameters that are `given` are not sampled."""
        study = optuna.create_study(
            study_name="nightshift",  # a pruner's brackets depend on it
            direction="maximize" if self.is_higher_better else "minimize",
            sampler=optuna.samplers.TPESampler(seed=_mixed(self.training.seed, self.occasion, number)),
            pruner=_pruner(self.training, self.tuning),
        )
        ranges = {name: distribution(one) for name, one in ranges_of(self.training).items()}
        for row in known:
            if row["state"] in _STATES and row["parameters"] is not None:
                study.add_trial(self._known(row, ranges))
        if given:
            study.enqueue_trial(dict(given))
        return Attempt(study.ask(ranges), self.tuning, -1.0 if self.is_higher_better else 1.0)

    def _known(self, row: Row, ranges: Mapping[str, BaseDistribution]) -> optuna.trial.FrozenTrial:
        sign = -1.0 if self.is_higher_better else 1.0
        return optuna.trial.create_trial(
            state=_STATES[row["state"]],
            value=row["value"] if row["state"] == COMPLETE else None,
            params=dict(row["parameters"]),
            distributions=dict(ranges),
            system_attrs=dict(row["notes"] or {}),
            intermediate_values={step: sign * loss for step, loss in row["looks"] or []},
        )


@dataclass(frozen=True)
class Attempt:
    """One trial that is under way."""

    proposed: optuna.Trial
    tuning: Tuning
    sign: float

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(self.proposed.params)

    def look(self, step: int, loss: float) -> None:
        """Told the loss on the validation rows after each round or epoch.

        Raises:
            optuna.TrialPruned: when it is not worth going on.
        """
        if self.tuning.pruner is None or step % self.tuning.pruner.every:
            return
        self.proposed.report(self.sign * loss, step)
        if self.proposed.should_prune():
            raise optuna.TrialPruned

    @property
    def looks(self) -> list[list[float]]:
        seen = self.proposed.study.get_trials(deepcopy=False)[-1].intermediate_values
        return [[step, self.sign * value] for step, value in sorted(seen.items()) if math.isfinite(value)]

    @property
    def notes(self) -> dict[str, Any]:
        """What the pruner must find again when it compares later trials with this one."""
        kept = self.proposed.study.get_trials(deepcopy=False)[-1].system_attrs
        return {name: value for name, value in kept.items() if name.startswith(_KEPT_BY_PRUNERS)}


def distribution(given: Range) -> BaseDistribution:
    """Optuna's form of a range."""
    if isinstance(given, Choices):
        return CategoricalDistribution(given.values)
    if isinstance(given, IntRange):
        return IntDistribution(given.low, given.high, log=given.log, step=given.step)
    return FloatDistribution(given.low, given.high, log=given.log, step=given.step)


def _pruner(training: Training, tuning: Tuning) -> optuna.pruners.BasePruner:
    settings = tuning.pruner
    if settings is None:
        return optuna.pruners.NopPruner()
    if settings.kind == "median":
        return optuna.pruners.MedianPruner(settings.startup_trials, settings.warmup, settings.every)
    if settings.kind == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(settings.every, _REDUCTION)
    return optuna.pruners.HyperbandPruner(settings.every, most_steps(training), _REDUCTION)


def _mixed(seed: int, occasion: str, number: int) -> int:
    """Seeds of neighbouring trials lie well apart."""
    return int(np.random.SeedSequence([seed % 2**32, zlib.crc32(occasion.encode()), number]).generate_state(1)[0])
