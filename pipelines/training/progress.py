"""Where a long `tune` or `train` keeps what it has reached, so that the next attempt goes on from there."""

from __future__ import annotations

import json

from pipelines.context import Context
from pipelines.models.checkpoints import Checkpoints
from pipelines.models.recipe import Recipe
from pipelines.runs.step import code_version
from pipelines.storage.digests import combined
from pipelines.training.dataset import Frozen
from pipelines.training.provenance import installed

_LIBRARIES = ("xgboost", "xgboost-cpu", "torch", "optuna")


def checkpoints_of(context: Context, frozen: Frozen, recipe: Recipe) -> Checkpoints:
    """The checkpoints of just this fit: another recipe, other rows, other code or other libraries find none."""
    settings = recipe.training.checkpoints
    files = context.staged("checkpoints", frozen.snapshot_id, fit_digest(frozen, recipe))
    return Checkpoints(files, settings.keep) if settings else Checkpoints(files)


def fit_digest(frozen: Frozen, recipe: Recipe) -> str:
    """32 hex digits of all that a fit depends on: rows, recipe, parent, code and libraries."""
    return combined(
        json.dumps(frozen.digests, sort_keys=True),
        recipe.training.digest(),
        json.dumps([dict(recipe.types), recipe.classes, recipe.threads, recipe.device.kind]),
        *([json.dumps(frozen.warm_start, sort_keys=True)] if frozen.warm_start else []),
        code_version(),
        *(f"{name} {installed(name)}" for name in _LIBRARIES),
    )[:32]


def forget_checkpoints(context: Context, frozen: Frozen) -> None:
    """Removes all of this snapshot's, those of other recipes included: its model is registered."""
    Checkpoints(context.staged("checkpoints", frozen.snapshot_id)).clear()
