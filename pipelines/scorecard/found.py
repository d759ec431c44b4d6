"""What one test of the scorecard found, and the words that several tests share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Effort = Literal["minutes", "an hour", "a day", "weeks"]
EFFORTS: tuple[Effort, ...] = ("minutes", "an hour", "a day", "weeks")
NONE, HALF, WHOLE = 0.0, 0.5, 1.0


@dataclass(frozen=True)
class Found:
    """Points by the pipeline's own evidence: 0, 0.5 (once, or a part only) or 1 (by itself, again and again).

    `missing` says what is short of a whole point; `step` is the cheapest thing that earns more without a person's word
    (points `after` it), empty where nothing is missing and where only a person can know.
    """

    points: float
    evidence: tuple[str, ...] = ()
    missing: str = ""
    step: str = ""
    effort: Effort = "minutes"
    after: float = WHOLE


def whole(*evidence: str) -> Found:
    return Found(WHOLE, evidence)


def half(*evidence: str, missing: str, step: str = "", effort: Effort = "minutes") -> Found:
    return Found(HALF, evidence, missing, step, effort)


def nothing(*evidence: str, missing: str, step: str = "", effort: Effort = "minutes", after: float = WHOLE) -> Found:
    return Found(NONE, evidence, missing, step, effort, after)


def span(partitions: Sequence[str]) -> str:
    """`2026-03-01 to 2026-03-14` of keys in any order."""
    first, last = min(partitions), max(partitions)
    return first if first == last else f"{first} to {last}"


def day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def listed(names: Iterable[str], most: int = 5) -> str:
    """At most five names and a count of the rest."""
    found = list(names)
    rest = len(found) - most
    return ", ".join(found[:most]) + (f" and {rest} more" if rest > 0 else "")


def told(sentences: Iterable[str]) -> str:
    """The newest three of sentences, which come newest first."""
    return "; ".join(list(sentences)[:3])


def several(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
