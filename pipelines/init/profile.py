"""What each column of a sample holds: counts over all rows, and a random sample of rows for everything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from pipelines.init.rows import Native, Rows

SAMPLED_ROWS = 20_000
EXACT_ROWS = 5_000_000
_FEW = 60  # distinct values up to here are counted one by one
# Words that mean "no value" in numbers and times; in texts only those that are no word of any language.
MISSING_WORDS = ("na", "n/a", "#n/a", "null", "none", "nan", "nil", "?", "-", "--", ".", "\\n", "missing", "unknown")
MISSING_IN_TEXTS = ("n/a", "#n/a", "null", "nan", "?", "\\n")
_WHOLE = r"[+-]?[0-9]{1,18}"
_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"


@dataclass(frozen=True)
class Facts:
    """One column, counted over all rows; of more than five million rows `distinct` above sixty is an estimate
    (HyperLogLog, up to 20 % off).

    `missing`: texts that look like "no value" and how often; `whole` and `numbers` are texts that read as such,
    `padded` those with leading zeros. `top`: the most frequent values, all of them where `distinct` is at most sixty.
    """

    source_name: str
    native: Native
    rows: int
    filled: int
    distinct: int
    missing: dict[str, int] = field(default_factory=dict)
    whole: int = 0
    numbers: int = 0
    padded: int = 0
    shortest: int = 0
    longest: int = 0
    mean_length: float = 0.0
    blanks: float = 0.0
    low: float | None = None
    high: float | None = None
    nans: int = 0
    top: tuple[tuple[str, int], ...] = ()

    @property
    def meant(self) -> int:
        """Values that are not a word for "no value"."""
        return self.filled - sum(self.missing.values())

    @property
    def is_text(self) -> bool:
        return self.native in ("text", "json_text")

    @property
    def is_constant(self) -> bool:
        return self.distinct <= 1


def profile_columns(rows: Rows) -> dict[str, Facts]:
    """Facts of each column, by its name in the source."""
    return {name: _facts(rows, name, native) for name, native in rows.columns.items()}


def _facts(rows: Rows, name: str, native: Native) -> Facts:
    place = rows.place(name)
    if native == "other":
        return Facts(name, native, rows.count, 0, 0)
    counted = f"count(DISTINCT {place})" if rows.count <= EXACT_ROWS else f"approx_count_distinct({place})"
    filled, distinct = rows.one(f"SELECT count({place}), {counted} FROM cells")
    top: tuple[tuple[str, int], ...] = ()
    if distinct <= 2 * _FEW:
        query = f"SELECT CAST({place} AS VARCHAR), count(*) FROM cells WHERE {place} IS NOT NULL GROUP BY 1"
        top = tuple(rows.all(f"{query} ORDER BY 2 DESC, 1 LIMIT {2 * _FEW + 60}"))
        distinct = len(top) if len(top) <= _FEW else distinct
    found = _of_texts(rows, place) if native in ("text", "json_text") else _of_values(rows, place, native)
    return Facts(name, native, rows.count, filled, min(distinct, filled), top=top[:_FEW], **found)  # type: ignore[arg-type]


def _of_texts(rows: Rows, place: str) -> Mapping[str, object]:
    word = f"lower(trim({place}))"
    listed = ", ".join("'" + one + "'" for one in MISSING_WORDS)
    looks_missing = f"({word} IN ({listed}) OR trim({place}) = '')"
    missing = dict(rows.all(f"SELECT {place}, count(*) FROM cells WHERE {looks_missing} GROUP BY 1 ORDER BY 1"))
    meant = f"{place} IS NOT NULL AND NOT {looks_missing}"
    names = ("whole", "numbers", "padded", "shortest", "longest", "mean_length", "blanks", "low", "high")
    values = rows.one(
        f"SELECT count(*) FILTER (regexp_full_match({place}, '{_WHOLE}')), "
        f"count(*) FILTER (regexp_full_match({place}, '{_NUMBER}')), "
        f"count(*) FILTER (regexp_full_match({place}, '[+-]?0[0-9]+')), "
        f"coalesce(min(length({place})), 0), coalesce(max(length({place})), 0), coalesce(avg(length({place})), 0), "
        f"coalesce(avg(length({place}) - length(replace({place}, ' ', ''))), 0), "
        f"min(try_cast({place} AS DOUBLE)), max(try_cast({place} AS DOUBLE)) FROM cells WHERE {meant}"
    )
    return {"missing": missing, **dict(zip(names, values, strict=True))}


def _of_values(rows: Rows, place: str, native: Native) -> Mapping[str, object]:
    if native not in ("integer", "number"):
        return {}
    nans = f"count(*) FILTER (isnan(CAST({place} AS DOUBLE)))"
    known = f"CASE WHEN isfinite(CAST({place} AS DOUBLE)) THEN CAST({place} AS DOUBLE) END"
    count, low, high = rows.one(f"SELECT {nans}, min({known}), max({known}) FROM cells")
    return {"nans": count, "low": low, "high": high}


def sampled(rows: Rows) -> pa.Table:
    """At most twenty thousand random rows, the same at each call: columns `c0` ..., as the file holds them."""
    places = ", ".join(f"c{number}" for number in range(len(rows.columns)))
    query = f"SELECT {places} FROM cells"
    if rows.count > SAMPLED_ROWS:
        query += f" USING SAMPLE reservoir({SAMPLED_ROWS} ROWS) REPEATABLE (1)"
    return rows.table(query)
