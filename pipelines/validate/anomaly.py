"""Whether a partition looks like the accepted ones before it: each statistic against its own forecast.

A statistic is forecast by that median of its past which was nearest so far: of the last 3, 7 or 28 partitions, or of
the last 5 in the same season (weekday, hour of the day). So level, trend and week are followed without a model. The
distance from the forecast is measured in usual misses of just that statistic; the largest one is the partition's score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from pipelines.validate.profile import Profile
from pipelines.validate.series import Series, series

_WINDOWS = (3, 7, 28)
_SEASONS = 5  # last partitions of the same season
_LEAST = 3  # partitions of a median, 2 of the same season
_UNJUDGED = 10  # first partitions, whose forecasts rest on too little
_TAIL = 0.9  # quantile of the misses that sets the scale, as that of a normal law
_LARGE_MISSES = 3.5  # what a miss as large as the second largest ever counts: one bad day must not widen the limits
_LARGEST = 2
# Noise below which nothing is told: of a share half a standard error of its arcsine, of others 2 % (counts 5 %, and
# 0.05 of the inverse hyperbolic tangent of a correlation).
_SHARE_NOISE, _NUMBER_NOISE, _COUNT_NOISE = 0.25, 0.02, 0.05
# Measured on real feeds (docs/data_gate.md) for some 200 statistics; the largest of more is larger by chance.
_LIMIT, _LIMIT_STATISTICS, _FEWEST = 6.0, 200, 20
_MOST_RELATED = 0.999  # a correlation of 1 would lie at infinity
_MOST_FINDINGS = 5


@dataclass(frozen=True)
class Past:
    """One accepted partition: its profile, and its place in the season (weekday, hour; None: there is no season)."""

    key: str
    season: int | None
    profile: Profile
    raw_digest: str = ""


@dataclass(frozen=True)
class Finding:
    """One statistic that left its usual range; values as in the profile, `score` in usual misses."""

    column: str
    statistic: str
    found: float
    expected: float
    low: float
    high: float
    score: float


@dataclass(frozen=True)
class Judgement:
    """`score` above `limit`: the partition is unlike its `partitions` predecessors. Findings: the largest first."""

    score: float
    limit: float
    partitions: int
    statistics: int
    findings: tuple[Finding, ...]

    @property
    def is_anomalous(self) -> bool:
        return self.score > self.limit


@dataclass(frozen=True)
class Forecast:
    """Per statistic, on its transformed scale `(n_statistics,)`: what is expected next, and how large misses are."""

    expected: np.ndarray
    spread: np.ndarray


@dataclass(frozen=True)
class Judge:
    """What a history expects of the partition after it; made once, asked of as many versions as one likes."""

    past: Series
    units: np.ndarray
    forecast: Forecast

    @classmethod
    def of(cls, history: Sequence[Past], season: int | None) -> Judge:
        """Of accepted partitions, oldest first, at least 11; `season` is that of the partition in question."""
        seasons = [one.season for one in history]
        past = series([one.profile for one in history], seasons, season)
        units = _units(past)
        table = _filled(transformed(past, past.table, units))
        return cls(past, units, forecast_next(table, seasons, season))

    def __call__(self, found: Profile) -> Judgement:
        """How unlike the partitions before it `found` is."""
        past, values = self.past, self.past.of(found)
        distance = np.abs(transformed(past, values, self.units) - self.forecast.expected)
        usual = np.maximum(self.forecast.spread, _noise(past, found.rows))
        scores = np.nan_to_num(distance / usual, nan=0.0, posinf=1e9)
        limit = limit_of(len(past.names))
        order = sorted(np.flatnonzero(scores > limit).tolist(), key=lambda at: (-scores[at], past.names[at]))
        expected = _back(past, self.forecast.expected, self.units)
        findings = [_finding(past, at, values[at], expected[at], scores[at]) for at in order[:_MOST_FINDINGS]]
        top = _short(scores.max(initial=0.0))
        return Judgement(top, _short(limit), len(past.table), len(past.names), tuple(findings))


def judge(found: Profile, season: int | None, history: Sequence[Past]) -> Judgement:
    """How unlike the partitions before it `found` is; `season` and `history` as for `Judge.of`."""
    return Judge.of(history, season)(found)


def limit_of(statistics: int) -> float:
    """The limit for the largest of so many scores: as the largest of independent normal values, it grows as the root
    of the logarithm of their number."""
    return _LIMIT * math.sqrt(math.log(max(statistics, _FEWEST)) / math.log(_LIMIT_STATISTICS))


def forecast_next(table: np.ndarray, seasons: Sequence[int | None], season: int | None) -> Forecast:
    """The forecast after `table (n_partitions, n_statistics)`: per statistic by what came nearest so far."""
    candidates = [_rolling_median(table, window, _LEAST) for window in _WINDOWS]
    if season is not None:
        candidates.append(_same_season(table, [*seasons, season]))
    forecasts = np.stack(candidates)
    misses = np.abs(table[None] - forecasts[:, :-1])[:, _UNJUDGED:]
    usable = np.isfinite(forecasts[:, -1])
    best = np.argmin(np.where(usable, _trimmed_mean(misses), np.inf), axis=0)
    chosen = np.take_along_axis(misses, best[None, None], axis=0)[0]
    return Forecast(
        expected=np.take_along_axis(forecasts[:, -1], best[None], axis=0)[0],
        spread=_spread(np.where(np.isfinite(chosen), chosen, 0.0)),
    )


def transformed(past: Series, values: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Values `(..., n_statistics)` on scales on which noise is alike at every level.

    Shares by the arcsine of their root, counts by their logarithm, others by the inverse hyperbolic sine of their
    ratio to `units`: a logarithm for large values that lets zero and negative ones pass; correlations by the inverse
    hyperbolic tangent (Fisher 1915).
    """
    scales = np.array(past.scales)
    with np.errstate(invalid="ignore"):
        share = np.arcsin(np.sqrt(np.clip(values, 0, 1)))
        count = np.log1p(np.maximum(values, 0))
        relation = np.arctanh(np.clip(values, -_MOST_RELATED, _MOST_RELATED))
    others = np.where(scales == "relation", relation, np.arcsinh(values / units))
    return np.where(scales == "share", share, np.where(scales == "count", count, others))


def _back(past: Series, values: np.ndarray, units: np.ndarray) -> np.ndarray:
    scales = np.array(past.scales)
    share, count = np.sin(np.clip(values, 0, math.pi / 2)) ** 2, np.expm1(np.minimum(values, 40))
    others = np.where(scales == "relation", np.tanh(values), np.sinh(np.clip(values, -40, 40)) * units)
    return np.where(scales == "share", share, np.where(scales == "count", count, others))


def _units(past: Series) -> np.ndarray:
    """The usual size of each statistic: the median of its amounts, their maximum if that is 0, else 1."""
    sizes = np.abs(np.where(np.isfinite(past.table), past.table, 0.0))
    usual, largest = np.median(sizes, axis=0), sizes.max(axis=0)
    return np.where(usual > 0, usual, np.where(largest > 0, largest, 1.0))


def _filled(table: np.ndarray) -> np.ndarray:
    """A statistic that a partition lacks is what it usually was."""
    known = np.isfinite(table)
    usual = np.array(
        [np.median(column[mask]) if mask.any() else 0.0 for column, mask in zip(table.T, known.T, strict=True)]
    )
    return np.where(known, table, usual)


def _rolling_median(table: np.ndarray, window: int, least: int) -> np.ndarray:
    """`(n + 1, m)`: row t holds the medians of the `window` rows before t, fewer near the start; NaN below `least`."""
    medians = np.full((len(table) + 1, table.shape[1]), np.nan)
    for at in range(least, min(window, len(table) + 1)):
        medians[at] = np.median(table[:at], axis=0)
    if len(table) >= window:
        medians[window:] = np.median(sliding_window_view(table, window, axis=0), axis=-1)
    return medians


def _same_season(table: np.ndarray, seasons: Sequence[int | None]) -> np.ndarray:
    """As `_rolling_median`, over the partitions of each row's own season; `seasons` has one more entry than rows."""
    medians, of_row = np.full((len(table) + 1, table.shape[1]), np.nan), np.array(seasons)
    for season in set(seasons):
        places = np.flatnonzero(of_row == season)
        past = places[places < len(table)]
        if len(past) >= _LEAST - 1:
            medians[places] = _rolling_median(table[past], _SEASONS, _LEAST - 1)[: len(places)]
    return medians


def _trimmed_mean(misses: np.ndarray) -> np.ndarray:
    """Mean over partitions `(k, m)` of misses `(k, n, m)`, the largest tenth cut down; infinite where none is known."""
    known = np.isfinite(misses)
    counts = known.sum(axis=1)
    ordered = np.sort(np.where(known, misses, np.inf), axis=1)
    at = np.maximum(np.ceil(_TAIL * counts).astype(int) - 1, 0)
    top = np.take_along_axis(ordered, at[:, None], axis=1)
    total = np.where(known, np.minimum(np.where(known, misses, 0.0), top), 0.0).sum(axis=1)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.inf)


def _spread(misses: np.ndarray) -> np.ndarray:
    """The usual miss `(m,)` of each statistic, as a standard deviation of `misses (n, m)`."""
    ordered = np.sort(misses, axis=0)
    middle = 1.4826 * np.median(misses, axis=0)
    tail = np.quantile(misses, _TAIL, axis=0) / 1.645
    return np.maximum(np.maximum(middle, tail), ordered[-min(_LARGEST, len(ordered))] / _LARGE_MISSES)


def _noise(past: Series, rows: int) -> np.ndarray:
    scales = np.array(past.scales)
    share = _SHARE_NOISE / math.sqrt(max(rows, 1))
    other = np.where((scales == "count") | (scales == "relation"), _COUNT_NOISE, _NUMBER_NOISE)
    return np.where(scales == "share", share, other)


def _finding(past: Series, at: int, found: float, expected: float, score: float) -> Finding:
    (column, name), seen = past.names[at], past.table[:, at]
    seen = seen[np.isfinite(seen)]
    return Finding(column, name, _short(found), _short(expected), _short(seen.min()), _short(seen.max()), _short(score))


def _short(value: float) -> float:
    return float(f"{value:.6g}")
