"""Registered models from the store: checked against the ledger, then parsed."""

from __future__ import annotations

from pipelines.context import Context
from pipelines.errors import ModelError
from pipelines.models.artifact import artifact_sha256, local_folder, read_artifact
from pipelines.models.model import Model


def load_registered(context: Context, version: int) -> Model:
    """See `pipelines.models.load_model`."""
    row = context.ledger.model(context.name, version)
    where = f"{context.name} version {version}"
    files = read_artifact(local_folder(row["artifact_uri"]))
    found = artifact_sha256(files)
    if found != row["artifact_sha256"]:
        raise ModelError(
            "E-MODEL-HASH",
            where,
            f"the files must have sha256 {row['artifact_sha256'][:16]}..., got {found[:16]}...",
            f"They were changed or cut after training: restore them, or run 'nightshift rollback {context.name}'.",
        )
    return Model.from_files(files, context.pipeline.resources_of("score").cpus).with_version(version)
