"""What a partition looks like, in numbers: one profile per partition, small enough to keep for ever.

A profile depends on the rows alone, not on their order: every statistic is computed from the sorted distinct values
and how often each occurs. So the same rows give the same profile, on any machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from heapq import nsmallest
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.validate.coded import Coded, Kind, coded
from pipelines.validate.relations import Relation, relations_of
from pipelines.validate.text_statistics import patterns_of, text_statistics

Counted = tuple[str, int]

VERSION = "profile/2"
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_TOP = 30  # most frequent values, and patterns of texts, that are kept
_SAMPLE = 256  # hashes of distinct values: all of them up to here, above it those that are smallest
_COMPARED = 8
_DIGITS = 12
_HASH_BYTES = 4


@dataclass(frozen=True)
class ColumnProfile:
    """One column of one partition.

    `statistics` are named numbers; `missing` counts nulls and what is no number. `top` are the most frequent values
    with their rows, `patterns` those of texts. `sample` holds hashes of distinct values with their rows, smallest
    hash first: the same values are chosen in every partition, so that samples can be compared.
    """

    kind: Kind
    rows: int
    distinct: int
    statistics: dict[str, float]
    top: tuple[Counted, ...] = ()
    patterns: tuple[Counted, ...] = ()
    sample: tuple[tuple[int, int], ...] = ()

    @property
    def values(self) -> int:
        """Rows that have a value."""
        return self.rows - round(self.statistics["missing"] * self.rows)

    @property
    def sample_limit(self) -> int:
        """Distinct values whose hash is at most this are all in the sample."""
        return self.sample[-1][0] if self.distinct > len(self.sample) else 2 ** (8 * _HASH_BYTES)


@dataclass(frozen=True)
class Order:
    """Two columns compared row by row: the shares of the rows with both in which `first` is less, or equal."""

    first: str
    second: str
    below: float
    equal: float


@dataclass(frozen=True)
class Profile:
    """All columns of one partition, the orders of those that can be compared, and how the first ones hang together."""

    rows: int
    columns: dict[str, ColumnProfile] = field(default_factory=dict)
    orders: tuple[Order, ...] = ()
    relations: tuple[Relation, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Profile:
        columns = {name: _column(found) for name, found in document["columns"].items()}
        orders = tuple(Order(**found) for found in document["orders"])
        return cls(document["rows"], columns, orders, tuple(Relation(**found) for found in document["relations"]))


def profile(rows: pa.Table, start: datetime) -> Profile:
    """The profile of the declared columns of one partition.

    Args:
        rows: one partition of `raw`, declared columns only.
        start: when the partition begins (aware). Times are judged by their distance from it, in seconds.
    """
    columns = {name: coded(rows.column(name), start) for name in rows.column_names}
    described = {name: described_column(column) for name, column in columns.items()}
    return Profile(rows.num_rows, described, orders_of(rows), relations_of(columns))


def orders_of(rows: pa.Table) -> tuple[Order, ...]:
    """Times with times and numbers with numbers, of either the first eight columns."""
    times = [name for name in rows.column_names if pa.types.is_temporal(rows.column(name).type)]
    numbers = [name for name in rows.column_names if _is_number(rows.column(name).type)]
    pairs = [pair for names in (times, numbers) for pair in combinations(names[:_COMPARED], 2)]
    found = (_order(rows, first, second) for first, second in pairs)
    return tuple(order for order in found if order)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _order(rows: pa.Table, first: str, second: str) -> Order | None:
    """None where no row has both."""
    target = pa.timestamp("us", "UTC") if pa.types.is_temporal(rows.column(first).type) else pa.float64()
    one, other = (rows.column(name).cast(target, safe=False) for name in (first, second))
    both = pc.sum(pc.and_(pc.is_valid(one), pc.is_valid(other))).as_py() or 0
    if not both:
        return None
    below, equal = (pc.sum(compare(one, other)).as_py() or 0 for compare in (pc.less, pc.equal))
    return Order(first, second, _rounded(below / both), _rounded(equal / both))


def profile_column(column: pa.ChunkedArray | pa.Array, start: datetime) -> ColumnProfile:
    """One column: texts by their letters, images by their size, times and everything else as numbers."""
    return described_column(coded(column, start))


def described_column(column: Coded) -> ColumnProfile:
    kind, values, counts = column.kind, column.values, column.counts
    rows, filled, texts = len(column.codes), int(counts.sum()), _texts(values)
    found: dict[str, float] = {"missing": _share(rows - filled, rows)}
    patterns: tuple[Counted, ...] = ()
    if filled:
        found |= {"distinct": len(counts) / filled, "most_frequent": int(counts.max()) / filled}
        found |= text_statistics(values, counts) if kind == "text" else _moments(values.to_numpy(), counts)
        patterns = _most_frequent(*patterns_of(values, counts)) if kind == "text" else ()
    statistics = {name: _rounded(value) for name, value in found.items()}
    return ColumnProfile(
        kind, rows, len(counts), statistics, _most_frequent(texts, counts), patterns, _sample(texts, counts)
    )


def _moments(values: np.ndarray, counts: np.ndarray) -> dict[str, float]:
    """Of ascending distinct `values (n,)`, each occurring `counts (n,)` times."""
    total = counts.sum()
    # A sum of values beyond 1e150 squared would overflow; such a column is beyond its history anyway.
    bounded = np.clip(values, -1e150, 1e150)
    mean = float((bounded * counts).sum() / total)
    place = np.searchsorted(np.cumsum(counts), np.ceil(np.array(QUANTILES) * total))
    return {
        "min": float(values[0]),
        "max": float(values[-1]),
        "mean": mean,
        "std": float(np.sqrt((((bounded - mean) ** 2) * counts).sum() / total)),
        **{f"q{round(q * 100):02d}": float(values[at]) for q, at in zip(QUANTILES, place, strict=True)},
        "zero": float(counts[values == 0].sum() / total),
        "negative": float(counts[values < 0].sum() / total),
        "whole": float(counts[values == np.round(values)].sum() / total),
    }


def _texts(values: pa.Array) -> list[str]:
    """Values as text; whole numbers without a fraction."""
    if pa.types.is_floating(values.type):
        return [f"{value:.15g}" for value in values.to_pylist()]
    return [str(value) for value in values.to_pylist()]


def _most_frequent(texts: list[str], counts: np.ndarray) -> tuple[Counted, ...]:
    """Ties in the order of the texts, so that the answer does not depend on the order of rows."""
    if len(texts) > _TOP:
        least = np.partition(counts, -_TOP)[-_TOP]
        chosen = np.flatnonzero(counts >= least)
    else:
        chosen = np.arange(len(texts))
    ranked = sorted(((texts[at], int(counts[at])) for at in chosen), key=lambda pair: (-pair[1], pair[0]))
    return tuple(ranked[:_TOP])


def _sample(texts: list[str], counts: np.ndarray) -> tuple[tuple[int, int], ...]:
    return tuple(nsmallest(_SAMPLE, zip(map(_hash, texts), counts.tolist(), strict=True)))


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES).digest()
    return int.from_bytes(digest, "big")


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _column(found: Mapping[str, Any]) -> ColumnProfile:
    listed = {name: tuple((one, int(count)) for one, count in found[name]) for name in ("top", "patterns", "sample")}
    return ColumnProfile(found["kind"], found["rows"], found["distinct"], dict(found["statistics"]), **listed)
