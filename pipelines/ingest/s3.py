"""Copies one object of an S3 store to a scratch file."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlparse

from pipelines.storage.s3 import copy_object


def download(url: str, scratch: Path, where: str, suffixes: tuple[str, ...]) -> tuple[Path, dict[str, str]] | None:
    """The local copy of the object and the texts of its sidecars, or None when there is no such object.

    Raises:
        StorageError: E-S3-DENIED, E-S3-UNAVAILABLE (after some attempts).
        ConfigError: E-S3-BUCKET when the bucket does not exist.
    """
    bucket, key = urlparse(url).netloc, urlparse(url).path.lstrip("/")
    target = scratch / "object"
    if not copy_object(bucket, key, target, where):
        return None
    texts = {}
    for suffix in suffixes:
        sidecar = scratch / f"sidecar{suffix}"
        if copy_object(bucket, key + suffix, sidecar, where):
            texts[suffix] = sidecar.read_text("utf-8", "replace")
    return target, texts
