"""Simulated daily data of fifty columns: quiet days in three patterns, and changes of known size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import ndtr

from pipelines.monitoring.reference import ColumnReference, Reference, with_profile
from pipelines.monitoring.statistics import Bins, ColumnStatistics, Profile

NUMBERS, FLAGS, CATEGORIES, KNOWN = 40, 5, 5, 8
COLUMNS = NUMBERS + FLAGS + CATEGORIES
REFERENCE_DAYS = 28
WEEKLY_COLUMNS, WEEKEND_SHIFT = 20, 0.5
WOBBLE = 0.05  # standard deviations by which each column's mean differs from day to day
CHANGED = 3  # a column with 3.9 % of the importance, and one of the weekly ones
PATTERNS = ("steady", "weekly", "wobbling")
CHANGES = ("sudden 0.5 sd", "sudden 1 sd", "gradual 1 sd in 10 days", "dead column")
EDGES = np.array([NormalDist().inv_cdf(share / 10) for share in range(1, 10)])
NAMES = [f"x{number:02d}" for number in range(COLUMNS)]
IMPORTANCE = {name: (place + 1) ** -0.7 for place, name in enumerate(NAMES)}


@dataclass
class Stream:
    """One pipeline's days. `rows` per day; days begin on another weekday for each seed."""

    seed: int
    rows: int
    pattern: str
    part: int = 0  # 0: the reference, others: days after it

    def __post_init__(self) -> None:
        self.random = np.random.default_rng([self.seed, self.rows, PATTERNS.index(self.pattern)])
        self.rates = self.random.uniform(0.02, 0.5, FLAGS)
        self.shares = self.random.dirichlet(np.full(KNOWN, 2.0), CATEGORIES) + 0.01
        self.random = np.random.default_rng([self.seed, self.rows, PATTERNS.index(self.pattern), self.part])

    def weekday(self, day: int) -> int:
        return (day + self.seed) % 7

    def offsets(self, day: int, change: str | None = None, since: int = 0) -> np.ndarray:
        """Shift of each column in standard deviations `(50,)` on the `since`-th day of a change."""
        found = self.random.normal(0, WOBBLE, COLUMNS) if self.pattern == "wobbling" else np.zeros(COLUMNS)
        if self.pattern == "weekly" and self.weekday(day) >= 5:
            found[:WEEKLY_COLUMNS] += WEEKEND_SHIFT
            found[NUMBERS:] += WEEKEND_SHIFT
        if change and change.startswith("sudden"):
            found[CHANGED] += float(change.split()[1])
        if change and change.startswith("gradual"):
            found[CHANGED] += min(1.0, since / 10)
        return found

    def profile(self, offsets: np.ndarray, dead: bool = False) -> Profile:
        """What the engine counts of such a day: draws from the exact chances of the bins."""
        cuts = ndtr(EDGES[None, :] - offsets[:NUMBERS, None])
        chances = np.diff(cuts, axis=1, prepend=0.0, append=1.0)
        counts = self.random.multinomial(self.rows, chances)
        means = offsets + self.random.normal(size=COLUMNS) / math.sqrt(self.rows)
        found = {name: self._number(counts[i], float(means[i])) for i, name in enumerate(NAMES[:NUMBERS])}
        for i in range(FLAGS):
            ones = int(self.random.binomial(self.rows, self._rate(i, offsets)))
            found[NAMES[NUMBERS + i]] = self._flag(ones)
        for i in range(CATEGORIES):
            held = self.random.multinomial(self.rows, self._weights(i, offsets))
            slots = (*(int(count) for count in held), 0, 0)
            found[NAMES[NUMBERS + FLAGS + i]] = ColumnStatistics(self.rows, 0, slots, distinct=int((held > 0).sum()))
        if dead:
            found[NAMES[CHANGED]] = self._dead()
        return found

    def frame(self, offsets: np.ndarray, dead: bool = False) -> pd.DataFrame:
        """The rows themselves, for rules that need them."""
        values: dict[str, np.ndarray] = {}
        values |= {name: self.random.normal(offsets[i], 1, self.rows) for i, name in enumerate(NAMES[:NUMBERS])}
        for i in range(FLAGS):
            values[NAMES[NUMBERS + i]] = (self.random.random(self.rows) < self._rate(i, offsets)).astype(float)
        for i in range(CATEGORIES):
            drawn = self.random.choice(KNOWN, self.rows, p=self._weights(i, offsets))
            values[NAMES[NUMBERS + FLAGS + i]] = np.char.add("c", drawn.astype(str))
        if dead:
            values[NAMES[CHANGED]] = np.zeros(self.rows)
        return pd.DataFrame(values)

    def bins(self, place: int) -> Bins:
        if place < NUMBERS:
            return Bins("number", edges=tuple(float(edge) for edge in EDGES))
        if place < NUMBERS + FLAGS:
            return Bins("number", edges=(0.0, math.nextafter(0.0, math.inf)))
        known = tuple(f"c{number}" for number in range(KNOWN))
        return Bins("category", categories=known, known=known)

    def _rate(self, place: int, offsets: np.ndarray) -> float:
        return float(1 / (1 + (1 / self.rates[place] - 1) * math.exp(-offsets[NUMBERS + place])))

    def _weights(self, place: int, offsets: np.ndarray) -> np.ndarray:
        tilted = self.shares[place] * np.exp(offsets[NUMBERS + FLAGS + place] * np.linspace(-1, 1, KNOWN))
        return np.asarray(tilted / tilted.sum())

    def _number(self, counts: np.ndarray, mean: float) -> ColumnStatistics:
        return ColumnStatistics(self.rows, 0, tuple(map(int, counts)), mean=mean, std=1.0, minimum=-4.0, maximum=4.0)

    def _flag(self, ones: int) -> ColumnStatistics:
        mean = ones / self.rows
        spread = math.sqrt(mean * (1 - mean))
        low, high = float(ones == self.rows), float(ones > 0)
        return ColumnStatistics(
            self.rows, 0, (0, self.rows - ones, ones), mean=mean, std=spread, minimum=low, maximum=high
        )

    def _dead(self) -> ColumnStatistics:
        """Null in every row for even seeds, one default value for odd ones."""
        if self.seed % 2 == 0:
            return ColumnStatistics(self.rows, self.rows, (0,) * 10)
        counts = tuple(self.rows if place == 5 else 0 for place in range(10))
        return ColumnStatistics(self.rows, 0, counts, mean=0.0, std=0.0, minimum=0.0, maximum=0.0)


@cache
def trained(seed: int, rows: int, pattern: str, setting: Literal["auto", "always", "never"]) -> Reference:
    """What a champion of this stream has seen; the same for all changes that follow."""
    stream = Stream(seed, rows, pattern)
    days = [stream.profile(stream.offsets(day)) for day in range(REFERENCE_DAYS)]
    keys = [f"{day:03d}" for day in range(REFERENCE_DAYS)]
    columns = {
        name: ColumnReference(stream.bins(place), tuple(profile[name] for profile in days))
        for place, name in enumerate(NAMES)
    }
    weekdays = {key: stream.weekday(int(key)) for key in keys}
    return with_profile(Reference(dict.fromkeys(keys, rows), columns), weekdays, setting)
