"""Shapes of the small SVG drawings: points between 0 and 100 across and 0 and 24 down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

WIDTH, HEIGHT, MARGIN = 100.0, 24.0, 2.0


def records_curve(one: dict[str, Any]) -> dict[str, Any] | None:
    """Records read per partition, oldest first, from zero up; None below two partitions."""
    days = [row for row in reversed(one["partitions"]) if row["read"] is not None]
    if len(days) < 2:
        return None
    top = max(row["read"] for row in days) or 1
    return {
        "points": _line([(index, row["read"]) for index, row in enumerate(days)], len(days), 0, top),
        "changes": champion_changes(days),
        "first": days[0]["partition"],
        "last": days[-1]["partition"],
        "top": top,
    }


def quality_curve(one: dict[str, Any]) -> dict[str, Any] | None:
    """The metric on matured labels and, where it is known, its estimate without labels; None below two points.

    `realised` and `estimated` are points of one scale, `low` to `high`.
    """
    days = [row for row in reversed(one["partitions"]) if row["model"]]
    metric = next((_realised(row)["metric"] for row in reversed(days) if _realised(row)), None)
    if metric is None:
        return None
    realised = [(i, _realised(row)["value"]) for i, row in enumerate(days) if _realised(row).get("metric") == metric]
    estimated = [(i, _estimated(row)[metric]) for i, row in enumerate(days) if metric in _estimated(row)]
    if len(realised) < 2:
        return None
    values = [value for _, value in (*realised, *estimated)]
    low, high = min(values), max(values)
    return {
        "metric": metric,
        "realised": _line(realised, len(days), low, high),
        "estimated": _line(estimated, len(days), low, high) if len(estimated) > 1 else "",
        "changes": champion_changes(days),
        "first": days[0]["partition"],
        "last": days[-1]["partition"],
        "low": low,
        "high": high,
        "newest": realised[-1][1],
    }


def champion_changes(days: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Where another version scores than the partition before; `days` oldest first."""
    found, before = [], None
    for index, row in enumerate(days):
        if row["model"] and row["model"] != before:
            text = f"version {row['model']} scores from {row['partition']}"
            found.append({"x": _across(index, len(days)), "text": text, "version": row["model"]})
        before = row["model"] or before
    return found


def row_bars(row: dict[str, Any], largest: int) -> list[tuple[str, float]]:
    """(kind, width in percent of the largest partition) for the stacked bar of a partition's rows."""
    kinds = ("clean", "quarantined", "duplicate")
    return [(kind, round(100 * (row[kind] or 0) / largest, 2)) for kind in kinds if row[kind]]


def _line(values: Sequence[tuple[int, float]], count: int, low: float, high: float) -> str:
    """'x,y x,y ...' with the largest value on top; a flat line lies in the middle."""
    span = high - low
    return " ".join(
        f"{_across(index, count)},{_down((value - low) / span if span else 0.5)}" for index, value in values
    )


def _across(index: int, count: int) -> float:
    return round(WIDTH * index / max(1, count - 1), 2)


def _down(share: float) -> float:
    return round(HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * share, 2)


def _realised(row: dict[str, Any]) -> dict[str, Any]:
    return row["drift_numbers"].get("realised") or {}


def _estimated(row: dict[str, Any]) -> dict[str, Any]:
    return row["drift_numbers"].get("estimated") or {}
