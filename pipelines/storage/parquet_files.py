"""Parquet files whose bytes depend on their rows alone, not on how those were batched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

GROUP_ROWS = 131_072
_FILE_ROWS = 2_097_152


def write_groups(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch], compression: str) -> int:
    """Writes Parquet with row groups of exactly GROUP_ROWS rows: the bytes do not depend on how rows were batched."""
    with pq.ParquetWriter(path, schema, compression=compression, write_page_checksum=True) as writer:
        rows = 0
        for block in blocks(schema, batches, GROUP_ROWS):
            writer.write_table(block, row_group_size=GROUP_ROWS)
            rows += block.num_rows
    return rows


def blocks(schema: pa.Schema, batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """The same rows in contiguous tables of `rows` rows, the last one shorter."""
    waiting = schema.empty_table()
    for batch in batches:
        waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch], schema)])
        while waiting.num_rows >= rows:
            yield waiting.slice(0, rows).combine_chunks()
            waiting = waiting.slice(rows)
    if waiting.num_rows:
        yield waiting.combine_chunks()


def write_parts(folder: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch], compression: str) -> list[Path]:
    """`part-00000.parquet` and on, at most _FILE_ROWS rows each; one empty file when there are no rows."""
    paths: list[Path] = []
    for number, part in enumerate(_parts(blocks(schema, batches, GROUP_ROWS))):
        paths.append(folder / f"part-{number:05d}.parquet")
        write_groups(paths[-1], schema, part, compression)
    if not paths:
        paths.append(folder / "part-00000.parquet")
        write_groups(paths[0], schema, [], compression)
    return paths


def _parts(groups: Iterator[pa.Table]) -> Iterator[Iterator[pa.RecordBatch]]:
    """Groups of batches of up to _FILE_ROWS rows; each must be consumed before the next is asked for."""
    for first in groups:
        yield _part(first, groups)


def _part(first: pa.Table, rest: Iterator[pa.Table]) -> Iterator[pa.RecordBatch]:
    yield from first.to_batches()
    for _ in range(_FILE_ROWS // GROUP_ROWS - 1):
        following = next(rest, None)
        if following is None:
            return
        yield from following.to_batches()
