"""Delta tables, partitioned by `partition`: one commit replaces exactly one partition, or nothing happens.

Readers hold a snapshot (one version), so they never see half a day. A writer starts from the snapshot that it
read; if somebody else replaced the same partition since, the commit is refused instead of overwriting.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from pipelines.errors import StorageError
from pipelines.storage.digests import RowDigest

METADATA_KEY = "nightshift"
_WRITER = WriterProperties(compression="ZSTD", compression_level=3, max_row_group_size=131_072)
_HISTORY_SCANNED = 200


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
        return cls(uri, DeltaTable(uri).version() if DeltaTable.is_deltatable(uri) else -1)

    @property
    def exists(self) -> bool:
        return self.version >= 0

    @property
    def name(self) -> str:
        return self.uri.rstrip("/").rsplit("/", 1)[-1]

    def delta(self) -> DeltaTable:
        return DeltaTable(self.uri, version=self.version)

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

    def read(self, partitions: Iterable[str], columns: list[str] | None = None) -> pa.Table:
        """Rows of these partitions as one table; meant for small results, the engine streams large ones."""
        keys = sorted(set(partitions))
        if not self.exists:
            raise StorageError("E-STORE-MISSING", self.name, "the table does not exist yet")
        return self.delta().to_pyarrow_table(partitions=[("partition", "in", keys)] if keys else None, columns=columns)


def publish(
    base: Snapshot,
    partition: str,
    rows: pa.Table | pa.RecordBatchReader,
    metadata: dict[str, str],
    scope: dict[str, str] | None = None,
) -> Written:
    """Replaces one partition (within it only `scope`, e.g. one stage) by `rows`, in one commit on top of `base`.

    Raises:
        PublishConflict: another writer replaced the partition after `base` was read.
        StorageError: the store refused; the table is unchanged.
    """
    reader = rows.to_reader() if isinstance(rows, pa.Table) else rows
    digest = RowDigest(reader.schema)
    where = {"partition": partition, **(scope or {})}
    properties = CommitProperties(custom_metadata={METADATA_KEY: json.dumps(metadata, sort_keys=True)})
    stream = pa.RecordBatchReader.from_batches(reader.schema, digest.watch(reader))
    try:
        if not base.exists:
            _create(base.uri, reader.schema, list(where))
            base = Snapshot(base.uri, 0)
        target = base.delta()
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
        raise PublishConflict(
            "E-PUB-CONFLICT", f"{base.name} {partition}", "another run published this partition meanwhile"
        ) from error
    except DeltaError as error:
        raise StorageError("E-STORE-WRITE", f"{base.name} {partition}", str(error)[:300]) from error
    return Written(version=target.version(), rows=digest.rows, digest=digest.hexdigest())


def last_publication(uri: str, partition: str) -> dict[str, str] | None:
    """Metadata of the newest commit that published `partition`, or None. Looks at the last 200 commits."""
    latest = Snapshot.latest(uri)
    if not latest.exists:
        return None
    for commit in latest.delta().history(limit=_HISTORY_SCANNED):
        metadata = json.loads(commit.get(METADATA_KEY) or "{}")
        if metadata.get("partition") == partition:
            return metadata
    return None


def stream_files(paths: list[str], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Record batches of Parquet files in the given order, cast to `schema`."""
    import pyarrow.parquet as pq

    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from pa.Table.from_batches([batch]).select(schema.names).cast(schema).to_batches()


def _create(uri: str, schema: pa.Schema, partition_by: list[str]) -> None:
    """Creates the empty table; two writers may both try, the second finds it there."""
    DeltaTable.create(uri, schema=schema, mode="ignore", partition_by=partition_by)


def _sql_text(value: str) -> str:
    return value.replace("'", "''")


def _local_path(uri: str) -> str:
    parsed = urlparse(uri)
    return unquote(parsed.path) if parsed.scheme == "file" else uri if parsed.scheme else str(Path(uri))
