"""Drift of columns by partition, from what the monitor's decisions keep in the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST_COLUMNS = 20
# A column may be watched or raise an alarm for other reasons than its shift: missing values, new categories, one value.
_AT_LEAST = {"quiet": 0.0, "watch": 0.8, "alarm": 1.2}


def drift_map(nights: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The most important columns first: `keys` (oldest first), `columns` and `values[column][key]`, each as a share of
    the limit that held for it (None where it was not compared), and `rows`, the same in words; None without any.

    Args:
        nights: newest first, with their drift numbers.
    """
    compared = [night for night in reversed(nights) if night["drift_numbers"].get("columns")]
    if not compared:
        return None
    importance: dict[str, float] = {}
    for night in compared:  # the newest word about a column holds
        importance |= {name: one["importance"] or 0.0 for name, one in night["drift_numbers"]["columns"].items()}
    ordered = sorted(importance, key=lambda name: (-importance[name], name))
    names = ordered[:MOST_COLUMNS]
    keys = [night["partition"] for night in reversed(nights)]
    by_key = {night["partition"]: night["drift_numbers"]["columns"] for night in compared}
    values = [[_share(by_key.get(key, {}).get(name)) for key in keys] for name in names]
    newest = compared[-1]
    rows = [
        _row(name, importance[name], line, newest["drift_numbers"]["columns"].get(name))
        for name, line in zip(names, values, strict=True)
    ]
    return {
        "keys": keys,
        "columns": names,
        "values": values,
        "rows": rows,
        "newest": newest["partition"],
        "left_out": len(ordered) - len(names),
    }


def _share(one: Mapping[str, Any] | None) -> float | None:
    if one is None:
        return None
    limit = one.get("psi_retrain")
    share = (one.get("psi") or 0.0) / limit if limit else 0.0
    return float(max(share, _AT_LEAST.get(one["grade"], 0.0)))


def _row(
    name: str, importance: float, shares: Sequence[float | None], newest: Mapping[str, Any] | None
) -> dict[str, Any]:
    return {
        "column": name,
        "importance": importance,
        "passed": sum(share is not None and share > 1 for share in shares),
        "compared": sum(share is not None for share in shares),
        "psi": newest.get("psi") if newest else None,
        "limit": newest.get("psi_retrain") if newest else None,
        "grade": newest["grade"] if newest else None,
        "null_share": newest.get("null_share") if newest else None,
        "new_share": newest.get("new_share") if newest else None,
    }
