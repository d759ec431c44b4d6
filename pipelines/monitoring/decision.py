"""Whether the drift of the last partitions asks for a new model: a pure function of what was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipelines.monitoring.column_verdict import Grade
from pipelines.monitoring.quality import Realised
from pipelines.settings.monitor import Monitor

Outcome = Literal["OK", "WATCH", "RETRAIN"]
_MOST_REASONS = 12


@dataclass(frozen=True)
class Vote:
    """What one partition said about the champion that scored it."""

    partition: str
    grade: Grade
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """What counts beside the votes.

    `since_champion`: partitions that the champion has scored, this one included. `since_retrain`: partitions since
    the last RETRAIN decision (1: the one before); None when there was none. `new_labels`: labelled rows that matured
    after the champion's training set was taken; None when the pipeline has no labels.
    """

    since_champion: int | None = None
    since_retrain: int | None = None
    new_labels: int | None = None
    realised: Realised | None = None


@dataclass(frozen=True)
class Decision:
    outcome: Outcome
    reasons: tuple[str, ...]


def decide(history: Sequence[Vote], settings: Monitor, facts: Facts) -> Decision:
    """OK, WATCH or RETRAIN for the newest partition of `history` (at least one vote; any order).

    A retrain is asked for when the realised metric fell for certain, or when k of the last n partitions, the newest
    included, raised an alarm. It is then put off (WATCH) by the cooldown, by too few new labels, and, for drift other
    than a dead column, by realised quality that held on these very partitions.
    """
    votes = sorted(history, key=lambda vote: vote.partition)
    newest = votes[-1]
    quality = _quality_reasons(settings, facts.realised)
    alarms = [vote for vote in votes[-settings.of_last :] if vote.grade == "alarm"]
    has_votes = newest.grade == "alarm" and len(alarms) >= settings.votes
    if not quality and not has_votes:
        return _without_retrain(newest, len(alarms), settings)
    counted = f"VOTES {len(alarms)} of the last {settings.of_last} partitions raised an alarm, {settings.votes} needed."
    # The cause first, then why it is enough, then everything else that moved.
    why = [*quality, *newest.reasons[:1], *([counted] if has_votes else []), *newest.reasons[1:]]
    against = _objections(newest, settings, facts, has_quality_reason=bool(quality))
    if against:
        return Decision("WATCH", _bounded([*against, *why]))
    return Decision("RETRAIN", _bounded(why))


def _without_retrain(newest: Vote, alarms: int, settings: Monitor) -> Decision:
    if newest.grade == "quiet":
        return Decision("OK", ())
    waiting = f"VOTES {alarms} of the last {settings.of_last} partitions raised an alarm, {settings.votes} needed."
    return Decision("WATCH", _bounded([*newest.reasons, *([waiting] if newest.grade == "alarm" else [])]))


def _quality_reasons(settings: Monitor, realised: Realised | None) -> list[str]:
    if settings.max_drop is None or realised is None or realised.drop_low <= settings.max_drop:
        return []
    return [f"QUALITY {realised.sentence()} A loss above {settings.max_drop:g} asks for a new model."]


def _objections(newest: Vote, settings: Monitor, facts: Facts, has_quality_reason: bool) -> list[str]:
    """Why a wanted retrain waits; empty when nothing speaks against it."""
    found = []
    cooldown = settings.cooldown_partitions
    if facts.since_retrain is not None and facts.since_retrain <= cooldown:
        found.append(f"COOLDOWN the last retrain was asked for {facts.since_retrain} partitions ago, wait {cooldown}.")
    elif facts.since_champion is not None and facts.since_champion <= cooldown:
        found.append(f"COOLDOWN the champion has scored {facts.since_champion} partitions so far, wait for {cooldown}.")
    if facts.new_labels is not None and facts.new_labels < settings.min_new_labels:
        found.append(
            f"LABELS {facts.new_labels:,} labels matured since the champion was trained, "
            f"{settings.min_new_labels:,} needed."
        )
    if not has_quality_reason and not _has_dead_column(newest) and _quality_held(settings, facts.realised):
        found.append(f"QUALITY HELD {facts.realised.sentence() if facts.realised else ''}")
    return found


def _quality_held(settings: Monitor, realised: Realised | None) -> bool:
    """The loss is certainly below the limit, judged on rows that include the newest partition."""
    if settings.max_drop is None or realised is None:
        return False
    return realised.covers_newest and realised.drop_high <= settings.max_drop


def _has_dead_column(vote: Vote) -> bool:
    return any(reason.startswith("DEAD_COLUMN") for reason in vote.reasons)


def _bounded(reasons: Sequence[str]) -> tuple[str, ...]:
    if len(reasons) <= _MOST_REASONS:
        return tuple(reasons)
    return (*reasons[:_MOST_REASONS], f"... and {len(reasons) - _MOST_REASONS} more, see the drift report.")
