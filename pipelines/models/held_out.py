"""Fits on the earlier rows and learns on the later ones, which the model never sees, how far its scores can be trusted.

Rows that were learnt from flatter a model: its scores on them are neither calibrated nor as wrong as they will be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.errors import ModelError
from pipelines.models.calibration import Calibrator
from pipelines.models.calibration_choice import FOLDS, choose_calibrator
from pipelines.models.checkpoints import Checkpoints
from pipelines.models.fitting import fit
from pipelines.models.folds import folds, latest
from pipelines.models.intervals import Conformal, fit_conformal
from pipelines.models.model import Model
from pipelines.models.recipe import Recipe, Rows
from pipelines.settings.tasks import VALUE_TASKS

# One in so many groups is kept back.
_GROUP_PARTS = 5


def fit_held_out(recipe: Recipe, rows: Rows, validation: np.ndarray | None, checkpoints: Checkpoints | None) -> Model:
    """`validation`: mask of the latest rows, which are kept back; whole groups instead where `training.group` is set.

    Where nothing comes of them (`auto` finds no calibration that helps), the model is the one of all rows.

    Raises:
        ModelError: E-TRAIN-CALIBRATION, E-TRAIN-INTERVALS when the rows that are kept back tell too little.
    """
    training = recipe.training
    plain = replace(recipe, training=training.model_copy(update={"calibration": None, "intervals": None}))
    kept = _kept_back(training.group, rows, validation)
    earlier, later = rows.take(~kept), rows.take(kept)
    model = fit(plain, earlier, latest(earlier), checkpoints.at("earlier") if checkpoints else None)
    scores = model.uncalibrated(later.table)
    usable = np.isfinite(scores) if scores.ndim == 1 else np.isfinite(scores).all(axis=1)
    calibrator, conformal, facts = _learnt(recipe, scores[usable], later.take(usable))
    if calibrator is None and conformal is None:
        model = fit(plain, rows, validation, checkpoints)
    else:
        facts |= {"fitted_rows": len(earlier), "kept_back": {"rows": len(later), **_span(later.table)}}
    return replace(model, calibrator=calibrator, conformal=conformal, facts={**model.facts, "uncertainty": facts})


def _learnt(
    recipe: Recipe, scores: np.ndarray, rows: Rows
) -> tuple[Calibrator | None, Conformal | None, dict[str, Any]]:
    """From uncalibrated scores: a set of classes must not rest on a curve that has seen the same rows."""
    training = recipe.training
    calibrator, conformal, facts = None, None, {}
    if training.calibration:
        # Of kept groups all first numbers are alike; five times as many tell them apart again.
        fold = folds(training.group, rows.table, _GROUP_PARTS * FOLDS) // _GROUP_PARTS
        calibrator, facts["calibration"] = choose_calibrator(training.calibration, scores, rows.target, fold)
    if training.intervals:
        is_value = training.task in VALUE_TASKS
        conformal = fit_conformal(training.intervals.coverage, scores, rows.target, is_value)
        facts["intervals"] = {**conformal.to_dict(), "rows": len(rows)}
    return calibrator, conformal, facts


def _kept_back(group: Sequence[str], rows: Rows, validation: np.ndarray | None) -> np.ndarray:
    """`(n_rows,)` True for the rows that the model must not see."""
    if group:
        kept = folds(group, rows.table, _GROUP_PARTS) == 0
    else:
        kept = np.zeros(len(rows), dtype=bool) if validation is None else validation
    if not kept.any() or kept.all():
        what = "the last training partitions and those before them must both hold two label values"
        if group:
            what = f"rows of several groups are needed, got {len(rows):,} rows that all fall on one side"
        raise ModelError(
            "E-TRAIN-CALIBRATION",
            "training.calibration, training.intervals",
            what,
            "The champion stays. Take a larger window, or leave them out.",
        )
    return kept


def _span(table: pa.Table) -> dict[str, str]:
    if "partition" not in table.column_names or not table.num_rows:
        return {}
    keys = table["partition"].unique().to_pylist()
    return {"first": min(keys), "last": max(keys)}
