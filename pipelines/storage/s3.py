"""Files in an S3 bucket through boto3: bounded retries and timeouts, conditional writes, lost answers read back.

Everything here may be done twice: reading, listing, writing the same bytes, deleting what is gone, and conditional
writes, whose refusal is settled by reading back. So `pipelines.calls` repeats it, and boto3 does not, save for the
parts of an upload.

Credentials come from boto3's standard chain only (environment, profile, instance role); the endpoint of another store
than Amazon's from AWS_ENDPOINT_URL.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlparse

from pipelines.calls import Service, call
from pipelines.errors import ConfigError, StorageError, quote
from pipelines.storage.durable import named_errors
from pipelines.storage.files import Entry, newest_changes

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_SECONDS, READ_SECONDS = 5, 60
Answer = TypeVar("Answer")
_BLOCK = 1 << 20
_PART_BYTES = 64 << 20  # larger files go up in parts
_ABSENT = {"NoSuchKey", "404", "NotFound"}
_DENIED = {"AccessDenied", "403", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}
_REFUSED = {"InvalidRequest", "InvalidArgument", "NotImplemented", "MalformedTrailerError"}
_LOST_RACE = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}
_BUSY_STATUS = {429, 500, 502, 503, 504}
_BUSY = {"SlowDown", "RequestTimeout", "Throttling", "ThrottlingException"}


def is_passing(error: BaseException) -> bool:
    """Whether the same request may succeed soon: no connection, no answer, a cut body, or a store that is busy."""
    from botocore.exceptions import ClientError, ConnectionError, HTTPClientError, IncompleteReadError
    from urllib3.exceptions import HTTPError

    if not isinstance(error, StorageError) or error.code != "E-S3-UNAVAILABLE":
        return False
    cause = error.__cause__
    if isinstance(cause, ClientError):
        status = cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status in _BUSY_STATUS or error_code(cause) in _BUSY
    return cause is None or isinstance(cause, ConnectionError | HTTPClientError | IncompleteReadError | HTTPError)


STORE = Service("s3", "E-S3-DOWN", "the object store", is_passing, seconds=120.0)


def client(attempts: int = 1) -> S3Client:
    """The S3 client of this process and its AWS_* variables; a fork makes its own, connections cannot be shared."""
    variables = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    return _client(os.getpid(), variables, attempts)


@lru_cache(maxsize=4)
def _client(_process: int, _variables: tuple[tuple[str, str], ...], attempts: int) -> S3Client:
    import boto3
    from botocore.config import Config

    settings = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"total_max_attempts": attempts, "mode": "standard"},
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
        StorageError: E-S3-DENIED, E-PRE-CLOCK, E-S3-REFUSED, E-S3-UNAVAILABLE.
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
            raise StorageError("E-S3-DENIED", where, what, "Give this role the right.") from error
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


def _ask(action: str, bucket: str, key: str, work: Callable[[], Answer], where: str = "storage") -> Answer:
    """The answer of `work`, repeated while the store is away; trouble is named as in `s3_errors`."""

    def named() -> Answer:
        with s3_errors(action, bucket, key, where):
            return work()

    return call(STORE, f"s3://{bucket}", f"{action} {quote(key)}", named)


def _unavailable(action: str, target: str, where: str, why: str) -> StorageError:
    what = f"{action} {target} did not succeed: {why}"
    return StorageError("E-S3-UNAVAILABLE", where, what, "Nothing was published; it is tried again.")


def copy_object(bucket: str, key: str, target: Path, where: str = "storage") -> bool:
    """Streams an object into `target`; False when it does not exist. A body that was cut short is an error."""

    def copy() -> bool:
        answer = _unless_absent(lambda: client().get_object(Bucket=bucket, Key=key))
        if answer is None:
            return False
        with target.open("wb") as file:
            for block in answer["Body"].iter_chunks(_BLOCK):
                file.write(block)
        if target.stat().st_size != answer["ContentLength"]:
            raise _unavailable("reading", quote(f"s3://{bucket}/{key}"), where, "the body was cut short")
        return True

    return _ask("reading", bucket, key, copy, where)


def read_start(bucket: str, key: str, most: int, where: str = "storage") -> bytes | None:
    """The first `most` bytes of an object, None when it does not exist."""

    def get() -> bytes | None:
        answer = _unless_absent(lambda: client().get_object(Bucket=bucket, Key=key))
        if answer is None:
            return None
        with answer["Body"] as body:
            content = bytes(body.read(most))
        if len(content) != min(most, answer["ContentLength"]):
            raise _unavailable("reading", quote(f"s3://{bucket}/{key}"), where, "the body was cut short")
        return content

    return _ask("reading", bucket, key, get, where)


def _unless_absent(request: Callable[[], Any]) -> Any:
    """The answer, None when the store says that there is no such object."""
    from botocore.exceptions import ClientError

    try:
        return request()
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
        key = self._key(name)
        self._ask("writing", key, lambda: client().put_object(Bucket=self.bucket, Key=key, Body=content))

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

        def send() -> int:
            try:
                self._upload(source, key)
            except ClientError as error:
                if error_code(error) != "NoSuchUpload":
                    raise
                # The upload was completed and only the answer lost, or it was ended: sent again it is whole for sure.
                self._upload(source, key)
            return int(client(STORE.attempts).head_object(Bucket=self.bucket, Key=key)["ContentLength"])

        # Once: boto3 repeats the part that failed, and not the gigabytes before it.
        with s3_errors("writing", self.bucket, key):
            stored = call(replace(STORE, attempts=1), f"s3://{self.bucket}", f"writing {quote(key)}", send)
        if stored != source.stat().st_size:
            raise _unavailable("writing", quote(self.address(name)), "storage", f"{stored} bytes arrived")

    def _upload(self, source: Path, key: str) -> None:
        from boto3.exceptions import S3UploadFailedError
        from boto3.s3.transfer import TransferConfig

        parts = TransferConfig(multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, max_concurrency=4)
        try:
            client(STORE.attempts).upload_file(str(source), self.bucket, key, Config=parts)
        except S3UploadFailedError as error:
            raise error.__context__ or error from error

    def fetch(self, name: str, scratch: Path) -> Path | None:
        target = scratch / name
        with named_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            return target if copy_object(self.bucket, self._key(name), target) else None

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        yield from self._ask("listing", self._key(prefix), lambda: self._listed(prefix))

    def _listed(self, prefix: str) -> list[Entry]:
        start = len(self._key(""))
        pages = client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._key(prefix))
        return [
            Entry(item["Key"][start:], item["Size"], item["LastModified"].timestamp())
            for page in pages
            for item in page.get("Contents", [])
        ]

    def remove(self, name: str) -> None:
        key = self._key(name)
        self._ask("deleting", key, lambda: client().delete_object(Bucket=self.bucket, Key=key))

    def prepare(self, needed_bytes: int) -> None:  # noqa: ARG002 - a bucket has no free space to ask for
        require_conditional_writes(self.at("_probe"))

    def folders(self, depth: int) -> dict[str, float]:
        return newest_changes(self.entries(), depth)

    def remove_folder(self, name: str) -> None:
        for entry in list(self.entries(f"{name}/")):
            self.remove(entry.name)

    def unfinished(self, before: float, remove: bool) -> list[str]:
        """Multipart uploads that were never completed: they cost space and no listing shows them."""
        return self._ask("ending uploads below", self._key(""), lambda: self._end_uploads(before, remove))

    def _end_uploads(self, before: float, remove: bool) -> list[str]:
        ended = []
        start = len(self._key(""))
        pages = client().get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=self._key(""))
        for upload in (upload for page in pages for upload in page.get("Uploads", [])):
            if upload["Initiated"].timestamp() < before:
                ended.append(upload["Key"][start:])
                if remove:
                    client().abort_multipart_upload(Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        return ended

    def _ask(self, action: str, key: str, work: Callable[[], Answer]) -> Answer:
        return _ask(action, self.bucket, key, work)

    def _key(self, name: str) -> str:
        prefix = urlparse(self.root).path.strip("/")
        return f"{prefix}/{name}" if prefix else name

    def _read(self, name: str) -> tuple[bytes | None, str]:
        """Content and entity tag; (None, '') when absent."""
        key = self._key(name)

        def get() -> tuple[bytes | None, str]:
            answer = _unless_absent(lambda: client().get_object(Bucket=self.bucket, Key=key))
            return (None, "") if answer is None else (answer["Body"].read(), answer["ETag"])

        return self._ask("reading", key, get)

    def _put_if(self, name: str, content: bytes, **condition: str) -> bool:
        """Whether the object holds `content` now.

        A request whose answer was lost is repeated; the repetition then fails on our own object. So a refused
        condition is settled by reading back.
        """
        from botocore.exceptions import ClientError

        key = self._key(name)

        def put() -> bool:
            try:
                client().put_object(Bucket=self.bucket, Key=key, Body=content, **condition)  # type: ignore[arg-type]
            except ClientError as error:
                if error_code(error) not in _LOST_RACE | _ABSENT:
                    raise
                return False
            return True

        return self._ask("writing", key, put) or self.read(name) == content


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
