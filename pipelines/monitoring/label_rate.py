"""Whether the newest matured labels average what they did in the reference."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pipelines.monitoring.labels import LabelCounts
from pipelines.monitoring.measures import t_quantile

_FEWEST_PARTITIONS = 3
_RATE_CHANCE = 1 / 30_000  # on each side


def label_rate(counts: LabelCounts, reference_keys: Sequence[str], recent: Sequence[str]) -> dict[str, float]:
    """The newest matured partition's rate, the reference's mean, and how many spreads lie between them.

    The spread is the larger of what reference partitions show and what chance shows for a share. `limit`: the spreads
    that a quiet partition exceeds once in 15,000 times, more where few partitions told the spread.
    """
    before = [counts.rates[key] for key in reference_keys if key in counts.rates]
    known = [key for key in recent if key in counts.rates]
    if len(before) < _FEWEST_PARTITIONS or not known:
        return {}
    mean, rate = float(np.mean(before)), counts.rates[known[-1]]
    chance = math.sqrt(mean * (1 - mean) / counts.rows[known[-1]]) if 0 < mean < 1 else 0.0
    spread = max(float(np.std(before, ddof=1)) * math.sqrt(1 + 1 / len(before)), chance)
    z = (rate - mean) / spread if spread else 0.0
    limit = t_quantile(len(before) - 1, _RATE_CHANCE)
    return {"rate": rate, "reference": float(f"{mean:.6g}"), "z": float(f"{z:.6g}"), "limit": float(f"{limit:.4g}")}


def rate_reasons(rate: dict[str, float]) -> list[str]:
    if abs(rate.get("z", 0.0)) <= rate.get("limit", math.inf):
        return []
    return [
        f"LABEL_RATE the newest matured labels average {rate['rate']:.4g}, in the reference {rate['reference']:.4g} "
        f"({rate['z']:+.1f} spreads, limit {rate['limit']:.3g})."
    ]
