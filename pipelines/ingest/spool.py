"""Typed rows and refused records on scratch disk, until it is known that the whole source may be published."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.errors import DataError
from pipelines.ingest.columns import QUARANTINE, arrow_schema
from pipelines.ingest.records import Chunk, Reject
from pipelines.ingest.rules import Reasons, partition_window
from pipelines.partitions import Partition
from pipelines.settings.source import Column
from pipelines.storage.digests import RowDigest

_PLACE = [("ordinal", pa.int64()), ("source_line", pa.int64())]
_REJECTS = pa.schema([*_PLACE, ("record", pa.string()), ("reasons", pa.list_(pa.string()))])
_BATCH_ROWS = 65_536
_IMAGE_BATCH_ROWS = 1_024


@dataclass(frozen=True)
class Spooled:
    """Two scratch files of one partition's records; `sha256` is the digest of their content."""

    rows: Path
    rejects: Path
    parsed: int
    quarantined: int
    sha256: str

    @property
    def read(self) -> int:
        return self.parsed + self.quarantined


class Membership(Protocol):
    """Which records of one file belong to the partition, where the file holds those of several."""

    def belongs(self, typed: dict[str, pa.Array], at: np.ndarray, count: int) -> np.ndarray:
        """`(count,)` booleans, one per record of a chunk; row `i` of `typed` is record `at[i]`, and records that could
        not be read at all have no row."""
        ...


class Slicer:
    """Which records of one file belong to the partition, by their time.

    A record whose time cannot be read belongs where the record before it belongs (at the file's start: the one
    after it), so that over all partitions each record is read exactly once.
    """

    def __init__(self, column: Column, name: str, partition: Partition, where: str) -> None:
        self._name = name
        self._start, self._end = partition_window(partition, column)
        self._where = where
        self._last: bool | None = None

    def belongs(self, typed: dict[str, pa.Array], at: np.ndarray, count: int) -> np.ndarray:
        """See `Membership`; a null time is unknown."""
        times = typed[self._name]
        inside = pc.and_(
            pc.greater_equal(times, pa.scalar(self._start, times.type)),
            pc.less(times, pa.scalar(self._end, times.type)),
        )
        known = np.asarray(pc.is_valid(times))
        state = np.full(count, -1)
        state[at[known]] = np.asarray(pc.fill_null(inside, False))[known]
        if self._last is None:
            first = state[state >= 0]
            if not len(first):
                raise DataError(
                    "E-IN-TIME", self._where, f"no record at the file's start has a readable '{self._name}'"
                )
            self._last = bool(first[0])
        latest = np.maximum.accumulate(np.where(state >= 0, np.arange(count), -1))
        filled = np.where(latest >= 0, state[np.maximum(latest, 0)], int(self._last)).astype(bool)
        self._last = bool(filled[-1]) if count else self._last
        return filled


class Spool:
    """Writes chunks to scratch; ordinals count the records of this partition, from 0.

    `digested`: the content's sha256 is that of the rows and refused records, not that of a file.
    """

    def __init__(self, folder: Path, columns: dict[str, Column], slicer: Membership | None, digested: bool) -> None:
        folder.mkdir(parents=True)
        self._schema = pa.schema([*_PLACE, *arrow_schema(columns)])
        self._rows, self._rejects = folder / "rows.parquet", folder / "rejects.parquet"
        options = {"compression": "lz4", "use_dictionary": False, "write_statistics": False}
        self._row_writer = pq.ParquetWriter(self._rows, self._schema, **options)
        self._reject_writer = pq.ParquetWriter(self._rejects, _REJECTS, **options)
        schemas = [_without_lines(self._schema), _without_lines(_REJECTS)]
        self._digests = [RowDigest(schema) for schema in schemas] if digested else []
        self._slicer = slicer
        self._read = self._parsed = 0

    def add(self, chunk: Chunk, typed: dict[str, pa.Array], reasons: Reasons) -> None:
        refused = np.array(sorted(reasons), np.int64)
        rejects = [
            Reject(int(chunk.ordinals[row]), int(chunk.lines[row]), chunk.record(row), reasons[row])
            for row in refused.tolist()
        ]
        rejects = sorted([*chunk.rejects, *rejects], key=lambda reject: reject.ordinal)
        good = np.setdiff1d(np.arange(len(chunk.ordinals)), refused, assume_unique=True)
        count = len(chunk.ordinals) + len(chunk.rejects)
        if not count:
            return
        first = min([int(chunk.ordinals[0])] * bool(len(chunk.ordinals)) + [reject.ordinal for reject in chunk.rejects])
        mine = self._membership(chunk, typed, first, count)
        ordinals = self._read + np.cumsum(mine) - 1
        self._read += int(mine.sum())
        good = good[mine[chunk.ordinals[good] - first]]
        self._write_rows(typed, good, ordinals[chunk.ordinals[good] - first], chunk.lines[good], len(chunk.ordinals))
        self._write_rejects([reject for reject in rejects if mine[reject.ordinal - first]], ordinals, first)

    def _membership(self, chunk: Chunk, typed: dict[str, pa.Array], first: int, count: int) -> np.ndarray:
        if self._slicer is None:
            return np.ones(count, bool)
        return self._slicer.belongs(typed, chunk.ordinals - first, count)

    def _write_rows(
        self, typed: dict[str, pa.Array], good: np.ndarray, ordinals: np.ndarray, lines: np.ndarray, count: int
    ) -> None:
        if not len(good):
            return
        columns = list(typed.values())
        if len(good) < count:
            columns = [column.take(pa.array(good)) for column in columns]
        batch = pa.record_batch([pa.array(ordinals), pa.array(lines), *columns], schema=self._schema)
        self._parsed += batch.num_rows
        if self._digests:
            self._digests[0].update(batch.drop_columns(["source_line"]))
        self._row_writer.write_batch(batch)

    def _write_rejects(self, rejects: list[Reject], ordinals: np.ndarray, first: int) -> None:
        if not rejects:
            return
        batch = pa.record_batch(
            [
                pa.array([int(ordinals[reject.ordinal - first]) for reject in rejects], pa.int64()),
                pa.array([reject.line for reject in rejects], pa.int64()),
                pa.array([reject.record for reject in rejects], pa.string()),
                pa.array([reject.reasons for reject in rejects], pa.list_(pa.string())),
            ],
            schema=_REJECTS,
        )
        if self._digests:
            self._digests[1].update(batch.drop_columns(["source_line"]))
        self._reject_writer.write_batch(batch)

    def close(self, sha256: str | None = None) -> Spooled:
        """`sha256`: of the file, when the rows are not digested."""
        self._row_writer.close()
        self._reject_writer.close()
        digests = ":".join(digest.hexdigest() for digest in self._digests)
        return Spooled(
            rows=self._rows,
            rejects=self._rejects,
            parsed=self._parsed,
            quarantined=self._read - self._parsed,
            sha256=sha256 or hashlib.sha256(digests.encode()).hexdigest(),
        )


def _without_lines(schema: pa.Schema) -> pa.Schema:
    """What identifies content: a slice stays the same when something is put in front of it in the file."""
    return pa.schema([field for field in schema if field.name != "source_line"])


def spooled_rows(spooled: Spooled, schema: pa.Schema, source: str, partition: Partition) -> pa.RecordBatchReader:
    """The good rows, in the order of the source, as the published table has them."""
    return pa.RecordBatchReader.from_batches(schema, _complete(spooled.rows, spooled, schema, source, partition, None))


def spooled_rejects(spooled: Spooled, source: str, partition: Partition, stage: str) -> pa.RecordBatchReader:
    batches = _complete(spooled.rejects, spooled, QUARANTINE, source, partition, stage)
    return pa.RecordBatchReader.from_batches(QUARANTINE, batches)


def _complete(
    path: Path, spooled: Spooled, schema: pa.Schema, source: str, partition: Partition, stage: str | None
) -> Iterator[pa.RecordBatch]:
    prefix = row_prefix(spooled.sha256, partition)
    rows = _IMAGE_BATCH_ROWS if any(pa.types.is_binary(field.type) for field in schema) else _BATCH_ROWS
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(rows):
            number = pc.utf8_lpad(pc.add(batch["ordinal"], 1).cast(pa.string()), 9, "0")
            system = {
                "row_id": pc.binary_join_element_wise(prefix, number, ":"),
                "source_file": pa.repeat(source, batch.num_rows),
                "stage": pa.repeat(stage or "", batch.num_rows),
                "partition": pa.repeat(partition.key, batch.num_rows),
            }
            columns = [system[name] if name in system else batch[name] for name in schema.names]
            yield pa.record_batch(columns, schema=schema)


def row_prefix(sha256: str, partition: Partition) -> str:
    """16 hex digits of the content and its partition: a snapshot read on two days has different ids on each."""
    return hashlib.sha256(f"{sha256}:{partition.key}".encode()).hexdigest()[:16]
