"""Model folders: which files may be in one, their digest, and writing one so that it is whole or absent."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlparse

from pipelines.errors import ModelError, names, quote

_ALLOWED = re.compile(
    r"(member_\d+\.)?"
    r"(model\.json|model\.ubj|(network|projection)\.safetensors|(estimator|imputer_\d+)\.skops)"
)


def artifact_sha256(files: Mapping[str, bytes]) -> str:
    """64 hex digits over the names and contents of the files, in the order of their names."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\x1f{hashlib.sha256(content).hexdigest()}\x1e".encode())
    return digest.hexdigest()


def read_artifact(folder: Path) -> dict[str, bytes]:
    """Every file of a model folder. The bytes that are hashed are the bytes that are parsed: read once.

    Raises:
        ModelError: E-MODEL-HASH when the folder is absent, empty or holds a file that no model has.
    """
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())} if folder.is_dir() else {}
    check_names(files, folder)
    return files


def check_names(files: Iterable[str], where: str | Path) -> None:
    """Raises ModelError E-MODEL-HASH when there is no file, or one that no model has."""
    foreign = [name for name in files if not _ALLOWED.fullmatch(name)]
    if foreign:
        raise ModelError("E-MODEL-HASH", "model", f"files that no model has: {names(foreign)}", "Nothing was loaded.")
    if not list(files):
        raise ModelError("E-MODEL-HASH", "model", f"no model files in {quote(where)}", "Restore them, or roll back.")


def write_artifact(files: Mapping[str, bytes], folder: Path) -> None:
    """Writes the folder under a temporary name and renames it; an equal folder that is there already is kept."""
    if folder.is_dir() and _same(files, folder):
        return
    aside = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    for name, content in sorted(files.items()):
        with (aside / name).open("wb") as sink:
            sink.write(content)
            sink.flush()
            os.fsync(sink.fileno())
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(aside, folder)


def local_folder(uri: str) -> Path:
    """The folder that a path or `file://` URI names."""
    parsed = urlparse(uri)
    if parsed.scheme not in ("", "file"):
        raise ModelError("E-MODEL-HASH", "model", f"the model must lie in a local folder, got {quote(uri)}")
    return Path(unquote(parsed.path) if parsed.scheme else uri)


def _same(files: Mapping[str, bytes], folder: Path) -> bool:
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    return found == dict(files)
