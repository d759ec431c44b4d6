"""Delta tables, partitioned by `partition`: one commit replaces exactly one partition, or nothing happens.

Readers hold a snapshot (one version), so they never see half a day. A writer starts from the snapshot that it
read; if somebody else replaced the same partition since, the commit is refused instead of overwriting.

Tables lie in a folder or at `s3://`. There Delta's own store commits by conditional writes; data files are fetched to
local scratch before they are read, by the one client that notices a body that was cut short.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from pipelines.calls import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS
from pipelines.errors import StorageError
from pipelines.storage import s3
from pipelines.storage.digests import RowDigest
from pipelines.storage.durable import aside, named_errors
from pipelines.storage.files import open_files

METADATA_KEY = "nightshift"
_MARK_KEY = "nightshift_commit"  # names one attempt to commit
_WRITER = WriterProperties(compression="ZSTD", compression_level=3, max_row_group_size=131_072)
_HISTORY_SCANNED = 200
_FETCHED_AT_ONCE = 4
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_DENIED = re.compile(r"\b(403|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken)\b")


def storage_options(uri: str) -> dict[str, str] | None:
    """How deltalake reaches an `s3://` table: as boto3 does (see storage/s3.py); None for a folder.

    Credentials and endpoint come from the AWS_* variables or the rest of the standard chain, never from here.
    """
    if not uri.startswith("s3://"):
        return None
    return {
        "aws_conditional_put": "etag",
        "allow_http": str(os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")).lower(),
        "connect_timeout": f"{s3.CONNECT_SECONDS}s",
        "timeout": f"{s3.READ_SECONDS}s",
        # delta-rs repeats its own requests, as pipelines/calls.py does others. Its pauses are drawn between the first
        # one and `base` times the last one: with 4 they double on average.
        "max_retries": str(s3.STORE.attempts - 1),
        "retry_timeout": f"{s3.STORE.seconds:.0f}s",
        "backoff_config.init_backoff": f"{FIRST_PAUSE_SECONDS * 1000:.0f}ms",
        "backoff_config.max_backoff": f"{LONGEST_PAUSE_SECONDS:.0f}s",
        "backoff_config.base": "4",
    }


class PublishConflict(StorageError):
    """Somebody else published the same partition since this writer's snapshot."""


@dataclass(frozen=True)
class Written:
    """What one publication put into the table."""

    version: int
    rows: int
    digest: str


@dataclass(frozen=True)
class Snapshot:
    """One version of one table; `version` is -1 while the table does not exist."""

    uri: str
    version: int

    @classmethod
    def latest(cls, uri: str) -> Snapshot:
        """Raises StorageError when the store does not answer: a table that cannot be read is no absent one."""
        with store_errors(uri):
            try:
                return cls(uri, DeltaTable(uri, storage_options=storage_options(uri)).version())
            except TableNotFoundError:
                return cls(uri, -1)

    @property
    def exists(self) -> bool:
        return self.version >= 0

    @property
    def name(self) -> str:
        return self.uri.rstrip("/").rsplit("/", 1)[-1]

    def delta(self) -> DeltaTable:
        with store_errors(self.uri):
            return DeltaTable(self.uri, version=self.version, storage_options=storage_options(self.uri))

    def schema(self) -> pa.Schema:
        return pa.schema(self.delta().schema().to_arrow())

    def partitions(self) -> list[str]:
        """Keys of the partitions that hold rows, in order."""
        if not self.exists:
            return []
        return sorted({str(entry["partition"]) for entry in self.delta().partitions()})

    def files(self, partitions: Iterable[str]) -> list[str]:
        """Absolute paths (or URLs) of the data files of these partitions, in a stable order."""
        keys = sorted(set(partitions))
        if not self.exists or not keys:
            return []
        uris = self.delta().file_uris([("partition", "in", keys)])
        return sorted(_local_path(uri) for uri in uris)

    def local_files(self, partitions: Iterable[str], scratch: Path) -> list[str]:
        """The same files on this machine: those of a remote table are copied below `scratch`, each once.

        The copies keep their `partition=...` folders. A data file never changes under its name.
        """
        return self.fetch(self.files(partitions), scratch)

    def fetch(self, files: list[str], scratch: Path) -> list[str]:
        """Some of `files` on this machine, in the same order; see `local_files`."""
        if not files or "://" not in files[0]:
            return files
        copies = [scratch / self.name / file.removeprefix(self.uri.rstrip("/") + "/") for file in files]
        with ThreadPoolExecutor(_FETCHED_AT_ONCE) as pool:
            list(pool.map(_fetch, files, copies))
        return [str(copy) for copy in copies]

    def file_rows(self, partition: str) -> list[tuple[str, int]]:
        """The data files of one partition with their rows, in the order of `files`; from the log, nothing is read."""
        files = self.files([partition])
        if not files:
            return []
        actions = self.delta().get_add_actions(flatten=True)
        names, rows = actions.column("path").to_pylist(), actions.column("num_records").to_pylist()
        known = {name.rsplit("/", 1)[-1]: count for name, count in zip(names, rows, strict=True)}
        return [(file, int(known[file.rsplit("/", 1)[-1]])) for file in files]

    def read(self, partitions: Iterable[str], columns: list[str] | None = None, most: int | None = None) -> pa.Table:
        """Rows of these partitions as one table; meant for small results, the engine streams large ones.

        Args:
            most: stop after so many rows, whichever come first.
        """
        keys = sorted(set(partitions))
        if not self.exists:
            raise StorageError("E-STORE-MISSING", self.name, "the table does not exist yet")
        with store_errors(self.uri):
            wanted = [("partition", "in", keys)] if keys else None
            if most is not None:
                return self.delta().to_pyarrow_dataset(partitions=wanted).head(most, columns=columns)
            return self.delta().to_pyarrow_table(partitions=wanted, columns=columns)

    def count(self, partitions: Iterable[str], **others: Iterable[str]) -> int:
        """Rows by the footers of the data files; `others`: values of further partition columns."""
        keys = sorted(set(partitions))
        if not self.files(keys):
            return 0
        wanted = [("partition", "in", keys), *((name, "in", sorted(values)) for name, values in others.items())]
        with store_errors(self.uri):
            return int(self.delta().to_pyarrow_dataset(partitions=wanted).count_rows())


def publish(
    base: Snapshot,
    partition: str,
    rows: pa.Table | pa.RecordBatchReader,
    metadata: dict[str, str],
    scope: dict[str, str] | None = None,
) -> Written:
    """Replaces one partition (within it only `scope`, e.g. one stage) by `rows`, in one commit on top of `base`.

    A commit whose answer was lost is found by its mark and counts.

    Raises:
        PublishConflict: another writer replaced the partition after `base` was read.
        StorageError: the store refused; the table is unchanged.
    """
    reader = rows.to_reader() if isinstance(rows, pa.Table) else rows
    digest = RowDigest(reader.schema)
    where = {"partition": partition, **(scope or {})}
    mark = uuid.uuid4().hex
    properties = CommitProperties(custom_metadata={METADATA_KEY: json.dumps(metadata, sort_keys=True), _MARK_KEY: mark})
    stream = pa.RecordBatchReader.from_batches(reader.schema, digest.watch(reader))
    if not base.exists:
        _create(base.uri, reader.schema, list(where))
        base = Snapshot(base.uri, 0)
    target = base.delta()
    try:
        with store_errors(base.uri):
            write_deltalake(
                target,
                stream,
                mode="overwrite",
                predicate=" AND ".join(f"{column} = '{_sql_text(value)}'" for column, value in where.items()),
                schema_mode="merge",
                writer_properties=_WRITER,
                commit_properties=properties,
            )
    except CommitFailedError as error:
        found = _version_of(base, mark)
        if found is None:
            raise PublishConflict(
                "E-PUB-CONFLICT", f"{base.name} {partition}", "another run published this partition meanwhile"
            ) from error
    except StorageError:
        found = _version_of(base, mark)
        if found is None:
            raise
    else:
        found = target.version()
    return Written(version=found, rows=digest.rows, digest=digest.hexdigest())


def last_publication(uri: str, partition: str) -> dict[str, str] | None:
    """Metadata of the newest commit that published `partition`, or None. Looks at the last 200 commits."""
    for _, commit in _commits(uri, after=-1):
        metadata: dict[str, str] = json.loads(commit.get(METADATA_KEY) or "{}")
        if metadata.get("partition") == partition:
            return metadata
    return None


def _version_of(base: Snapshot, mark: str) -> int | None:
    """The version that the commit with this mark made after `base`; None when it never arrived."""
    found = (version for version, commit in _commits(base.uri, base.version) if commit.get(_MARK_KEY) == mark)
    return next(found, None)


def _commits(uri: str, after: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Version and facts of the commits since version `after`, newest first, at most 200.

    Read from the log's files: deltalake's `history` stops all threads of this process while it waits for the store.
    """
    log, newest = open_files(uri).at("_delta_log"), Snapshot.latest(uri).version
    for version in range(newest, max(after, newest - _HISTORY_SCANNED), -1):
        actions = [json.loads(line) for line in (log.read(f"{version:020d}.json") or b"").splitlines()]
        yield version, next((action["commitInfo"] for action in actions if "commitInfo" in action), {})


def _create(uri: str, schema: pa.Schema, partition_by: list[str]) -> None:
    """Creates the empty table; two writers may both try, the second finds it there."""
    options = storage_options(uri)
    try:
        with store_errors(uri):
            DeltaTable.create(uri, schema=schema, mode="ignore", partition_by=partition_by, storage_options=options)
    except (StorageError, CommitFailedError):
        # The answer was lost, or the other writer was faster.
        if not Snapshot.latest(uri).exists:
            raise


@contextmanager
def store_errors(uri: str) -> Iterator[None]:
    """Turns what deltalake raises for a store that refuses or is away into errors that name the table.

    Lost races pass, they are the caller's to judge; so does trouble with a local disk.
    """
    try:
        yield
    except (CommitFailedError, TableNotFoundError):
        raise
    except (DeltaError, OSError) as error:
        if isinstance(error, OSError) and "://" not in uri:
            raise
        text = " ".join(_COLOURS.sub("", str(error)).split())[:300]
        if "://" not in uri:
            raise StorageError("E-STORE-WRITE", uri, text) from error
        if _DENIED.search(text):
            s3.S3Files(uri).read("_delta_log/_last_checkpoint")  # boto3 says why: a right, a key or the clock

            raise StorageError("E-S3-DENIED", uri, text, "Give this role the right.") from error
        raise StorageError("E-S3-UNAVAILABLE", uri, text, "Nothing was published; it is tried again.") from error


def _fetch(url: str, copy: Path) -> None:
    if copy.exists():
        return
    copy.parent.mkdir(parents=True, exist_ok=True)
    place, written = urlparse(url), aside(copy)
    with named_errors(copy):
        is_there = s3.copy_object(place.netloc, place.path.lstrip("/"), written, url)
    if not is_there:
        what = "a data file of the table is missing"
        raise StorageError("E-STORE-MISSING", url, what, "Was it vacuumed or deleted? Run the partition again.")
    os.replace(written, copy)


def _sql_text(value: str) -> str:
    return value.replace("'", "''")


def _local_path(uri: str) -> str:
    parsed = urlparse(uri)
    return unquote(parsed.path) if parsed.scheme == "file" else uri if parsed.scheme else str(Path(uri))
