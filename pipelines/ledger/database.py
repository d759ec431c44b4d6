"""The ledger's database, SQLite or PostgreSQL: its tables, transactions that exclude each other, and its outages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event, func, insert, inspect, make_url, select, text
from sqlalchemy.exc import DBAPIError, OperationalError

from pipelines.calls import Service
from pipelines.databases import is_passing, is_refused, open_engine, place, reason
from pipelines.errors import ConfigError, StorageError
from pipelines.ledger import schema
from pipelines.ledger.exclusive import lock_key

READS = "only_reads"  # execution option of a connection whose transaction writes nothing
LEDGER = Service("ledger", "E-DB-DOWN", "the ledger", is_passing)

# A writer that hangs inside a transaction is ended by the server before others stop waiting for it.
_TURN = text(
    "SELECT set_config('idle_in_transaction_session_timeout', '20s', true), set_config('lock_timeout', '30s', true),"
    " pg_advisory_xact_lock(:key)"
)


def open_ledger(url: str) -> Engine:
    """The engine of a ledger. On PostgreSQL every statement sees what was committed before it."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return open_engine(parsed, isolation_level="READ COMMITTED")
    Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = open_engine(parsed)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA busy_timeout=30000")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # Immediate: two writers queue up instead of failing when both read before they write. Who only reads waits for
        # nobody (write-ahead log).
        only_reads = connection.get_execution_options().get(READS, False)
        connection.exec_driver_sql("BEGIN" if only_reads else "BEGIN IMMEDIATE")

    return engine


def take_turn(connection: Connection, name: str) -> None:
    """Lets one transaction per name at a time go on: what it reads stays true until it commits.

    SQLite does so for the whole database at BEGIN. The unique keys of the tables say the same a second time.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_TURN, {"key": lock_key(f"ledger/{name}")})


def create_tables(engine: Engine) -> None:
    """Creates what is missing, in one transaction; any number of processes may do it at once.

    A ledger of an earlier Nightshift gets the tables that came since; they do not make it one of a newer version.

    Raises:
        ConfigError: E-DB-VERSION when a newer Nightshift made the tables.
    """
    with engine.begin() as connection:
        if schema.metadata.tables.keys() - set(inspect(connection).get_table_names()):
            take_turn(connection, "schema")
            schema.metadata.create_all(connection)
            if _version(connection) is None:
                connection.execute(insert(schema.schema_version).values(version=schema.SCHEMA_VERSION))
        found = _version(connection)
    if found != schema.SCHEMA_VERSION:
        what = f"its tables must be of version {schema.SCHEMA_VERSION}, got {found}"
        raise ConfigError("E-DB-VERSION", place(engine.url), what, "Run the Nightshift that made them.")


@contextmanager
def ledger_errors(engine: Engine) -> Iterator[None]:
    """Names the database, never its password.

    Raises:
        ConfigError: E-DB-DENIED when the server does not let this user in.
        StorageError: E-DB-DOWN when it does not answer; worth another try.
    """
    try:
        yield
    except DBAPIError as error:
        if not (isinstance(error, OperationalError) or is_passing(error)):
            raise
        where = place(engine.url)
        if is_refused(error):
            what = f"the server refused the log-in: {reason(error)}"
            raise ConfigError("E-DB-DENIED", where, what, "Correct NIGHTSHIFT_LEDGER_URL.") from error
        what = f"the database did not answer: {reason(error)}"
        raise StorageError("E-DB-DOWN", where, what, "Nothing was published without it; it is tried again.") from error


def _version(connection: Connection) -> int | None:
    if not inspect(connection).has_table(schema.schema_version.name):
        return None
    return connection.execute(select(func.max(schema.schema_version.c.version))).scalar()
