"""Is one set of scores better than another on the same rows? A paired, studentised bootstrap answers with a bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from pipelines.training.metrics import metric, prepared
from pipelines.training.resampling import Gain, Units, draws
from pipelines.training.tails import Tail

# Fewer usable resamples (a metric is undefined without a positive row) are no sample of what could have been.
_USABLE_SHARE = 0.9
_ROUNDING = 1e-12
# A resample in which a nearly perfect model is perfect has no error at all: infinitely many would miss its gain.
# The errors of usable holdouts lie well above this share of the whole holdout's.
_LEAST_ERROR = 0.5


@dataclass(frozen=True)
class Comparison:
    """`gain` > 0 means that the challenger is better, whatever the metric's direction.

    `lower` and `upper` are one-sided bounds of the gain at `confidence` each. NaN where the metric is undefined.
    """

    metric: str
    challenger: float
    other: float
    gain: float
    lower: float
    upper: float
    confidence: float
    resamples: int
    rows: int
    units: int
    standard_error: float

    @property
    def confidence_text(self) -> str:
        """Two digits of what is missing to certainty: 95%, 99.86%, 99.973%."""
        doubt = 100 * (1 - self.confidence)
        digits = 0 if doubt >= 1 else 1 - math.floor(math.log10(max(doubt, 1e-9)))
        return f"{100 * self.confidence:.{digits}f}%"


@dataclass(frozen=True)
class Resampled:
    """A gain, its standard error, and by how many standard errors it was missed in resamples of the same rows.

    `tail` is None where too many resamples have no value, or the gain has none.
    """

    metric: str
    challenger: float
    other: float
    gain: float
    standard_error: float
    tail: Tail | None
    resamples: int
    rows: int
    units: int

    def compared(self, confidence: float) -> Comparison:
        lower, upper = self.bounds(confidence)
        facts = (self.metric, self.challenger, self.other, self.gain, lower, upper, confidence)
        return Comparison(*facts, self.resamples, self.rows, self.units, self.standard_error)

    def bounds(self, confidence: float) -> tuple[float, float]:
        """One-sided bounds, each at `confidence`."""
        if self.tail is None:
            return float("nan"), float("nan")
        if self.standard_error == 0:
            return self.gain, self.gain
        above, below = self.tail.above(1 - confidence), self.tail.below(1 - confidence)
        return self.gain - above * self.standard_error, self.gain + below * self.standard_error

    def p_worse(self, margin: float) -> float:
        """How likely so low a gain would be if the true one were `margin`; NaN where nothing can be said."""
        if self.tail is None:
            return float("nan")
        if self.standard_error == 0:
            return float(self.gain >= margin)
        return self.tail.p_below((self.gain - margin) / self.standard_error)


def compare(
    name: str,
    labels: np.ndarray,
    challenger: np.ndarray,
    other: np.ndarray,
    *,
    confidence: float,
    resamples: int,
    seed: int,
    groups: np.ndarray | None = None,
) -> Comparison:
    """The gain with both bounds at `confidence`; see `resample`."""
    return resample(name, labels, challenger, other, resamples=resamples, seed=seed, groups=groups).compared(confidence)


def resample(
    name: str,
    labels: np.ndarray,
    challenger: np.ndarray,
    other: np.ndarray,
    *,
    resamples: int,
    seed: int,
    groups: np.ndarray | None = None,
) -> Resampled:
    """Resamples rows (or whole `groups`, integer codes `(n,)`) with replacement, both scores on the same ones.

    In each resample the gain is studentised by its own standard error (Efron & Tibshirani 1993, chapter 12.5; Hall
    1988): the bound stays right far out in the tail, where percentiles of the gain itself are too narrow.
    """
    mine, theirs = metric(name, labels, challenger), metric(name, labels, other)
    units = Units.of(labels, groups)
    if not (np.isfinite(mine) and np.isfinite(theirs)):
        nothing = float("nan")
        return Resampled(name, mine, theirs, nothing, nothing, None, resamples, len(labels), units.count)
    # Sums over rows are too small for several BLAS threads: waiting for each other cost up to seven times the CPU.
    with threadpool_limits(1):
        found = Gain(name, labels, challenger, other, units)
        gain, error = (float(one[0]) for one in found.measured(np.ones((1, units.count))))
        missed = _missed(found, gain, error, units.count, resamples, seed)
    tail = Tail(missed) if len(missed) >= _USABLE_SHARE * resamples and np.isfinite(error) else None
    return Resampled(name, mine, theirs, gain, error, tail, resamples, len(labels), units.count)


def _missed(found: Gain, gain: float, error: float, units: int, resamples: int, seed: int) -> np.ndarray:
    """By how many of its own standard errors each resample's gain is above the gain; undefined ones are left out."""
    blocks = [found.measured(drawn) for drawn in draws(units, resamples, seed)]
    gains, errors = (np.concatenate(one) for one in zip(*blocks, strict=True))
    usable = np.isfinite(gains) & np.isfinite(errors)
    difference, errors = gains[usable] - gain, errors[usable]
    # The same gain in every row has no error, but for rounding.
    is_nothing = np.abs(difference) <= _ROUNDING * np.maximum(1.0, np.abs(gains[usable]))
    least = max(_LEAST_ERROR * error, float(np.finfo(float).tiny))
    return np.where(is_nothing, 0.0, difference / np.maximum(errors, least))


def intervals(
    names: Sequence[str],
    labels: np.ndarray,
    scores: np.ndarray,
    *,
    confidence: float,
    resamples: int,
    seed: int,
    groups: np.ndarray | None = None,
) -> dict[str, tuple[float, float]]:
    """Two-sided percentile interval of each metric; all are computed on the same resamples of rows (or `groups`).

    For people: decisions rest on `resample`. NaN where a metric is undefined in more than one resample of ten.
    """
    if not len(labels) or not np.isfinite(scores).all():
        return dict.fromkeys(names, (float("nan"), float("nan")))
    units = Units.of(labels, groups)
    weighted = [prepared(name, labels[units.order], scores[units.order]) for name in names]
    with threadpool_limits(1):
        blocks = [
            [one.values(units.weights(drawn)) for one in weighted] for drawn in draws(units.count, resamples, seed)
        ]
    values = np.concatenate(blocks, axis=1)
    return {name: _middle(values[row], confidence) for row, name in enumerate(names)}


def _middle(values: np.ndarray, confidence: float) -> tuple[float, float]:
    usable = values[np.isfinite(values)]
    if len(usable) < _USABLE_SHARE * len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(usable, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
