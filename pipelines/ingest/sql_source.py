"""Rows of one SQL query, streamed through SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from pipelines.calls import Service, call
from pipelines.context import Context
from pipelines.databases import connect_options, is_passing
from pipelines.errors import ConfigError, DataError, StorageError, without_values
from pipelines.ingest.acquire import changed
from pipelines.ingest.header import match_columns
from pipelines.ingest.locate import fill_variables
from pipelines.ingest.parquet_source import as_json
from pipelines.ingest.records import Chunk, Tally
from pipelines.ingest.value_types import cast_sql
from pipelines.settings.source import SqlSource

SOURCE = Service("source", "E-SOURCE-DOWN", "the source database", is_passing)
_BATCH_ROWS = 16_384
_SQLITE_FORM = "%Y-%m-%d %H:%M:%S"


class SqlRecords:
    """Chunks of the result. ':partition_start' and ':partition_end' are bound in UTC, never pasted into the text."""

    def __init__(self, source: SqlSource, context: Context) -> None:
        self.tally = Tally()
        self._source, self._context = source, context
        try:
            self._url = make_url(fill_variables(source.url, context))
        except ArgumentError:
            raise ConfigError("E-CONFIG-URL", context.where, "'url' must be a SQLAlchemy URL") from None
        self._query = source.query.strip().rstrip(";")

    @property
    def name(self) -> str:
        """The database without user, password or options."""
        return f"{self._url.drivername}://{self._url.host or ''}/{self._url.database or ''}"

    @property
    def is_sliced(self) -> bool:
        return bool(self._bound())

    def chunks(self) -> Iterator[Chunk]:
        """Rows in batches. Only the opening is repeated: rows that were handed on must not come a second time.

        Raises:
            StorageError: E-DB-QUERY when the database does not answer or breaks off, E-SOURCE-DOWN at once while it is
                known to be away; E-IN-CHANGED when the rows change while they are read.
        """
        try:
            engine = create_engine(self._url, connect_args=connect_options(self._url))
        except (NoSuchModuleError, ImportError) as error:
            raise ConfigError("E-CONFIG-URL", self._context.where, f"no driver for '{self._url.drivername}'") from error
        try:
            with call(SOURCE, self.name, "connecting", lambda: _opened(engine)) as connection:
                yield from self._chunks(connection)
                counted = connection.execute(
                    text(f"SELECT count(*) FROM ({self._query}) AS counted"), self._bound()
                ).scalar_one()
        except SQLAlchemyError as error:
            raise StorageError("E-DB-QUERY", self._context.where, f"{self.name}: {_cause(error)}") from error
        finally:
            engine.dispose()
        if counted != self.tally.records:
            raise changed(self._context.where, f"{self.name} ({self.tally.records} rows read, {counted} counted)")

    def _chunks(self, connection: Connection) -> Iterator[Chunk]:
        options = {"stream_results": True, "yield_per": _BATCH_ROWS}
        result = connection.execute(text(self._query), self._bound(), execution_options=options)
        names = list(result.keys())
        positions = match_columns(names, self._source, f"{self._context.where} {self.name}")
        for rows in result.partitions():
            self._check_count(len(rows))
            yield self._chunk(rows, names, positions)

    def _check_count(self, more: int) -> None:
        if self.tally.records + more > self._source.limits.max_records:
            raise DataError(
                "E-IN-LIMIT", self._context.where, f"at most {self._source.limits.max_records:,} records are read"
            )

    def _chunk(self, rows: Sequence[Any], names: list[str], positions: dict[str, int]) -> Chunk:
        ordinals = np.arange(self.tally.records, self.tally.records + len(rows), dtype=np.int64)
        self.tally.records += len(rows)
        longest = self._source.limits.max_cell_chars
        return Chunk(
            cells={name: [row[position] for row in rows] for name, position in positions.items()},
            ordinals=ordinals,
            lines=ordinals + 1,
            record=lambda row: as_json(dict(zip(names, rows[row], strict=True)))[:longest],
            cast=cast_sql,
        )

    def _bound(self) -> dict[str, Any]:
        moments = {"partition_start": self._context.partition.start, "partition_end": self._context.partition.end}
        wanted = text(self._query).compile().params
        return {name: self._moment(moment) for name, moment in moments.items() if name in wanted}

    def _moment(self, moment: datetime) -> datetime | str:
        """SQLite compares times as text, so the bound text has the form that SQLite's own functions write."""
        return moment.strftime(_SQLITE_FORM) if self._url.get_backend_name() == "sqlite" else moment


def _opened(engine: Engine) -> Connection:
    """A connection in its transaction. Opening it again changes nothing: the first one ended without an answer."""
    connection = engine.connect()
    try:
        _one_view(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _one_view(connection: Connection) -> None:
    """Reading and counting see the same rows: one transaction, with times in UTC, where the database can."""
    if connection.dialect.name == "postgresql":
        connection.execution_options(isolation_level="REPEATABLE READ")
        connection.execute(text("SET TIME ZONE 'UTC'"))
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN")


def _cause(error: SQLAlchemyError) -> str:
    """What the database says. About the connection or the query in full; about data it would quote a row's value."""
    cause = getattr(error, "orig", None)
    if cause is None:
        return type(error).__name__
    is_about_the_query = isinstance(error, OperationalError | InterfaceError | ProgrammingError)
    return str(cause)[:200] if is_about_the_query else without_values(cause)
