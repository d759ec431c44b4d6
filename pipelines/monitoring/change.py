"""Whether a series that should stay level has risen: a pure function of its past values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.monitoring.measures import normal_quantile, t_tail

LIMIT = 5.0  # with an allowance of half a spread about one false alarm in 930 values (Siegmund 1985)
_ALLOWANCE = 0.5  # spreads; best for a rise by one spread
_LEVEL_FROM = 3  # values before a spread can be told
_TINY = 1e-12


@dataclass(frozen=True)
class Rise:
    """`sum` is the cumulated surplus in spreads, over `LIMIT` after a rise; it began with value number `start`.

    `before` and `since`: the mean up to there and from there on.
    """

    sum: float
    start: int
    before: float
    since: float

    @property
    def is_certain(self) -> bool:
        return self.sum > LIMIT


def risen(values: Sequence[float], least: float) -> Rise | None:
    """The cumulative sum (Page 1954) over `values`, oldest first; None with fewer than four.

    Self-starting (Hawkins 1987, "Self-starting CUSUM charts for location and scale"): each value is compared with the
    mean and spread of all before it, and the ratio's Student t probability is turned into a normal value. So the
    chance of a false alarm is known from the fourth value on, although level and spread are not. `least`: a rise of
    this much, in the units of `values`, is the least that counts; half of it is allowed for at each step.
    """
    if len(values) <= _LEVEL_FROM:
        return None
    total, start = 0.0, len(values)
    mean, squares = 0.0, 0.0
    for count, value in enumerate(values):
        if count >= _LEVEL_FROM:
            spread = max(math.sqrt(squares / (count - 1)), _TINY)
            surplus = _normal(math.sqrt(count / (count + 1)) * (value - mean) / spread, count - 1)
            allowance = max(_ALLOWANCE, least / 2 / spread)
            if not total:
                start = count
            total = max(0.0, total + surplus - allowance)
        step = value - mean
        mean += step / (count + 1)
        squares += step * (value - mean)
    start = start if total else len(values)
    return Rise(total, start, _mean(values[:start]), _mean(values[start:]))


def _normal(ratio: float, degrees: int) -> float:
    """The normal value that is exceeded as often as this value of Student's t."""
    chance = min(max(t_tail(degrees, ratio), _TINY), 1 - _TINY)
    return normal_quantile(chance)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
