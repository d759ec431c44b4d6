"""How much partitions differ: the bounds on their row counts, and columns that some partition lacks altogether."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from pipelines.init.infer import Declared
from pipelines.init.life import Life
from pipelines.init.roles import source_sql
from pipelines.init.rows import Rows
from pipelines.settings.validation import Volume

_HEADROOM = 1.5


def volume_bounds(life: Life) -> tuple[float, float, str] | None:
    """Wider ratios to the median of the partitions before, where the sample's own leave the usual ones; else None."""
    usual = Volume()
    counts = [rows for _, rows, _ in life.counts]
    ratios = [
        (counts[place] / median(counts[max(0, place - usual.history_partitions) : place]), life.keys[place])
        for place in range(usual.history_min, len(counts))
    ]
    if not ratios:
        return None
    (low, low_at), (high, high_at) = min(ratios), max(ratios)
    if low >= usual.min_ratio and high <= usual.max_ratio:
        return None
    why = f"{low:.2f} ({low_at}) to {high:.1f} ({high_at}) times the median before"
    least = min(usual.min_ratio, _rounded(low / _HEADROOM))
    return least, max(usual.max_ratio, _rounded(high * _HEADROOM)), why


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")


def empty_somewhere(columns: Sequence[Declared], rows: Rows, partition: str) -> set[str]:
    """Names of columns without any value in some partition; `partition` is the SQL of a row's partition."""
    doubtful = [one for one in columns if one.facts.meant < one.facts.rows]
    if not doubtful:
        return set()
    counts = ", ".join(f"count({source_sql(one, rows)}) AS n{place}" for place, one in enumerate(doubtful))
    lowest = ", ".join(f"min(n{place})" for place in range(len(doubtful)))
    found = rows.one(f"SELECT {lowest} FROM (SELECT {counts} FROM cells GROUP BY {partition})")
    return {one.name for one, least in zip(doubtful, found, strict=True) if not least}
