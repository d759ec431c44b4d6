"""Whether the relation of features and label changed: the losses of released scores, partition by partition."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.monitoring.change import LIMIT, risen
from pipelines.monitoring.column_verdict import Grade
from pipelines.monitoring.measures import t_quantile, usual_bound

_FEWEST_BOTH = 5  # partitions with an estimate and labels before the estimate can be trusted
Sentences = list[tuple[Grade, str]]


@dataclass(frozen=True)
class Losses:
    """Mean loss of released scores per partition, oldest first. `expected`: what the scores themselves say that it is,
    where they are probabilities (Brier score of calibrated scores: mean of p * (1 - p)), else empty."""

    what: str
    realised: Mapping[str, float]
    expected: Mapping[str, float]

    @property
    def judged(self) -> list[str]:
        """Partitions whose labels matured."""
        return [key for key in self.realised if not self.expected or key in self.expected]

    @property
    def surplus(self) -> list[float]:
        """Realised less expected loss: a day of hard cases is no change of concept."""
        return [self.realised[key] - self.expected.get(key, 0.0) for key in self.judged]

    @property
    def level(self) -> float:
        """Mean realised loss; NaN without any."""
        return math.fsum(self.realised.values()) / len(self.realised) if self.realised else math.nan


def concept_drift(losses: Losses, loss_rise: float | None) -> tuple[Sentences, dict[str, Any]]:
    """An alarm when the losses on matured labels have risen for certain, and the numbers that are recorded.

    `loss_rise`: the least rise that counts, as a share of the loss; None judges nothing.
    """
    keys = losses.judged
    found = risen(losses.surplus, (loss_rise or 0.0) * abs(losses.level)) if keys else None
    if found is None or loss_rise is None:
        return [], {}
    numbers = {"what": losses.what, "newest": _short(losses.realised[keys[-1]]), "sum": _short(found.sum)}
    if not found.is_certain:
        return [], numbers
    before, since = (_mean(losses.realised, part) for part in (keys[: found.start], keys[found.start :]))
    numbers |= {"since": keys[found.start]}
    beyond = " beyond what the scores expect of these rows" if losses.expected else ""
    text = (
        f"CONCEPT {losses.what} of released scores on matured labels rose{beyond}: {since:.4g} since "
        f"{keys[found.start]}, {before:.4g} before (cumulated surplus {found.sum:.1f} spreads, limit {LIMIT:g})."
    )
    return [("alarm", text)], numbers


def expected_quality(losses: Losses, today: str, loss_rise: float | None, chance: float) -> Sentences:
    """Whether the scores of `today`, which has no labels yet, expect a worse loss than those of earlier partitions.

    To be watched beyond what earlier partitions of this champion expected and by at least `loss_rise`. A vote when the
    expectation, corrected by how far earlier ones lay from what came true, is worse than the mean realised loss with
    that certainty, too.
    """
    past = [value for key, value in losses.expected.items() if key < today]
    if loss_rise is None or today not in losses.expected or not past:
        return []
    now, before = losses.expected[today], math.fsum(past) / len(past)
    limit = max(usual_bound(past, chance), before * (1 + loss_rise))
    if now <= limit:
        return []
    text = f"ESTIMATE today's scores expect {losses.what} of {now:.4g}, before {before:.4g} (limit {limit:.4g})"
    known = [key for key in losses.judged if key < today]
    low = now + _usual_error([losses.surplus[losses.judged.index(key)] for key in known], chance)
    if len(known) < _FEWEST_BOTH or not low > losses.level:
        return [("watch", f"{text}; labels will tell.")]
    certain = f"with its usual error it is at least {low:.4g}, on matured labels it was {losses.level:.4g}"
    return [("alarm", f"{text}; {certain}.")]


def _usual_error(surplus: Sequence[float], chance: float) -> float:
    """The least surplus of a further partition, with this chance of being wrong; -inf with fewer than three."""
    if len(surplus) < _FEWEST_BOTH:
        return -math.inf
    spread = float(np.std(surplus, ddof=1)) * math.sqrt(1 + 1 / len(surplus))
    return float(np.mean(surplus)) - t_quantile(len(surplus) - 1, chance) * spread


def _mean(values: Mapping[str, float], keys: Sequence[str]) -> float:
    return math.fsum(values[key] for key in keys) / len(keys) if keys else math.nan


def _short(value: float) -> float:
    return float(f"{value:.6g}")
