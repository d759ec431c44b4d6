"""SQL promises no order, so the rows of a query are sorted by all their columns before they get their numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.context import Context
from pipelines.ingest.spool import Spooled
from pipelines.storage.digests import RowDigest, combined


def sorted_spool(spooled: Spooled, context: Context, folder: Path) -> Spooled:
    """The same records, good ones first, each kind in the order of its values; ties are equal rows."""
    folder.mkdir(parents=True)
    rows, row_digest = _sorted(spooled.rows, folder / "rows.parquet", context, 0)
    rejects, reject_digest = _sorted(spooled.rejects, folder / "rejects.parquet", context, spooled.parsed)
    digest = combined("sql", row_digest, reject_digest) + combined(row_digest)
    return replace(spooled, rows=rows, rejects=rejects, sha256=digest)


def _sorted(path: Path, target: Path, context: Context, first: int) -> tuple[Path, str]:
    schema = pq.read_schema(path)
    values = [name for name in schema.names if name not in ("ordinal", "source_line")]
    digest = RowDigest(schema)
    with context.engine("ingest") as engine, pq.ParquetWriter(target, schema, compression="lz4") as writer:
        table = engine.read_parquet([path]).select(*values)
        order = [name for name in values if name != "reasons"]
        for batch in _numbered(engine.reader(table, order_by=order), schema, first):
            digest.update(batch)
            writer.write_batch(batch)
    return target, digest.hexdigest()


def _numbered(batches: pa.RecordBatchReader, schema: pa.Schema, first: int) -> Iterator[pa.RecordBatch]:
    at = first
    for batch in batches:
        ordinals = np.arange(at, at + batch.num_rows, dtype=np.int64)
        at += batch.num_rows
        columns = {"ordinal": pa.array(ordinals), "source_line": pa.array(ordinals + 1)}
        arrays = [
            columns[field.name] if field.name in columns else batch[field.name].cast(field.type) for field in schema
        ]
        yield pa.record_batch(arrays, schema=schema)
