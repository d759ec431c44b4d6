"""How good a model turned out, night by night, and whether that became better or worse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Night = Mapping[str, Any]
_ESTIMATES = ("roc_auc", "log_loss", "accuracy")  # of those that the monitor makes, the most telling first


def quality(nights: Sequence[Night]) -> dict[str, Any] | None:
    """The metric on matured labels per night and its estimate without labels; None where nothing was ever judged.

    Args:
        nights: newest first, as `nights` describes them, with their drift numbers.

    Returns:
        `metric`; `keys`, `values` and `estimated` (oldest first, None where unknown); `newest` and `newest_key`;
        `is_estimate`: there are no matured labels yet, so that `values` are estimates; `change`: see `_change`.
    """
    ordered = list(reversed(nights))
    realised = [_realised(night) for night in ordered]
    metric = next((one["metric"] for one in reversed(realised) if one), None)
    is_estimate = metric is None
    if metric is None:
        metric = next((name for name in _ESTIMATES if any(name in _estimated(night) for night in ordered)), None)
    if metric is None:
        return None
    estimated = [_estimated(night).get(metric) for night in ordered]
    values = [one["value"] if one and one["metric"] == metric else None for one in realised]
    values = estimated if is_estimate else values
    known = [place for place, value in enumerate(values) if value is not None]
    if not known:
        return None
    return {
        "metric": metric,
        "keys": [night["partition"] for night in ordered],
        "values": values,
        "estimated": [] if is_estimate else estimated,
        "newest": values[known[-1]],
        "newest_key": ordered[known[-1]]["partition"],
        "is_estimate": is_estimate,
        "change": None if is_estimate else _change([one for one in realised if one and one["metric"] == metric], known),
    }


def _change(realised: Sequence[Mapping[str, Any]], places: Sequence[int]) -> dict[str, Any] | None:
    """The newest value against the oldest: `word` (better, same, worse), `before`, and the `nights` between.

    "same" where the difference is within what the newest value's own interval explains. None with one value, or where
    nothing says whether more is better.
    """
    first, last = realised[0], realised[-1]
    sign = _sign(realised)
    if len(realised) < 2 or sign == 0:
        return None
    gained = sign * (last["value"] - first["value"])
    noise = (last["drop_high"] - last["drop_low"]) / 2
    word = "same" if abs(gained) <= noise else "better" if gained > 0 else "worse"
    return {"word": word, "before": first["value"], "nights": places[-1] - places[0]}


def _sign(realised: Sequence[Mapping[str, Any]]) -> int:
    """1 where more is better, -1 where less is: a drop is positive where the value is worse than on the holdout."""
    for one in reversed(realised):
        product = (one["holdout"] - one["value"]) * one["drop"]
        if product:
            return 1 if product > 0 else -1
    return 0


def champion_changes(nights: Sequence[Night]) -> dict[str, str]:
    """Partition to "v7" where another version scores than in the partition before; the first one seen is none.

    Args:
        nights: newest first.
    """
    found: dict[str, str] = {}
    before = None
    for night in reversed(nights):
        if night["model"] and before and night["model"] != before:
            found[night["partition"]] = f"v{night['model']}"
        before = night["model"] or before
    return found


def _realised(night: Night) -> Mapping[str, Any]:
    return night["drift_numbers"].get("realised") or {}


def _estimated(night: Night) -> Mapping[str, float]:
    return night["drift_numbers"].get("estimated") or {}
