"""Exact statistics of every feature column over all rows, as Ibis expressions that DuckDB and Spark both run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from pipelines.engine import Engine

QUANTILES = tuple(index / 10 for index in range(1, 10))
MOST_CATEGORIES = 100  # counted one by one; the rest together as 'other'
MOST_KNOWN = 10_000  # with more categories in the reference, 'new' cannot be told and is not judged
_COLUMNS_PER_QUERY = 25
_LARGEST_SQUARED = 1e150  # beyond it a variance overflows and the engine refuses; such values are only counted
_DIGITS = 9  # sums of floats differ in the last bits with the number of threads


@dataclass(frozen=True)
class Bins:
    """How one column is counted, fixed once per reference.

    A number falls into bin i when exactly i of the ascending `edges` are <= it. A text falls into the slot of its
    category in `categories`, else into 'other' (known to the reference), else into 'new' (the last two slots).
    """

    kind: str  # number, category
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    known: tuple[str, ...] | None = None

    @property
    def count(self) -> int:
        return len(self.edges) + 1 if self.kind == "number" else len(self.categories) + 2


@dataclass(frozen=True)
class ColumnStatistics:
    """One column of one partition. `nulls` includes NaN and infinities; `counts` follows the column's bins and holds
    the other rows. mean to maximum are None for categories and for columns without values; `distinct` is None for
    numbers, where counting it costs three times as much as everything else and says little. `lone`: rows of a reference
    partition whose category no other one holds."""

    rows: int
    nulls: int
    counts: tuple[int, ...]
    distinct: int | None = None
    mean: float | None = None
    std: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    lone: int = 0

    @property
    def values(self) -> int:
        return self.rows - self.nulls

    @property
    def null_share(self) -> float:
        return self.nulls / self.rows if self.rows else 0.0

    @property
    def lone_share(self) -> float:
        return self.lone / self.rows if self.rows else 0.0

    @property
    def is_dead(self) -> bool:
        """All null or constant: says nothing about any row. A partition of one row is never dead for that."""
        if self.rows <= 1:
            return False
        return not self.values or (self.distinct == 1 if self.distinct is not None else self.minimum == self.maximum)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, values: dict[str, Any]) -> ColumnStatistics:
        return cls(**{**values, "counts": tuple(values["counts"])})


Profile = dict[str, ColumnStatistics]


def column_kinds(schema: pa.Schema, wanted: Sequence[str]) -> dict[str, str]:
    """'number' or 'category' per wanted column that the schema has; times and dates are left out, for they move on."""
    return {
        field.name: "category" if _is_text(field.type) else "number"
        for field in (schema.field(name) for name in wanted if name in schema.names)
        if _is_text(field.type) or _is_number(field.type)
    }


def fixed_bins(engine: Engine, table: ir.Table, kinds: dict[str, str]) -> dict[str, Bins]:
    """Bins of each column from all rows of `table` (the reference)."""
    return {
        name: _number_bins(engine, table, name) if kind == "number" else _category_bins(engine, table, name)
        for name, kind in kinds.items()
    }


def profiles(engine: Engine, table: ir.Table, bins: dict[str, Bins]) -> dict[str, Profile]:
    """Statistics per partition and column; partitions without rows do not occur."""
    found: dict[str, Profile] = {}
    numbers = [name for name, fixed in bins.items() if fixed.kind == "number"]
    for start in range(0, len(numbers), _COLUMNS_PER_QUERY):
        names = numbers[start : start + _COLUMNS_PER_QUERY]
        for row in engine.table(_number_query(table, names, bins)).to_pylist():
            profile = found.setdefault(str(row["partition"]), {})
            profile.update({name: _number_statistics(row, index, bins[name]) for index, name in enumerate(names)})
    rows = row_counts(engine, table)
    for name in bins:
        if bins[name].kind == "category":
            for partition, statistics in _category_statistics(engine, table, name, bins[name], rows).items():
                found.setdefault(partition, {})[name] = statistics
    return {partition: found[partition] for partition in sorted(found)}


def with_lone(engine: Engine, table: ir.Table, found: dict[str, Profile]) -> dict[str, Profile]:
    """The profiles of a reference with `lone` filled in for categories."""
    names = sorted({name for profile in found.values() for name, one in profile.items() if one.distinct is not None})
    lone: dict[tuple[str, str], int] = {}
    for name in names:
        present = table.filter(table[name].notnull())
        held = present.group_by(category=present[name].cast("string")).agg(
            partitions=present["partition"].nunique(), partition=present["partition"].max(), n=present.count()
        )
        alone = held.filter(held["partitions"] == 1)
        for row in engine.table(alone.group_by("partition").agg(n=alone["n"].sum())).to_pylist():
            lone[str(row["partition"]), name] = int(row["n"])
    return {
        key: {name: replace(one, lone=lone.get((key, name), 0)) for name, one in profile.items()}
        for key, profile in found.items()
    }


def row_counts(engine: Engine, table: ir.Table) -> dict[str, int]:
    """Rows per partition, in order of partitions."""
    counted = engine.table(table.group_by("partition").agg(rows=table.count()), order_by=["partition"])
    return {str(row["partition"]): int(row["rows"]) for row in counted.to_pylist()}


def merged(parts: Sequence[ColumnStatistics]) -> ColumnStatistics:
    """The statistics of all rows together (Chan et al. 1979 for mean and spread). `distinct` is a lower bound."""
    counts = tuple(sum(column) for column in zip(*(part.counts for part in parts), strict=True))
    known = [part for part in parts if part.mean is not None]
    values = sum(part.values for part in known)
    mean = sum(part.values * (part.mean or 0.0) for part in known) / values if values else None
    spread = sum(part.values * ((part.std or 0.0) ** 2 + ((part.mean or 0.0) - (mean or 0.0)) ** 2) for part in known)
    return ColumnStatistics(
        rows=sum(part.rows for part in parts),
        nulls=sum(part.nulls for part in parts),
        distinct=max((part.distinct for part in parts if part.distinct is not None), default=None),
        counts=counts,
        mean=_rounded(mean),
        std=_rounded(math.sqrt(spread / values)) if values else None,
        minimum=min((part.minimum for part in known if part.minimum is not None), default=None),
        maximum=max((part.maximum for part in known if part.maximum is not None), default=None),
    )


def _number_bins(engine: Engine, table: ir.Table, name: str) -> Bins:
    """Deciles, exact. A value that holds several deciles (an atom, e.g. 0) gets a bin of its own."""
    value = _finite(table[name])
    deciles = engine.table(table.aggregate(deciles=value.quantile(list(QUANTILES))))["deciles"][0].as_py() or []
    known = [float(decile) for decile in deciles if decile is not None]
    atoms = {decile for decile in known if known.count(decile) > 1}
    return Bins("number", edges=tuple(sorted({*known, *(math.nextafter(atom, math.inf) for atom in atoms)})))


def _category_bins(engine: Engine, table: ir.Table, name: str) -> Bins:
    present = table.filter(table[name].notnull())
    counts = present.group_by(category=present[name].cast("string")).agg(n=present.count())
    ordered = counts.order_by([ibis.desc("n"), "category"]).limit(MOST_KNOWN + 1)
    known = [str(text) for text in engine.table(ordered)["category"].to_pylist()]
    all_known = tuple(sorted(known)) if len(known) <= MOST_KNOWN else None
    return Bins("category", categories=tuple(known[:MOST_CATEGORIES]), known=all_known)


def _number_query(table: ir.Table, names: Sequence[str], bins: dict[str, Bins]) -> ir.Table:
    """One row per partition with all statistics of these columns, in one pass over the rows."""
    narrow = table.select("partition", **{f"c{index}": _finite(table[name]) for index, name in enumerate(names)})
    measures: dict[str, Any] = {"rows": narrow.count()}
    for index, name in enumerate(names):
        value = narrow[f"c{index}"]
        moderate = (value.abs() <= _LARGEST_SQUARED).ifelse(value, ibis.null("float64"))
        measures |= {
            f"c{index}_values": value.count(),
            f"c{index}_mean": moderate.mean(),
            f"c{index}_std": moderate.std(how="pop"),
            f"c{index}_min": value.min(),
            f"c{index}_max": value.max(),
        }
        for place, edge in enumerate(bins[name].edges):
            measures[f"c{index}_from_{place}"] = (value >= ibis.literal(edge, "float64")).cast("int64").sum()
    return narrow.group_by("partition").agg(**measures)


def _number_statistics(row: dict[str, Any], index: int, bins: Bins) -> ColumnStatistics:
    values = int(row[f"c{index}_values"])
    above = [values, *(int(row[f"c{index}_from_{place}"] or 0) for place in range(len(bins.edges))), 0]
    return ColumnStatistics(
        rows=int(row["rows"]),
        nulls=int(row["rows"]) - values,
        counts=tuple(upper - lower for upper, lower in pairwise(above)),
        mean=_rounded(row[f"c{index}_mean"]),
        std=_rounded(row[f"c{index}_std"]),
        minimum=row[f"c{index}_min"],
        maximum=row[f"c{index}_max"],
    )


def _category_statistics(
    engine: Engine, table: ir.Table, name: str, bins: Bins, rows: dict[str, int]
) -> dict[str, ColumnStatistics]:
    counted = {key: [0] * bins.count for key in rows}
    distinct = dict.fromkeys(rows, 0)
    for row in engine.table(_slot_query(engine, table, name, bins)).to_pylist():
        counted[str(row["partition"])][int(row["slot"])] = int(row["n"])
        distinct[str(row["partition"])] += int(row["categories"])
    return {
        key: ColumnStatistics(rows[key], rows[key] - sum(counts), tuple(counts), distinct[key])
        for key, counts in counted.items()
    }


def _slot_query(engine: Engine, table: ir.Table, name: str, bins: Bins) -> ir.Table:
    """Rows and categories per partition and slot; a category that the reference never held goes to the last slot."""
    slots = {category: slot for slot, category in enumerate(bins.categories)}
    other = len(slots)
    known = [*bins.categories, *(text for text in bins.known or () if text not in slots)]
    lookup = engine.memory(
        pa.table(
            {
                "known": pa.array(known, pa.string()),
                "slot": pa.array([slots.get(text, other) for text in known], pa.int64()),
            }
        )
    )
    present = table.filter(table[name].notnull()).select("partition", category=table[name].cast("string"))
    counts = present.group_by(["partition", "category"]).agg(n=present.count())
    unseen = other + 1 if bins.known is not None else other
    placed = counts.left_join(lookup, counts.category == lookup.known)
    placed = placed.select("partition", "n", slot=placed["slot"].fill_null(unseen))
    return placed.group_by(["partition", "slot"]).agg(n=placed["n"].sum(), categories=placed.count())


def _finite(column: ir.Value) -> ir.FloatingColumn:
    """The column as float64 with NaN and infinities as null: neither has a place on an axis."""
    value = column.cast("float64")
    return ibis.ifelse(value.isnan() | value.isinf(), ibis.null("float64"), value)


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.{_DIGITS}g}")


def _is_text(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_string(dtype) or pa.types.is_large_string(dtype))


def _is_number(dtype: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(dtype)
        or pa.types.is_floating(dtype)
        or pa.types.is_decimal(dtype)
        or pa.types.is_boolean(dtype)
    )
