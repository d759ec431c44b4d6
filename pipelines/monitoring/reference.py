"""What a champion saw in training: bins, counts per partition, and how far quiet partitions differ from each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from pipelines.monitoring.limits import Chances, Floors, Limits, Matrix, Usual, excess, others, psi_limits, usual
from pipelines.monitoring.measures import normal_quantile, usual_bound, wasserstein
from pipelines.monitoring.statistics import Bins, ColumnStatistics, Profile, merged
from pipelines.monitoring.weekdays import explained

WASSERSTEIN_WATCH = 0.1  # standard deviations; the threshold that Evidently starts from
USUAL_SHARE = 0.1  # a column that is dead in more of the reference partitions is not news when it is dead
_FEWEST_KIN = 2
Counts = tuple[int, ...]


@dataclass(frozen=True)
class Kin:
    """The reference partitions that a partition is compared with: all, or those of its weekday.

    `excess` `(n_parts,)`: PSI of each reference partition against the others of its kind, beyond chance.
    """

    bins: Bins
    parts: tuple[ColumnStatistics, ...]
    total: ColumnStatistics
    excess: Matrix
    values: Usual
    nulls: Usual
    is_of_weekday: bool = False

    @property
    def bin_count(self) -> int:
        return len(distribution(self.total, self.bins))

    @cached_property
    def far(self) -> list[float]:
        """Wasserstein distance of each of these partitions from the others."""
        rest = (merged([*self.parts[:place], *self.parts[place + 1 :]]) for place in range(len(self.parts)))
        return [distance(one, part, self.bins) for one, part in zip(rest, self.parts, strict=True) if part.values]


@dataclass(frozen=True)
class ColumnReference:
    """One column of the reference: its bins and its statistics per reference partition, in order of partitions.

    `weekdays` (Monday 0) of the partitions when the weekday explains how they differ, else empty.
    """

    bins: Bins
    parts: tuple[ColumnStatistics, ...]
    weekdays: tuple[int, ...] = ()

    @cached_property
    def total(self) -> ColumnStatistics:
        return merged(self.parts)

    @property
    def is_judged(self) -> bool:
        """False for what is constant or empty within every partition: a calendar part (the month), or a column that
        never said anything. Its values change with time or not at all, and neither is drift."""
        return any(not part.is_dead for part in self.parts)

    def usually_alive(self, kin: Kin) -> bool:
        """Whether it was dead in few of all reference partitions, or of those of this weekday."""
        return any(sum(part.is_dead for part in parts) <= USUAL_SHARE * len(parts) for parts in (self.parts, kin.parts))

    def kin(self, weekday: int | None) -> Kin:
        """All reference partitions, or where there is a profile those of this weekday (at least two)."""
        return self._by_weekday.get(-1 if weekday is None else weekday, self._all)

    @cached_property
    def _all(self) -> Kin:
        return self._kin(self.parts, np.zeros(len(self.parts), dtype=np.int64))

    @cached_property
    def _by_weekday(self) -> dict[int, Kin]:
        """Usual differences within weekdays are pooled over all weekdays, for one has too few partitions."""
        if not self.weekdays:
            return {}
        within = self._kin(self.parts, np.array(self.weekdays))
        found = {}
        for day in set(self.weekdays):
            own = tuple(part for part, one in zip(self.parts, self.weekdays, strict=True) if one == day)
            if len(own) >= _FEWEST_KIN:
                found[day] = replace(within, parts=own, total=merged(own), is_of_weekday=True)
        return found

    def _kin(self, parts: tuple[ColumnStatistics, ...], groups: Any) -> Kin:
        counts = np.array([distribution(part, self.bins) for part in parts], dtype=np.float64)
        nulls = np.array([present(part) for part in parts], dtype=np.float64)
        differences = excess(others(counts, groups), counts)
        return Kin(self.bins, parts, self.total, differences, usual(counts, groups), usual(nulls, groups))

    def psi_limits(self, kin: Kin, current_rows: int, floors: Floors, chances: Chances) -> Limits:
        """Limits of the PSI of values for a partition with `current_rows` values."""
        return psi_limits(kin.values, kin.total.values, current_rows, kin.bin_count, floors, chances)

    def null_limits(self, kin: Kin, current_rows: int, floors: Floors, chances: Chances) -> Limits:
        """Limits of the PSI between null and not null, two bins."""
        return psi_limits(kin.nulls, kin.total.rows, current_rows, 2, floors, chances)

    def new_limit(self, kin: Kin, floor: float, chance: float) -> float:
        """Limit of the share of rows with categories that the reference never held.

        Each reference partition had a share of its own that no other partition held: what is usual of names and codes.
        """
        if not any(part.lone for part in kin.parts):
            return floor
        return max(floor, usual_bound([part.lone_share for part in kin.parts if part.rows], chance))

    def wasserstein_limit(self, kin: Kin, current_rows: int, chance: float) -> float:
        """Watch limit; a Wasserstein distance alone never retrains, for one far outlier can make it large.

        The mean of a sample strays by 1 / sqrt(rows) standard deviations, and the distance is at least that far.
        """
        if not kin.total.values or not current_rows:
            return math.inf
        by_chance = normal_quantile(chance) * math.sqrt(1 / kin.total.values + 1 / current_rows)
        usually = usual_bound(kin.far, chance) if len(kin.parts) > 1 else 0.0
        return max(WASSERSTEIN_WATCH, by_chance, usually)


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


def distribution(statistics: ColumnStatistics, bins: Bins) -> Counts:
    """Rows per bin. New categories count among the other rare ones, for names and codes bring some every day; their
    share is judged apart."""
    if bins.kind == "number":
        return statistics.counts
    *known, other, new = statistics.counts
    return (*known, other + new)


def with_profile(
    reference: Reference, weekdays: Mapping[str, int], setting: Literal["auto", "always", "never"]
) -> Reference:
    """The reference whose columns are compared by weekday where that explains them (`auto`), or all or none of them.

    `weekdays`: Monday 0, per reference partition.
    """
    if setting == "never" or not weekdays:
        return reference
    days = tuple(weekdays[key] for key in reference.rows)
    columns = {
        name: replace(column, weekdays=days if setting == "always" or _is_weekly(column, days) else ())
        for name, column in reference.columns.items()
    }
    return Reference(reference.rows, columns)


def _is_weekly(column: ColumnReference, weekdays: Sequence[int]) -> bool:
    counts = [(*distribution(part, column.bins), part.nulls) for part in column.parts]
    return explained(np.array(counts, dtype=np.float64), weekdays)


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
