"""Digests of rows: equal rows in equal order give equal digests, however they were chunked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

_BLOCK_ROWS = 65_536
_BINARY_BLOCK_ROWS = 1_024  # of pictures


def combined(*parts: object) -> str:
    """sha256 of the parts in order, 32 hex digits."""
    return hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).hexdigest()[:32]


class RowDigest:
    """Feeds on record batches, remembers their digest and row count."""

    def __init__(self, schema: pa.Schema) -> None:
        self.rows = 0
        self._schema = schema
        is_wide = any(pa.types.is_binary(field.type) for field in schema)
        self._block_rows = _BINARY_BLOCK_ROWS if is_wide else _BLOCK_ROWS
        self._hash = hashlib.sha256(",".join(f"{field.name}:{field.type}" for field in schema).encode())
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0

    def update(self, batch: pa.RecordBatch) -> None:
        self.rows += batch.num_rows
        self._pending.append(batch)
        self._pending_rows += batch.num_rows
        if self._pending_rows >= self._block_rows:
            self._drain(keep_rest=True)

    def hexdigest(self) -> str:
        """32 hex digits over everything seen so far; call it once, at the end."""
        self._drain(keep_rest=False)
        return self._hash.hexdigest()[:32]

    def watch(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            self.update(batch)
            yield batch

    def _drain(self, keep_rest: bool) -> None:
        if not self._pending_rows:
            return
        table = pa.Table.from_batches(self._pending, self._schema)
        size = self._block_rows
        end = table.num_rows - table.num_rows % size if keep_rest else table.num_rows
        for start in range(0, end, size):
            self._hash_block(table.slice(start, min(size, end - start)))
        rest = table.slice(end)
        self._pending = rest.to_batches()
        self._pending_rows = rest.num_rows

    def _hash_block(self, block: pa.Table) -> None:
        """Values under nulls are undefined in Arrow, so they are filled and the null mask hashed beside them."""
        for column in block.columns:
            for part in _plain_arrays(column.combine_chunks()):
                sink = pa.BufferOutputStream()
                batch = pa.record_batch([part], names=["x"])
                with pa.ipc.new_stream(sink, batch.schema) as writer:
                    writer.write_batch(batch)
                self._hash.update(sink.getvalue())


def _plain_arrays(array: pa.Array) -> list[pa.Array]:
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks != 1 else array.chunk(0)
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        lengths = pc.fill_null(pc.list_value_length(array), -1)
        return [pa.concat_arrays([lengths]), *_plain_arrays(pc.list_flatten(array))]
    if pa.types.is_string(array.type):
        array = array.cast(pa.large_string())
    if pa.types.is_binary(array.type):
        array = array.cast(pa.large_binary())
    if pa.types.is_null(array.type):
        return [pa.array([len(array)])]
    mask = pc.is_null(array)
    is_bytes = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    # Days are cast from 32 bits alone.
    zero = pa.scalar("" if is_bytes else 0, pa.int32() if pa.types.is_date32(array.type) else None)
    zero = zero.cast(array.type, safe=False)
    filled = pc.fill_null(array, zero)
    return [pa.concat_arrays([mask]), pa.concat_arrays([filled])]


def table_digest(table: pa.Table) -> str:
    digest = RowDigest(table.schema)
    for batch in table.to_batches():
        digest.update(batch)
    return digest.hexdigest()
