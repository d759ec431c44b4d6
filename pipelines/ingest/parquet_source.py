"""Parquet files, batch by batch: types are coerced only where no value can change."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.errors import DataError, quote
from pipelines.ingest.acquire import Delivery
from pipelines.ingest.arrow_types import cast_arrow, check_castable, is_text
from pipelines.ingest.content import check_size, empty
from pipelines.ingest.header import match_columns
from pipelines.ingest.records import Chunk, Tally
from pipelines.settings.source import FileSource

_BATCH_ROWS = 65_536
_IMAGE_BATCH_ROWS = 1_024
_MAGIC = b"PAR1"
_LARGEST_BATCH = 1 << 29


class ParquetRecords:
    """Chunks of the rows of one file. Sizes in the file's own metadata are not believed: decoded bytes are counted.

    Text stays dictionary-encoded until its lengths are known, so that one long value repeated a million times is
    noticed before it is written out a million times.
    """

    def __init__(self, source: FileSource, delivery: Delivery, where: str) -> None:
        self.tally = Tally()
        self._source, self._delivery, self._where = source, delivery, where

    def chunks(self) -> Iterator[Chunk]:
        """Raises DataError: E-IN-FORMAT, E-IN-EMPTY, E-IN-LIMIT, or a refused schema."""
        _check_magic(self._delivery, self._where)
        try:
            yield from self._chunks()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowKeyError, OSError) as error:
            if isinstance(error, DataError) or getattr(error, "errno", None):
                raise
            raise DataError(
                "E-IN-FORMAT",
                self._where,
                f"{quote(self._delivery.source)} is damaged or no Parquet file that can be read ({str(error)[:150]})",
                "Nothing was published. Deliver the file again.",
                repeat="ingest",
            ) from error
        if not self.tally.records:
            raise empty(self._where, self._delivery.source, "it has no rows")

    def _chunks(self) -> Iterator[Chunk]:
        self._delivery.handle.seek(0)
        schema = pq.read_schema(self._delivery.handle)
        positions = match_columns(schema.names, self._source, f"{self._where} {self._delivery.source}")
        for name, position in positions.items():
            check_castable(schema.field(position), name, self._source.columns[name], self._where)
        texts = [schema.names[position] for position in positions.values() if is_text(schema.field(position).type)]
        self._delivery.handle.seek(0)
        file = pq.ParquetFile(self._delivery.handle, read_dictionary=texts, page_checksum_verification=True)
        wanted = [schema.names[position] for position in positions.values()]
        rows = _IMAGE_BATCH_ROWS if self._source.has_images else _BATCH_ROWS
        decoded = 0
        for batch in file.iter_batches(rows, columns=wanted, use_threads=False):
            size = sum(_decoded_bytes(column) for column in batch.columns)
            decoded += size
            limits = self._source.limits
            check_size(decoded, self._delivery.size, limits, self._delivery.source, self._where)
            if size > _LARGEST_BATCH:
                raise DataError(
                    "E-IN-LIMIT", self._where, f"{batch.num_rows} rows must not take more than {_LARGEST_BATCH:,} bytes"
                )
            yield self._chunk(batch, positions, schema.names)

    def _chunk(self, batch: pa.RecordBatch, positions: dict[str, int], names: list[str]) -> Chunk:
        ordinals = np.arange(self.tally.records, self.tally.records + batch.num_rows, dtype=np.int64)
        self.tally.records += batch.num_rows
        return Chunk(
            cells={name: _plain(batch.column(names[position])) for name, position in positions.items()},
            ordinals=ordinals,
            lines=ordinals + 1,
            record=lambda row: as_json(batch.slice(row, 1).to_pylist()[0])[: self._source.limits.max_cell_chars],
            cast=cast_arrow,
        )


def as_json(row: dict[str, object]) -> str:
    """One row for the quarantine; what JSON does not know is written as text, of bytes their number."""
    return json.dumps(row, default=_as_text, ensure_ascii=False)


def _as_text(value: object) -> str:
    return f"{len(value):,} bytes" if isinstance(value, bytes) else str(value)


def count_rows(path: str) -> int:
    """The rows of the file as DuckDB counts them: another reader than the one that parses."""
    import duckdb

    with duckdb.connect() as connection:
        counted = connection.execute("SELECT count(*) FROM read_parquet(?)", [path]).fetchone()
    return int(counted[0]) if counted else 0


def _check_magic(delivery: Delivery, where: str) -> None:
    handle = delivery.handle
    handle.seek(0)
    head = handle.read(4)
    if not head:
        raise empty(where, delivery.source, "it has no bytes")
    handle.seek(max(0, delivery.size - 4))
    if head != _MAGIC or handle.read(4) != _MAGIC:
        what = "an encrypted one" if head == b"PARE" else "other bytes at its start or end"
        raise DataError("E-IN-FORMAT", where, f"{quote(delivery.source)} must be a Parquet file, got {what}")


def _decoded_bytes(column: pa.Array) -> int:
    if not pa.types.is_dictionary(column.type):
        return column.nbytes
    lengths = pc.binary_length(column.dictionary).cast(pa.int64())
    return 4 * len(column) + (pc.sum(lengths.take(column.indices)).as_py() or 0)


def _plain(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
