"""Fitted models on shared storage, under the digest of their files: what the ledger names and scoring loads.

MLflow holds a copy for people; nothing here needs it.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.errors import ModelError, StorageError
from pipelines.home import Home
from pipelines.models.artifact import artifact_sha256, check_names, local_folder, read_artifact


def model_address(pipeline: str, sha256: str) -> str:
    """How the ledger names it: relative to the storage, so that a restored or moved one stays true."""
    return f"models/{pipeline}/{sha256}"


def store_model(home: Home, pipeline: str, files: Mapping[str, bytes]) -> str:
    """Writes the files of a fitted model and reads them back. Returns their sha256.

    Raises:
        StorageError: E-REG-STORE when they read back differently.
    """
    sha256 = artifact_sha256(files)
    address = model_address(pipeline, sha256)
    place = home.files(address)
    for entry in list(place.entries()):
        if entry.name not in files:
            place.remove(entry.name)
    for name, content in sorted(files.items()):
        place.write(name, content)
    require_stored(home, address, sha256)
    return sha256


def require_stored(home: Home, address: str, sha256: str) -> None:
    """Raises StorageError E-REG-STORE when the files are not the fitted ones."""
    fix = "Nothing was registered; the task is retried."
    try:
        stored = artifact_sha256(read_stored(home, address))
    except ModelError as error:
        raise StorageError("E-REG-STORE", address, error.what, fix) from error
    if stored != sha256:
        what = f"the stored model must have sha256 {sha256[:16]}..., got {stored[:16]}..."
        raise StorageError("E-REG-STORE", address, what, fix)


def read_stored(home: Home, address: str) -> dict[str, bytes]:
    """Every file of a model. The bytes that are hashed are the bytes that are parsed: read once.

    `address` as the ledger holds it; versions registered by earlier releases name a folder of MLflow's.

    Raises:
        ModelError: E-MODEL-HASH when there is none, or a file that no model has.
    """
    if "://" in address or address.startswith(("/", "file:")):
        return read_artifact(local_folder(address))
    place = home.files(address)
    found = {entry.name: place.read(entry.name) for entry in place.entries()}
    files = {name: content for name, content in found.items() if content is not None}
    check_names(files, place.root)
    return files
