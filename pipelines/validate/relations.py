"""How columns hang together: what one column says about another, which no column shows by itself.

A fifth of the customers lost at random lies within what customers do from day to day; but then rows of one invoice name
a customer and others of it none, which never happened before.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import TYPE_CHECKING

import numpy as np

from pipelines.validate.coded import Coded

if TYPE_CHECKING:
    from pipelines.validate.profile import Profile

_COLUMNS = 12  # the first ones of a table; their pairs are compared
_ROWS = 20_000  # of a pair: whole groups, chosen by their values alone
_FEWEST_GROUPS = 10  # among the rows above; larger groups are left out of larger partitions
_DIGITS = 9
_STRONG = {"differs": 0.8, "follows": 0.5}  # chosen on bike_sharing (docs/data_gate.md)

Relationship = tuple[str, str, str]  # first, second, measure


@dataclass(frozen=True)
class Relation:
    """What is known of `second` from `first`, a pair of columns of one partition.

    Attributes:
        differs: share of the rows in which `second` is not what most rows with the same value of `first` have (the
            measure g3 of Kivinen and Mannila 1995; missing counts as a value): 0 where `first` decides `second`.
        follows: of two numbers or times, their rank correlation (Spearman 1904).
    """

    first: str
    second: str
    differs: float | None = None
    follows: float | None = None


def relations_of(columns: Mapping[str, Coded]) -> tuple[Relation, ...]:
    """All pairs of the first twelve columns, sizes aside. Only rows whose value of `first` repeats are looked at."""
    chosen = dict([(name, column) for name, column in columns.items() if column.kind != "size"][:_COLUMNS])
    return (*_grouped(chosen), *_followed(chosen))


def _grouped(columns: Mapping[str, Coded]) -> Iterator[Relation]:
    samples = {name: _repeating(column) for name, column in columns.items()}
    for first, second in permutations(columns, 2):
        rows, other = samples[first], columns[second]
        if len(rows):
            groups, codes = columns[first].codes[rows], other.codes[rows]
            yield Relation(first, second, differs=_rounded(_differs(groups, codes + 1, len(other.counts) + 1)))


def _followed(columns: Mapping[str, Coded]) -> Iterator[Relation]:
    ordered = [name for name, column in columns.items() if column.is_ordered and len(column.counts) > 1]
    for first, second in combinations(ordered, 2):
        one, other = columns[first], columns[second]
        both = (one.codes >= 0) & (other.codes >= 0)
        found = _correlation(one.ranks[one.codes[both]], other.ranks[other.codes[both]])
        if found is not None:
            yield Relation(first, second, follows=_rounded(found))


def _repeating(column: Coded) -> np.ndarray:
    """Rows of values that occur more than once: all, or of large partitions those of some values, `_ROWS` at most.

    Empty for fewer than two such values. Which ones are chosen depends on the values, not on the order of rows.
    """
    repeats = column.counts > 1
    if column.counts[repeats].sum() > _ROWS:
        repeats &= column.counts <= _ROWS // _FEWEST_GROUPS
        groups = np.random.default_rng(0).permutation(np.flatnonzero(repeats))
        repeats = np.zeros(len(repeats), bool)
        repeats[groups[np.cumsum(column.counts[groups]) <= _ROWS]] = True
    if repeats.sum() < 2:
        return np.empty(0, np.int64)
    return np.flatnonzero(np.append(repeats, False)[column.codes])


def _differs(groups: np.ndarray, codes: np.ndarray, width: int) -> float:
    pairs, counts = np.unique(groups * width + codes, return_counts=True)
    starts = np.flatnonzero(np.diff(pairs // width, prepend=-1))
    return 1.0 - float(np.maximum.reduceat(counts, starts).sum()) / len(groups)


def _correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    if len(one) < 3:
        return None
    one, other = one - one.mean(), other - other.mean()
    size = math.sqrt(float(one @ one) * float(other @ other))
    return float(one @ other) / size if size > 1e-12 else None


def _rounded(value: float) -> float:
    return round(value, _DIGITS)


def strong(history: Sequence[Profile]) -> frozenset[Relationship]:
    """The relationships that usually hold, in at least half of the history: a weak one only makes noise."""
    found: dict[Relationship, list[float]] = defaultdict(list)
    for past in history:
        usual = {name: 1.0 - column.statistics.get("most_frequent", 1.0) for name, column in past.columns.items()}
        for one in past.relations:
            for measure, value in _measured(one):
                strength = _explained(value, usual[one.second]) if measure == "differs" else abs(value)
                found[one.first, one.second, measure].append(strength)
    often = {key: values for key, values in found.items() if 2 * len(values) >= len(history)}
    return frozenset(key for key, values in often.items() if float(np.median(values)) >= _STRONG[key[2]])


def _explained(differs: float, usual: float) -> float:
    """Of the rows that are not what most rows of the column are, the share that is told by the other column (lambda of
    Goodman and Kruskal 1954); 0 for a column with one value."""
    return 1.0 - differs / usual if usual > 0 else 0.0


def statistics_of(relations: Iterable[Relation], wanted: frozenset[Relationship]) -> dict[tuple[str, str], float]:
    """By column and name (`differs:first`, `follows:second`), of the relationships that are wanted."""
    found = {}
    for one in relations:
        for measure, value in _measured(one):
            if (one.first, one.second, measure) in wanted:
                column, other = (one.first, one.second) if measure == "follows" else (one.second, one.first)
                found[column, f"{measure}:{other}"] = value
    return found


def _measured(one: Relation) -> list[tuple[str, float]]:
    values = (("differs", one.differs), ("follows", one.follows))
    return [(measure, value) for measure, value in values if value is not None]
