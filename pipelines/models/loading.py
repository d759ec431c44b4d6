"""Registered models from the store: checked against the ledger, then parsed."""

from __future__ import annotations

from pipelines.context import Context
from pipelines.errors import ModelError
from pipelines.models.artifact import artifact_sha256
from pipelines.models.device import CPU, resolve
from pipelines.models.model import Model
from pipelines.models.stored import read_stored


def load_registered(context: Context, version: int, step: str | None = None) -> Model:
    """See `pipelines.models.load_model`."""
    row = context.ledger.model(context.name, version)
    where = f"{context.name} version {version}"
    files = read_stored(context.home, row["artifact_uri"])
    found = artifact_sha256(files)
    if found != row["artifact_sha256"]:
        raise ModelError(
            "E-MODEL-HASH",
            where,
            f"the files must have sha256 {row['artifact_sha256'][:16]}..., got {found[:16]}...",
            f"They were changed or cut after training: restore them, or run 'nightshift rollback {context.name}'.",
        )
    threads = context.pipeline.resources_of(step or "score").cpus
    device = resolve(context.pipeline.resources_of(step), where) if step else CPU
    return Model.from_files(files, threads, device).with_version(version)
