"""Copies one object of an S3 store to a scratch file, with explicit timeouts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from pipelines.errors import ConfigError, StorageError, quote

CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 5, 60, 4
_BLOCK = 1 << 20
_ABSENT = {"NoSuchKey", "404", "NotFound"}
_DENIED = {"AccessDenied", "403", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}


def download(url: str, scratch: Path, where: str, suffixes: tuple[str, ...]) -> tuple[Path, dict[str, str]] | None:
    """The local copy of the object and the texts of its sidecars, or None when there is no such object.

    Raises:
        StorageError: E-S3-DENIED, E-S3-UNAVAILABLE (after 4 attempts).
        ConfigError: E-S3-BUCKET when the bucket does not exist.
    """
    bucket, key = urlparse(url).netloc, urlparse(url).path.lstrip("/")
    client = _client()
    target = scratch / "object"
    if not _copy(client, bucket, key, target, where):
        return None
    texts = {}
    for suffix in suffixes:
        sidecar = scratch / f"sidecar{suffix}"
        if _copy(client, bucket, key + suffix, sidecar, where):
            texts[suffix] = sidecar.read_text("utf-8", "replace")
    return target, texts


def _client() -> Any:
    import boto3
    from botocore.config import Config

    settings = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"max_attempts": ATTEMPTS, "mode": "standard"},
    )
    return boto3.client("s3", endpoint_url=os.environ.get("AWS_ENDPOINT_URL") or None, config=settings)


def _copy(client: Any, bucket: str, key: str, target: Path, where: str) -> bool:
    """Streams the object; False when it does not exist. A body cut short raises, because its length is checked."""
    from botocore.exceptions import BotoCoreError, ClientError, IncompleteReadError
    from urllib3.exceptions import HTTPError

    try:
        answer = client.get_object(Bucket=bucket, Key=key)
        with target.open("wb") as file:
            for block in answer["Body"].iter_chunks(_BLOCK):
                file.write(block)
        if target.stat().st_size != answer["ContentLength"]:
            raise _unavailable(bucket, key, where, "the body was cut short")
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code"))
        if code in _ABSENT:
            return False
        if code == "NoSuchBucket":
            raise ConfigError("E-S3-BUCKET", where, f"the bucket {quote(bucket)} does not exist") from error
        if code in _DENIED:
            raise StorageError(
                "E-S3-DENIED", where, f"reading {quote(f's3://{bucket}/{key}')} was denied ({code})"
            ) from error
        raise _unavailable(bucket, key, where, code) from error
    except (BotoCoreError, IncompleteReadError, HTTPError) as error:
        raise _unavailable(bucket, key, where, type(error).__name__) from error
    return True


def _unavailable(bucket: str, key: str, where: str, why: str) -> StorageError:
    return StorageError(
        "E-S3-UNAVAILABLE",
        where,
        f"{quote(f's3://{bucket}/{key}')} could not be read within {ATTEMPTS} attempts: {why}",
        "Nothing was published; it is tried again.",
    )
