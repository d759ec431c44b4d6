"""Shapes of a model card's drawings: points between 0 and 100 across and 0 and 100 down, text left to the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_SMALLEST_DOT, _LARGEST_DOT = 0.9, 2.8


def calibration_chart(curve: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Dots at (mean score, share positive), larger for more rows, and the line between them; None without a curve."""
    if not curve:
        return None
    most = max(point["rows"] for point in curve)
    dots = [
        {
            "x": _across(point["mean_score"], 0, 1),
            "y": _down(point["share_positive"], 0, 1),
            "size": round(_SMALLEST_DOT + (_LARGEST_DOT - _SMALLEST_DOT) * (point["rows"] / most) ** 0.5, 2),
            "text": f"{point['rows']:,} rows: mean score {point['mean_score']:.3g}, "
            f"{point['share_positive']:.3g} positive",
        }
        for point in curve
    ]
    return {"dots": dots, "line": " ".join(f"{dot['x']},{dot['y']}" for dot in dots)}


def loss_bars(importance: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Per measured feature: width of its bar in percent of the largest loss, and where its spread begins and ends."""
    measured = [row for row in importance if row["loss"] is not None]
    top = max((row["loss"] + row["spread"] for row in measured), default=0.0)
    if top <= 0:
        return {}
    return {
        row["feature"]: {
            "width": _percent(row["loss"] / top),
            "from": _percent((row["loss"] - row["spread"]) / top),
            "to": _percent((row["loss"] + row["spread"]) / top),
        }
        for row in measured
    }


def dependence_charts(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One drawing per feature, all on one scale of scores, so that steep and flat ones can be told apart.

    Numbers: a line per output. Texts: a bar per value and output.
    """
    shown = [one for one in found if len(one["values"]) > 1 and _means(one)]
    means = [value for one in shown for value in _means(one)]
    if not means:
        return []
    low, high = min(means), max(means)
    return [
        {
            "feature": one["feature"],
            "low": low,
            "high": high,
            "is_number": _is_number(one),
            "first": one["values"][0],
            "last": one["values"][-1],
            "lines": [{"output": name, "points": _line(one, curve, low, high)} for name, curve in one["means"].items()],
            "bars": _bars(one, low, high),
        }
        for one in shown
    ]


def _means(one: Mapping[str, Any]) -> list[float]:
    return [value for curve in one["means"].values() for value in curve if value is not None]


def _is_number(one: Mapping[str, Any]) -> bool:
    return one["type"] == "number" and not any(isinstance(value, str | bool) for value in one["values"])


def _line(one: Mapping[str, Any], curve: Sequence[float | None], low: float, high: float) -> str:
    if not _is_number(one):
        return ""
    left, right = one["values"][0], one["values"][-1]
    pairs = zip(one["values"], curve, strict=True)
    return " ".join(f"{_across(x, left, right)},{_down(y, low, high)}" for x, y in pairs if y is not None)


def _bars(one: Mapping[str, Any], low: float, high: float) -> list[dict[str, Any]]:
    """(value, output, mean, place between the lowest and the highest mean in percent)."""
    if _is_number(one):
        return []
    return [
        {"value": value, "output": name, "mean": mean, "width": _percent(_share(mean, low, high))}
        for name, curve in one["means"].items()
        for value, mean in zip(one["values"], curve, strict=True)
        if mean is not None
    ]


def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.5


def _across(value: float, low: float, high: float) -> float:
    return round(100 * _share(value, low, high), 2)


def _down(value: float, low: float, high: float) -> float:
    return round(100 - 100 * _share(value, low, high), 2)


def _percent(share: float) -> float:
    return round(100 * min(1.0, max(0.0, share)), 2)
