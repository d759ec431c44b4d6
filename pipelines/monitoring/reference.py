"""What a champion saw in training: bins, counts per partition, and how far quiet partitions differ from each other."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pipelines.monitoring.measures import Z_999, Z_9999, psi, psi_mean, psi_noise, wasserstein
from pipelines.monitoring.statistics import Bins, ColumnStatistics, Profile, merged

QUIET_QUANTILE = 0.95
WATCH_FACTOR, RETRAIN_FACTOR = 1.25, 1.5  # distance kept above the quiet partitions' own differences
WASSERSTEIN_WATCH = 0.1  # standard deviations; the threshold that Evidently starts from
USUAL_SHARE = 0.05  # a column that is dead in more of the reference partitions is not news when it is dead


@dataclass(frozen=True)
class Limits:
    """Above `watch` a value is worth a look, above `retrain` it asks for a new model."""

    watch: float
    retrain: float


@dataclass(frozen=True)
class ColumnReference:
    """One column of the reference: its bins and its statistics per reference partition, in order of partitions."""

    bins: Bins
    parts: tuple[ColumnStatistics, ...]

    @cached_property
    def total(self) -> ColumnStatistics:
        return merged(self.parts)

    @property
    def is_judged(self) -> bool:
        """False for what is constant or empty within every partition: a calendar part (the month), or a column that
        never said anything. Its values change with time or not at all, and neither is drift."""
        return any(not part.is_dead for part in self.parts)

    @property
    def usually_alive(self) -> bool:
        return sum(part.is_dead for part in self.parts) <= USUAL_SHARE * len(self.parts)

    def psi_limits(self, current_rows: int, watch: float, retrain: float) -> Limits:
        """Limits of the PSI of values for a partition with `current_rows` values."""
        return _limits(self._quiet_psi, self.total.values, current_rows, self.bins.count, watch, retrain)

    def null_limits(self, current_rows: int, watch: float, retrain: float) -> Limits:
        """Limits of the PSI between null and not null, two bins."""
        return _limits(self._quiet_null_psi, self.total.rows, current_rows, 2, watch, retrain)

    def wasserstein_limit(self, current_rows: int) -> float:
        """Watch limit; a Wasserstein distance alone never retrains, for one far outlier can make it large.

        The mean of a sample strays by 1 / sqrt(rows) standard deviations, and the distance is at least that far.
        """
        if not self.total.values or not current_rows:
            return math.inf
        chance = Z_9999 * math.sqrt(1 / self.total.values + 1 / current_rows)
        return max(WASSERSTEIN_WATCH, WATCH_FACTOR * self._quiet_wasserstein, chance)

    @cached_property
    def _quiet_psi(self) -> float:
        """How far reference partitions lie from the rest of them, beyond what chance explains."""
        return _quantile(
            psi(rest.counts, part.counts) - psi_mean(rest.values, part.values, self.bins.count)
            for part, rest in self._each_against_rest
            if part.values
        )

    @cached_property
    def _quiet_null_psi(self) -> float:
        return _quantile(
            psi(present(rest), present(part)) - psi_mean(rest.rows, part.rows, 2)
            for part, rest in self._each_against_rest
        )

    @cached_property
    def _quiet_wasserstein(self) -> float:
        return _quantile(distance(rest, part, self.bins) for part, rest in self._each_against_rest if part.values)

    @cached_property
    def _each_against_rest(self) -> list[tuple[ColumnStatistics, ColumnStatistics]]:
        if len(self.parts) < 2:
            return []
        return [(part, merged([*self.parts[:i], *self.parts[i + 1 :]])) for i, part in enumerate(self.parts)]


@dataclass(frozen=True)
class Reference:
    """Grain: one champion. `rows` per reference partition, in order."""

    rows: dict[str, int]
    columns: dict[str, ColumnReference]

    @property
    def partitions(self) -> list[str]:
        return list(self.rows)


def present(statistics: ColumnStatistics) -> tuple[int, int]:
    return statistics.nulls, statistics.values


def distance(reference: ColumnStatistics, current: ColumnStatistics, bins: Bins) -> float:
    """Normalised Wasserstein distance of a number column; 0.0 for categories and empty sides.

    Values count as at most one width of the bins (or one standard deviation) beyond the outermost edge: otherwise the
    straight line to one far outlier would turn a few rows of chance into a large area.
    """
    bounds = (reference.minimum, reference.maximum, current.minimum, current.maximum)
    if bins.kind != "number" or not bins.edges or any(bound is None for bound in bounds):
        return 0.0
    known = [bound for bound in bounds if bound is not None]
    scale = reference.std or 0.0
    width = max(bins.edges[-1] - bins.edges[0], scale)
    low, high = max(min(known), bins.edges[0] - width), min(max(known), bins.edges[-1] + width)
    return wasserstein(reference.counts, current.counts, bins.edges, low, high, scale)


def build_reference(bins: dict[str, Bins], profiles: dict[str, Profile], rows: dict[str, int]) -> Reference:
    keys = sorted(profiles)
    return Reference(
        {key: rows[key] for key in keys},
        {name: ColumnReference(fixed, tuple(profiles[key][name] for key in keys)) for name, fixed in bins.items()},
    )


def reference_bytes(reference: Reference) -> bytes:
    """What `parsed_reference` reads."""
    content = {
        "rows": reference.rows,
        "columns": {
            name: {"bins": asdict(column.bins), "parts": [part.to_dict() for part in column.parts]}
            for name, column in reference.columns.items()
        },
    }
    return json.dumps(content, sort_keys=False).encode()


def parsed_reference(saved: bytes) -> Reference:
    content = json.loads(saved)
    columns = {
        name: ColumnReference(_bins(column["bins"]), tuple(map(ColumnStatistics.of, column["parts"])))
        for name, column in content["columns"].items()
    }
    return Reference(dict(content["rows"]), columns)


def _bins(values: dict[str, Any]) -> Bins:
    return Bins(
        kind=values["kind"],
        edges=tuple(values["edges"]),
        categories=tuple(values["categories"]),
        known=None if values["known"] is None else tuple(values["known"]),
    )


def _limits(pattern: float, reference_rows: int, current_rows: int, bins: int, watch: float, retrain: float) -> Limits:
    """The largest of the setting, `pattern` with a margin, and `pattern` plus what chance adds to it.

    `pattern` is what quiet partitions show against each other (weekends, say). It matters in large partitions, chance
    in small ones; neither ever lowers the setting.
    """
    by_chance = [psi_noise(reference_rows, current_rows, bins, z) for z in (Z_999, Z_9999)]
    alarm = max(retrain, RETRAIN_FACTOR * pattern, pattern + by_chance[1])
    return Limits(watch=min(alarm, max(watch, WATCH_FACTOR * pattern, pattern + by_chance[0])), retrain=alarm)


def _quantile(values: Iterable[float]) -> float:
    """The 95th percentile, 0.0 when there are none or it is negative."""
    finite = [value for value in values if math.isfinite(value)]
    return max(0.0, float(np.quantile(finite, QUIET_QUANTILE))) if finite else 0.0
