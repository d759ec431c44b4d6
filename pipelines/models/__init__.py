"""Trained models: what may be trained, how values are prepared, and safe native files. Importing this stays light."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.models.allowed import model_problems

if TYPE_CHECKING:
    from pipelines.context import Context
    from pipelines.models.model import Model


def load_model(context: Context, version: int, step: str | None = None) -> Model:
    """The registered model `version`, its files checked against the ledger before any of them is parsed.

    It scores on the device of this step's resources, without a step on the CPU.

    Raises:
        ModelError: E-MODEL-UNKNOWN, E-MODEL-HASH (missing, cut or changed files) or E-MODEL-FORMAT; E-GPU-MISSING.
    """
    from pipelines.models.loading import load_registered

    return load_registered(context, version, step)


__all__ = ["load_model", "model_problems"]
