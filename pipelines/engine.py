"""Table steps are Ibis expressions; this is the connection that runs them (DuckDB, out of core)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from pipelines.settings.pipeline import Resources
from pipelines.storage.tables import Snapshot

# Of a step's memory: the rest is for Python, Arrow batches and models. At the whole of it the watchdog ends the step.
_SHARE, _SMALL_SHARE = 0.6, 0.4


class Engine:
    """One DuckDB connection in UTC with a memory limit; what does not fit spills to a folder below `scratch`.

    Files of remote tables are copied there, too, so that several passes over them cost one transfer.
    """

    def __init__(self, scratch: Path, resources: Resources, is_small: bool = False) -> None:
        """A small engine has one thread, whose buffers are most of what cannot spill, and a lower limit."""
        scratch.mkdir(parents=True, exist_ok=True)
        self._folder = TemporaryDirectory(prefix="duckdb-", dir=scratch)
        self._connection = ibis.duckdb.connect()
        for name, value in {
            "TimeZone": "UTC",
            "threads": 1 if is_small else resources.cpus,
            "memory_limit": f"{resources.memory_gib * (_SMALL_SHARE if is_small else _SHARE):.3f}GiB",
            "temp_directory": self._folder.name,
        }.items():
            self._connection.raw_sql(f"SET {name} = '{value}'")

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._connection.disconnect()
        self._folder.cleanup()

    def scan(self, snapshot: Snapshot, partitions: Iterable[str], schema: pa.Schema | None = None) -> ir.Table:
        """The rows of these partitions, with their `partition` column; an empty table of `schema` when there are none.

        `schema` also fixes columns and types where older files lack a column that was added later.
        """
        files = snapshot.local_files(partitions, Path(self._folder.name))
        wanted = schema or (snapshot.schema() if snapshot.exists else None)
        if wanted is None:
            raise ValueError(f"'{snapshot.name}' does not exist and no schema was given")
        if not files:
            return self.memory(wanted.empty_table())
        table = self._connection.read_parquet(
            files, hive_partitioning=True, hive_types_autocast=False, union_by_name=True
        )
        return conform(table, wanted)

    def memory(self, table: pa.Table) -> ir.Table:
        """An Arrow table as an Ibis table."""
        return self._connection.create_table(ibis.util.gen_name("memory"), ibis.memtable(table), temp=True)

    def read_parquet(self, paths: Sequence[str | Path]) -> ir.Table:
        return self._connection.read_parquet([str(path) for path in paths])

    def materialize(self, table: ir.Table) -> ir.Table:
        """Computes a table once, so that later expressions do not repeat the work."""
        return self._connection.create_table(ibis.util.gen_name("step"), table, temp=True)

    def drop(self, *tables: ir.Table) -> None:
        """Frees tables made by `materialize` or `memory`; nothing may refer to them any more."""
        for table in tables:
            # Not drop_table: Ibis 12 with sqlglot 30.30 writes 'DROP TABLE IF EXISTS' without the name.
            self._connection.raw_sql(f'DROP TABLE IF EXISTS "{table.op().name}"')

    def reader(self, table: ir.Table, order_by: Sequence[str] = (), rows: int = 65_536) -> pa.RecordBatchReader:
        """Streams the result in the given order; the order must be total where bytes must repeat.

        One stream at a time: a second query on this engine ends the first.
        """
        ordered = table.order_by(list(order_by)) if order_by else table
        return self._connection.to_pyarrow_batches(ordered, chunk_size=rows)

    def table(self, table: ir.Table, order_by: Sequence[str] = ()) -> pa.Table:
        """The result in memory; for results that are known to be small."""
        return self._connection.to_pyarrow(table.order_by(list(order_by)) if order_by else table)

    def count(self, table: ir.Table) -> int:
        return int(self._connection.execute(table.count()))


def conform(table: ir.Table, schema: pa.Schema) -> ir.Table:
    """`table` with exactly the columns and types of `schema`; absent columns are null."""
    target = ibis.Schema.from_pyarrow(schema)
    columns = {
        name: (table[name] if name in table.columns else ibis.null()).cast(dtype) for name, dtype in target.items()
    }
    return table.select(**columns)
