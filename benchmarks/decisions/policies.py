"""Ways of retraining, played over the days of one stream with the product's gate and monitor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.decisions.nights import Nights, Trained
from benchmarks.decisions.stream import Stream
from benchmarks.decisions.watch import Watch, open_engine
from pipelines.training.budget import planned
from pipelines.training.decision import Decision, decide
from pipelines.training.policy import policy_of

NEVER, ALWAYS, GATED, DRIFT = "never retrain", "always promote, nightly", "nightly, gated", "when drift asks, gated"
POLICIES = (NEVER, ALWAYS, GATED, DRIFT)


@dataclass(frozen=True)
class Judged:
    """One gate decision: the challenger, the champion that it found, and what was said."""

    challenger: Trained
    champion: Trained
    decision: Decision

    @property
    def why(self) -> str:
        """`promoted`, or the first check that failed."""
        failed = [check.name for check in self.decision.checks if not check.passed]
        return failed[0] if failed else "promoted"


@dataclass
class Played:
    """What became of one policy after the first champion. `champions`: which model scored each day."""

    name: str
    champion: Trained | None = None
    champions: dict[str, Trained] = field(default_factory=dict)
    retrains: int = 0
    changes: int = 0
    judged: dict[str, Judged] = field(default_factory=dict)

    def promote(self, model: Trained) -> None:
        self.changes += self.champion is not None
        self.champion = model


def play(nights: Nights, days: Sequence[str], scratch: Path) -> dict[str, Played]:
    """All policies over these days; the first of them is the evening on which a first model is asked for."""
    played = {name: Played(name) for name in POLICIES}
    with open_engine(nights, scratch) as engine:
        watch = Watch(nights, engine)
        for day in days:
            for one in played.values():
                if one.champion:
                    one.champions[day] = one.champion
                if _is_due(one, watch, day):
                    _retrain(nights, one, day)
    return played


def first_evening(stream: Stream) -> int:
    """Place of the day on which the monitor asks for a first model: see `pipelines.monitoring.step`."""
    training = stream.pipeline.training
    holdout = training.holdout_partitions if training else 0
    return max(2 * holdout, stream.pipeline.retrain.first_after_partitions) - 1


def _is_due(one: Played, watch: Watch, day: str) -> bool:
    if one.champion is None or one.name in (ALWAYS, GATED):
        return True
    return one.name == DRIFT and watch.night(day, one.champion).outcome == "RETRAIN"


def _retrain(nights: Nights, one: Played, day: str) -> None:
    challenger = nights.trained(day)
    if challenger is None:
        return
    one.retrains += one.champion is not None
    if one.name == ALWAYS and one.champion is not None:
        one.promote(challenger)
        return
    decision = _judge(nights, one, challenger)
    if one.champion is not None:
        one.judged[day] = Judged(challenger, one.champion, decision)
    if decision.outcome == "PROMOTE":
        one.promote(challenger)


def _judge(nights: Nights, one: Played, challenger: Trained) -> Decision:
    """The gate's decision. Without a schedule the year's budget of false promotions is shared among fewer tests."""
    pipeline = nights.stream.pipeline
    if one.name == DRIFT:
        pipeline = pipeline.model_copy(update={"retrain": pipeline.retrain.model_copy(update={"schedule": None})})
    return decide(
        nights.evaluation(challenger, one.champion),
        policy_of(pipeline.gate),
        nights.training.seed,
        nights.before(challenger),
        planned(pipeline),
    )
