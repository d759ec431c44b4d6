"""Profiles of many partitions as one table of numbers: a row per partition, a column per statistic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipelines.validate.coverage import OUTSIDE, comparable, outside, outside_as_they_came, quantiles_of
from pipelines.validate.profile import ColumnProfile, Profile
from pipelines.validate.relations import Relationship, statistics_of, strong

Scale = Literal["share", "count", "number", "relation"]

ROWS = ("", "rows")
_COMPARED = ("new", "new_pattern", "mixture")  # with what was known before
_SHARES = frozenset(
    [
        *("missing", "distinct", "most_frequent", "largest_rare", "zero", "negative", "whole", OUTSIDE),
        *("blank", "digits", "upper", "lower", "spaces", "other", *_COMPARED),
    ]
)
# Statistics of one value, pattern or other column: `value:DE` is the share of rows that hold DE, `below:end` that of
# the rows in which the column is less than `end`.
_NAMED = ("value", "pattern", "below", "differs")
_MOST_NAMED = 10  # values or patterns of a column that are followed one by one
_LEAST_SHARE = 0.01  # of rows over the whole history; rarer ones are not followed
_FEW_VALUES = 20  # a column with no more distinct values in its history is judged by their shares alone
_ALL_HASHES = 2**32
_MOST_PATTERNS = 30

Statistic = tuple[str, str]  # column ("" for the table), name


@dataclass(frozen=True)
class Reference:
    """What is known of one column from its history: the values and patterns to follow, and all that were seen."""

    values: tuple[str, ...]
    patterns: tuple[str, ...]
    hashes: frozenset[int]
    limit: int  # hashes up to here are complete
    all_patterns: frozenset[str]
    few: tuple[str, ...] | None  # all values, of a column that had no more than twenty
    mixtures: np.ndarray  # of those: the shares `(n_partitions, n_values + 1)` of each, and of others

    @property
    def has_patterns(self) -> bool:
        """Whether a new pattern can be told: with as many as a profile holds, some were left out."""
        return 0 < len(self.all_patterns) < _MOST_PATTERNS


@dataclass(frozen=True)
class Series:
    """Statistics of past partitions: `table (n_partitions, n_statistics)`, NaN where one was not to be had."""

    names: tuple[Statistic, ...]
    scales: tuple[Scale, ...]
    table: np.ndarray
    references: dict[str, Reference]
    relations: frozenset[Relationship]
    hours: dict[str, np.ndarray]  # of each time column the quantiles of the partitions it is compared with

    def of(self, profile: Profile) -> np.ndarray:
        """The same statistics `(n_statistics,)` of another partition, seen from the end of this history."""
        found = _statistics(profile, self.references, self.relations)
        for column, reference in self.references.items():
            if column in profile.columns and profile.columns[column].values:
                found |= {(column, key): value for key, value in _seen_now(profile.columns[column], reference).items()}
        for column, others in self.hours.items():
            if column in profile.columns:
                found[column, OUTSIDE] = outside(profile.columns[column], others)
        return np.array([found.get(name, np.nan) for name in self.names])


def series(history: Sequence[Profile], seasons: Sequence[int | None], season: int | None) -> Series:
    """The statistics of these partitions, oldest first; of the columns that the newest one has.

    `seasons` are theirs (weekday, hour; None: there is none), `season` that of the partition to be compared with them.
    """
    references: dict[str, Reference] = {}
    hours: dict[str, np.ndarray] = {}
    relations = strong(history)
    for name in history[-1].columns:
        references[name] = _reference([past.columns[name] for past in history if name in past.columns])
    rows = [_statistics(past, references, relations) for past in history]
    for name, reference in references.items():
        columns = [past.columns.get(name) for past in history]
        earlier = _as_they_came(columns, reference)
        if history[-1].columns[name].kind == "time":
            hours[name] = comparable(quantiles_of(columns), seasons, season)
            for now, share in zip(earlier, outside_as_they_came(columns, seasons), strict=True):
                now[OUTSIDE] = share
        for row, found in zip(rows, earlier, strict=True):
            row |= {(name, key): value for key, value in found.items()}
    names = tuple(dict.fromkeys(name for row in rows for name in row))
    table = np.array([[row.get(name, np.nan) for name in names] for row in rows])
    return Series(names, tuple(_scale(name) for _, name in names), table, references, relations, hours)


def _scale(name: str) -> Scale:
    if name in _SHARES or name.partition(":")[0] in _NAMED:
        return "share"
    if name.startswith("follows:"):
        return "relation"
    return "count" if name in ("rows", "distinct_count") else "number"


def _statistics(
    profile: Profile, references: Mapping[str, Reference], relations: frozenset[Relationship]
) -> dict[Statistic, float]:
    found: dict[Statistic, float] = {ROWS: float(profile.rows), **statistics_of(profile.relations, relations)}
    plain = {name for name, reference in references.items() if reference.few is None}
    for order in profile.orders:
        if order.first in plain and order.second in plain:
            found[order.first, f"below:{order.second}"] = order.below
    for name, reference in references.items():
        if name in profile.columns:
            found |= {(name, key): value for key, value in _of_column(profile.columns[name], reference).items()}
    return found


def _of_column(column: ColumnProfile, reference: Reference) -> dict[str, float]:
    filled, top, patterns = max(1, column.values), dict(column.top), dict(column.patterns)
    found = {"missing": column.statistics["missing"]}
    if not column.values:
        return found
    if reference.few is not None:
        return found
    if column.kind == "text":  # of numbers it is noise: how many pieces cost just 2.10 tells nothing of the day
        found |= {f"value:{value}": top.get(value, 0) / filled for value in reference.values}
    found["largest_rare"] = max((top[one] for one in top if one not in reference.values), default=0) / filled
    found |= column.statistics | {"distinct_count": float(column.distinct)}
    found |= {f"pattern:{one}": patterns.get(one, 0) / filled for one in reference.patterns}
    return found


def _seen_now(column: ColumnProfile, reference: Reference) -> dict[str, float]:
    """The statistics that compare a partition with all of the history."""
    found = {"new": _new_share(column, reference.hashes, reference.limit)}
    if reference.few is not None:
        return found | {"mixture": _nearest(_mixture(column, reference.few), reference.mixtures)}
    return found | ({"new_pattern": _new_patterns(column, reference.all_patterns)} if reference.has_patterns else {})


def _reference(history: Sequence[ColumnProfile]) -> Reference:
    hashes = frozenset(value for column in history for value, _ in column.sample)
    limit = min(column.sample_limit for column in history)
    is_small = limit == _ALL_HASHES and len(hashes) <= _FEW_VALUES
    few = tuple(sorted({value for column in history for value, _ in column.top})) if is_small else None
    return Reference(
        values=_frequent([dict(column.top) for column in history], history),
        patterns=_frequent([dict(column.patterns) for column in history], history),
        hashes=hashes,
        limit=limit,
        all_patterns=frozenset(pattern for column in history for pattern, _ in column.patterns),
        few=few,
        mixtures=np.array([_mixture(column, few) for column in history if column.values]) if few else np.empty((0, 1)),
    )


def _frequent(counted: Sequence[Mapping[str, int]], history: Sequence[ColumnProfile]) -> tuple[str, ...]:
    """Those with the largest shares on average over the partitions, each partition counting alike."""
    shares: Counter[str] = Counter()
    for counts, column in zip(counted, history, strict=True):
        for value, count in counts.items():
            shares[value] += count / max(1, column.values)  # type: ignore[assignment]
    ranked = sorted(shares.items(), key=lambda pair: (-pair[1], pair[0]))[:_MOST_NAMED]
    return tuple(value for value, share in ranked if share / len(history) >= _LEAST_SHARE)


def _as_they_came(history: Sequence[ColumnProfile | None], reference: Reference) -> list[dict[str, float]]:
    """What compares a partition with those before it, for each by what was known at its time; none for the first."""
    hashes: set[int] = set()
    patterns: set[str] = set()
    limit, found = _ALL_HASHES, []
    mixtures: list[np.ndarray] = []
    for column in history:
        now: dict[str, float] = {}
        found.append(now)
        if column is None or not column.values:
            continue
        if hashes:
            now["new"] = _new_share(column, hashes, limit)
        if reference.has_patterns and patterns:
            now["new_pattern"] = _new_patterns(column, patterns)
        if reference.few is not None:
            mixture = _mixture(column, reference.few)
            if mixtures:
                now["mixture"] = _nearest(mixture, np.array(mixtures))
            mixtures.append(mixture)
        hashes.update(value for value, _ in column.sample)
        patterns.update(pattern for pattern, _ in column.patterns)
        limit = min(limit, column.sample_limit)
    return found


def _mixture(column: ColumnProfile, values: Sequence[str]) -> np.ndarray:
    top, filled = dict(column.top), max(1, column.values)
    shares = [top.get(value, 0) / filled for value in values]
    return np.array([*shares, max(0.0, 1.0 - sum(shares))])


def _nearest(mixture: np.ndarray, others: np.ndarray) -> float:
    """Total variation distance to the most similar of `others (n, n_values + 1)`; NaN when there is none."""
    return float(np.abs(others - mixture).sum(axis=1).min() / 2) if len(others) else float("nan")


def _new_share(column: ColumnProfile, known: set[int] | frozenset[int], limit: int) -> float:
    """Of the rows whose value both samples would hold if it were known, those that it is not known for."""
    both = min(limit, column.sample_limit)
    comparable = [(value, rows) for value, rows in column.sample if value <= both]
    total = sum(rows for _, rows in comparable)
    return sum(rows for value, rows in comparable if value not in known) / total if total else 0.0


def _new_patterns(column: ColumnProfile, known: set[str] | frozenset[str]) -> float:
    return sum(rows for pattern, rows in column.patterns if pattern not in known) / max(1, column.values)
