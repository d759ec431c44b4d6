"""What a model card says about calibration and intervals: how they were chosen, and what they are worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIGURES = ("log_loss", "brier", "calibration_error")


def uncertainty_facts(record: Mapping[str, Any]) -> dict[str, Any]:
    """`said`: sentences. `figures`: rows of a table, see FIGURES. `before`: the holdout's curve without calibration.

    All empty for a model that was asked for neither.
    """
    learnt = (record.get("facts") or {}).get("uncertainty") or {}
    measured = record.get("uncertainty") or {}
    calibration = measured.get("calibration") or {}
    return {
        "said": [*_kept_back(learnt), *_method(learnt), *_coverage(record, learnt, measured)],
        "figures": [*_holdout(record, calibration), *_tried(learnt)],
        "before": calibration.get("curve", []),
    }


def _kept_back(learnt: Mapping[str, Any]) -> list[str]:
    kept = learnt.get("kept_back")
    if kept is None:
        return []
    span = f" of {kept['first']} to {kept['last']}" if "first" in kept else ""
    return [
        f"The model learnt from {learnt['fitted_rows']:,} rows; {kept['rows']:,} training rows{span} were kept back to "
        "learn how far its scores can be trusted."
    ]


def _method(learnt: Mapping[str, Any]) -> list[str]:
    found = learnt.get("calibration")
    if found is None:
        return []
    if found["method"] == "none":
        return [
            f"Not calibrated: of {found['rows']:,} rows that the model had not seen, neither a sigmoid nor an isotonic "
            "curve made the log loss smaller by more than chance. The model learnt from all rows."
        ]
    why = "as the settings ask" if found["wanted"] != "auto" else "which had the smallest log loss on unseen rows"
    return [f"Calibrated: {found['method']}, {why} ({found['rows']:,} rows)."]


def _coverage(record: Mapping[str, Any], learnt: Mapping[str, Any], measured: Mapping[str, Any]) -> list[str]:
    found, bound = measured.get("intervals") or {}, (learnt.get("intervals") or {}).get("bound")
    if not found.get("rows"):
        return []
    low, high = found["interval"]
    is_value = record.get("task") == "regression"
    size = f"the score ± {bound:.5g}" if is_value else f"{found['size']:.3g} labels in the mean"
    return [
        f"{'Intervals' if is_value else 'Sets'} for {found['coverage']:.4g} of the labels: {size}. On the holdout "
        f"{found['realised']:.4g} of {found['rows']:,} labels lie within (95 % interval {low:.4g} to {high:.4g})."
    ]


def _holdout(record: Mapping[str, Any], calibration: Mapping[str, Any]) -> list[dict[str, Any]]:
    before = calibration.get("uncalibrated")
    if before is None:
        return []
    after = record.get("holdout_metrics") or {}
    return [
        {"name": "holdout, before", **{name: before.get(name) for name in FIGURES}},
        {"name": "holdout, after", **{name: after.get(name) for name in FIGURES}},
    ]


def _tried(learnt: Mapping[str, Any]) -> list[dict[str, Any]]:
    figures = (learnt.get("calibration") or {}).get("figures", {})
    return [{"name": f"rows kept back, {name}", **row} for name, row in figures.items()]
