"""Files in an S3 bucket through boto3: bounded retries and timeouts, conditional writes, lost answers read back.

Credentials come from boto3's standard chain only (environment, profile, instance role); the endpoint of another store
than Amazon's from AWS_ENDPOINT_URL.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from pipelines.errors import ConfigError, StorageError, quote
from pipelines.storage.durable import named_errors
from pipelines.storage.files import Entry, newest_changes

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 5, 60, 4
_BLOCK = 1 << 20
_PART_BYTES = 64 << 20  # larger files go up in parts
_ABSENT = {"NoSuchKey", "404", "NotFound"}
_DENIED = {"AccessDenied", "403", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}
_REFUSED = {"InvalidRequest", "InvalidArgument", "NotImplemented", "MalformedTrailerError"}
_LOST_RACE = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}


def client() -> S3Client:
    """The S3 client of this process and its AWS_* variables; a fork makes its own, connections cannot be shared."""
    return _client(os.getpid(), tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_"))))


@lru_cache(maxsize=4)
def _client(_process: int, _variables: tuple[tuple[str, str], ...]) -> S3Client:
    import boto3
    from botocore.config import Config

    settings = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
    )
    # A session of its own: the default one keeps the first credentials that it found.
    return boto3.session.Session().client(
        "s3", endpoint_url=os.environ.get("AWS_ENDPOINT_URL") or None, config=settings
    )


def error_code(error: Exception) -> str:
    """The store's own code of a refused request, else the empty string."""
    answer = getattr(error, "response", None) or {}
    return str(answer.get("Error", {}).get("Code", ""))


@contextmanager
def s3_errors(action: str, bucket: str, key: str, where: str = "storage") -> Iterator[None]:
    """Turns trouble with the store into errors that name action and object, without any secret.

    Raises:
        ConfigError: E-S3-BUCKET when the bucket does not exist.
        StorageError: E-S3-DENIED, E-PRE-CLOCK, E-S3-REFUSED, E-S3-UNAVAILABLE (after ATTEMPTS attempts).
    """
    from botocore.exceptions import BotoCoreError, ClientError, IncompleteReadError
    from urllib3.exceptions import HTTPError

    target = quote(f"s3://{bucket}/{key}")
    try:
        yield
    except ClientError as error:
        code = error_code(error)
        if code == "NoSuchBucket":
            what = f"the bucket {quote(bucket)} does not exist"
            raise ConfigError("E-S3-BUCKET", where, what, "Create it, or correct NIGHTSHIFT_STORAGE.") from error
        if code in _DENIED:
            what = f"{action} {target} was denied ({code})"
            raise StorageError("E-S3-DENIED", where, what, "Give this role the right, then clear the task.") from error
        if code == "RequestTimeTooSkewed":
            what = "this machine's clock must agree with the object store's to within minutes"
            raise StorageError("E-PRE-CLOCK", where, what, "Synchronise the clock.") from error
        if code in _REFUSED:
            what = f"{action} {target} was refused ({code})"
            fix = (
                "A store that does not know checksum headers needs AWS_REQUEST_CHECKSUM_CALCULATION=when_required and "
                "AWS_RESPONSE_CHECKSUM_VALIDATION=when_required."
            )
            raise StorageError("E-S3-REFUSED", where, what, fix) from error
        raise _unavailable(action, target, where, code) from error
    except (BotoCoreError, IncompleteReadError, HTTPError) as error:
        raise _unavailable(action, target, where, type(error).__name__) from error


def _unavailable(action: str, target: str, where: str, why: str) -> StorageError:
    what = f"{action} {target} did not succeed within {ATTEMPTS} attempts: {why}"
    return StorageError("E-S3-UNAVAILABLE", where, what, "Nothing was published; it is tried again.")


def copy_object(bucket: str, key: str, target: Path, where: str = "storage") -> bool:
    """Streams an object into `target`; False when it does not exist. A body that was cut short is an error."""
    with s3_errors("reading", bucket, key, where):
        answer = _unless_absent(lambda: client().get_object(Bucket=bucket, Key=key))
        if answer is None:
            return False
        with target.open("wb") as file:
            for block in answer["Body"].iter_chunks(_BLOCK):
                file.write(block)
        if target.stat().st_size != answer["ContentLength"]:
            raise _unavailable("reading", quote(f"s3://{bucket}/{key}"), where, "the body was cut short")
    return True


def _unless_absent(call: Callable[[], Any]) -> Any:
    """The answer, None when the store says that there is no such object."""
    from botocore.exceptions import ClientError

    try:
        return call()
    except ClientError as error:
        if error_code(error) in _ABSENT:
            return None
        raise


@dataclass(frozen=True)
class S3Files:
    """Files below `s3://bucket/prefix`."""

    root: str

    @property
    def bucket(self) -> str:
        return urlparse(self.root).netloc

    def at(self, *parts: str) -> S3Files:
        return S3Files("/".join([self.root.rstrip("/"), *parts]))

    def address(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}"

    def read(self, name: str) -> bytes | None:
        return self._read(name)[0]

    def write(self, name: str, content: bytes) -> None:
        with s3_errors("writing", self.bucket, self._key(name)):
            client().put_object(Bucket=self.bucket, Key=self._key(name), Body=content)

    def create(self, name: str, content: bytes) -> bool:
        return self._put_if(name, content, IfNoneMatch="*")

    def swap(self, name: str, expected: bytes | None, content: bytes) -> bool:
        if expected is None:
            return self.create(name, content)
        found, tag = self._read(name)
        if found != expected:
            return found == content
        return self._put_if(name, content, IfMatch=tag)

    def upload(self, source: Path, name: str) -> None:
        from botocore.exceptions import ClientError

        key = self._key(name)
        with s3_errors("writing", self.bucket, key):
            try:
                self._upload(source, key)
            except ClientError as error:
                if error_code(error) != "NoSuchUpload":
                    raise
                # The upload was completed and only the answer lost, or it was ended: sent again it is whole for sure.
                self._upload(source, key)
            stored = client().head_object(Bucket=self.bucket, Key=key)["ContentLength"]
        if stored != source.stat().st_size:
            raise _unavailable("writing", quote(self.address(name)), "storage", f"{stored} bytes arrived")

    def _upload(self, source: Path, key: str) -> None:
        from boto3.exceptions import S3UploadFailedError
        from boto3.s3.transfer import TransferConfig

        parts = TransferConfig(multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, max_concurrency=4)
        try:
            client().upload_file(str(source), self.bucket, key, Config=parts)
        except S3UploadFailedError as error:
            raise error.__context__ or error from error

    def fetch(self, name: str, scratch: Path) -> Path | None:
        target = scratch / name
        with named_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            return target if copy_object(self.bucket, self._key(name), target) else None

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        start = len(self._key(""))
        with s3_errors("listing", self.bucket, self._key(prefix)):
            pages = client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._key(prefix))
            for page in pages:
                for item in page.get("Contents", []):
                    yield Entry(item["Key"][start:], item["Size"], item["LastModified"].timestamp())

    def remove(self, name: str) -> None:
        with s3_errors("deleting", self.bucket, self._key(name)):
            client().delete_object(Bucket=self.bucket, Key=self._key(name))

    def prepare(self, needed_bytes: int) -> None:  # noqa: ARG002 - a bucket has no free space to ask for
        require_conditional_writes(self.at("_probe"))

    def folders(self, depth: int) -> dict[str, float]:
        return newest_changes(self.entries(), depth)

    def remove_folder(self, name: str) -> None:
        for entry in list(self.entries(f"{name}/")):
            self.remove(entry.name)

    def unfinished(self, before: float, remove: bool) -> list[str]:
        """Multipart uploads that were never completed: they cost space and no listing shows them."""
        ended = []
        start = len(self._key(""))
        with s3_errors("ending uploads below", self.bucket, self._key("")):
            pages = client().get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=self._key(""))
            for upload in (upload for page in pages for upload in page.get("Uploads", [])):
                if upload["Initiated"].timestamp() < before:
                    ended.append(upload["Key"][start:])
                    if remove:
                        client().abort_multipart_upload(
                            Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                        )
        return ended

    def _key(self, name: str) -> str:
        prefix = urlparse(self.root).path.strip("/")
        return f"{prefix}/{name}" if prefix else name

    def _read(self, name: str) -> tuple[bytes | None, str]:
        """Content and entity tag; (None, '') when absent."""
        key = self._key(name)
        with s3_errors("reading", self.bucket, key):
            answer = _unless_absent(lambda: client().get_object(Bucket=self.bucket, Key=key))
            return (None, "") if answer is None else (answer["Body"].read(), answer["ETag"])

    def _put_if(self, name: str, content: bytes, **condition: str) -> bool:
        """Whether the object holds `content` now.

        boto3 repeats a request whose answer was lost; the repetition then fails on our own object. So a refused
        condition is settled by reading back.
        """
        from botocore.exceptions import ClientError

        with s3_errors("writing", self.bucket, self._key(name)):
            try:
                client().put_object(Bucket=self.bucket, Key=self._key(name), Body=content, **condition)  # type: ignore[arg-type]
            except ClientError as error:
                if error_code(error) not in _LOST_RACE | _ABSENT:
                    raise
                return self.read(name) == content
        return True


@lru_cache(maxsize=16)
def require_conditional_writes(files: S3Files) -> None:
    """Refuses a store that ignores `If-None-Match`: two writers would overwrite each other unseen. Asked once.

    Raises:
        StorageError: E-S3-NO-CAS.
    """
    files.write("conditional-writes", b"first")
    if files.create("conditional-writes", b"second"):
        raise StorageError(
            "E-S3-NO-CAS",
            files.root,
            "the object store must refuse 'If-None-Match: *' for an existing object, but it overwrote it",
            "Use a store with conditional writes (Amazon S3, MinIO, Ceph Squid, SeaweedFS 3.9x or newer).",
        )
