"""Segments keep their names over retrainings: those of the champion, pinned with the training rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines.context import Context
from pipelines.models import load_model
from pipelines.models.segments import named_after

if TYPE_CHECKING:
    from pipelines.models.model import Model
    from pipelines.training.dataset import Frozen


def namesake_of(context: Context) -> dict[str, Any] | None:
    """Version and sha256 of the champion whose segments the next training's are compared with; None without one."""
    training = context.pipeline.training
    champion = context.ledger.champion(context.name) if training and training.task == "segments" else None
    row = context.ledger.model(context.name, champion["version"]) if champion else None
    if row is None or row["record"].get("task") != "segments":
        return None
    return {"version": row["version"], "sha256": row["artifact_sha256"]}


def with_known_names(context: Context, frozen: Frozen, model: Model, train: pa.Table) -> Model:
    """The model with the names of the pinned version, where there is one.

    Raises:
        ModelError: E-MODEL-HASH when its files are gone or others.
    """
    if frozen.named_after is None:
        return model
    return named_after(model, load_model(context, frozen.named_after["version"], "train"), train)
