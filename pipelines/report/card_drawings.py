"""The drawings of a model card, from its facts; the page of a version shows some of them, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.report import plots

_MOST_PANELS = 12
_ROOM = 0.04  # of the scale, above and below


def calibration(card: Mapping[str, Any]) -> str:
    """Empty where it was not measured."""
    curve = (card["evaluation"] or {}).get("calibration") or []
    if not curve:
        return ""
    share = "right" if card["model"]["task"] == "multiclass" else "positive"
    return plots.calibration("Calibration on the holdout", curve, before=card["uncertainty"]["before"], share=share)


def importance(card: Mapping[str, Any]) -> str:
    """Empty where no loss was measured, or none differs from zero."""
    rows = [(row["feature"], row["loss"], row["spread"]) for row in card["importance"] if row["loss"] is not None]
    metric = ((card["explanation"] or {}).get("permutation") or {}).get("metric") or "the metric"
    return plots.importance(f"Loss of {metric} without the feature", rows, metric=metric)


def dependence(card: Mapping[str, Any]) -> dict[str, Any]:
    """One drawing per feature, all on one scale of scores, so that steep and flat ones can be told apart.

    `panels`: {"feature", "drawing", "left_out" (values that are not drawn)}; `outputs`: what lines and bars stand for;
    `low` and `high`: the scale, from the lowest mean score (or zero) to the highest; `left_out`: features that are not
    drawn. Empty where nothing was computed.
    """
    found = (card["explanation"] or {}).get("dependence") or []
    known = [one for one in found if len(one["values"]) > 1 and _means(one)]
    shown = known[:_MOST_PANELS]
    if not shown:
        return {}
    means = [mean for one in shown for mean in _means(one)]
    low, high = min(means), max(means)
    low = 0.0 if 0 < low < high - low else low  # bars begin at zero where that costs less than half of the scale
    room = _ROOM * (high - low) or 0.5
    return {
        "panels": [_panel(one, (low - room, high + room)) for one in shown],
        "outputs": plots.outputs(list(shown[0]["means"])),
        "low": low,
        "high": high,
        "left_out": len(known) - len(shown),
    }


def _panel(one: Mapping[str, Any], scale: tuple[float, float]) -> dict[str, Any]:
    # The codes of a category are no numbers: they have no order.
    values = one["values"] if one["type"] == "number" else [str(value) for value in one["values"]]
    kept = plots.drawn_values(values, len(one["means"]))
    drawing = plots.dependence(one["feature"], values, one["means"], scale=scale)
    return {"feature": one["feature"], "drawing": drawing, "left_out": len(values) - len(kept)}


def _means(one: Mapping[str, Any]) -> list[float]:
    return [mean for curve in one["means"].values() for mean in curve if mean is not None]
