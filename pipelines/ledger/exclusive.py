"""One holder per name over all machines: a lock that ends with its holder, whatever happens to it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from pipelines.databases import is_passing, place
from pipelines.errors import StorageError, quote

log = logging.getLogger("nightshift")

Repeated = Callable[[str, Callable[[], Connection]], Connection]

_TIMED_OUT = "55P03"
# The server lets go of a holder whose machine vanished after half a minute; over a local socket it knows at once.
_SESSION = {"tcp_keepalives_idle": "15", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}


@contextmanager
def advisory_lock(engine: Engine, name: str, patience_seconds: float, repeated: Repeated) -> Iterator[None]:
    """Holds PostgreSQL's session lock of `name` on a connection of its own, which `repeated` opens.

    It needs a session: behind a pooler that shares connections between transactions it protects nothing.

    Raises:
        StorageError: E-DB-LOCKED when another holder stays inside for `patience_seconds`; E-DB-LOCK-LOST on leaving
            when the connection broke meanwhile: somebody else may have been inside, too. An error from inside is
            never replaced by it.
    """
    # Done twice it is held once: a lock whose answer was lost went with its connection.
    connection = repeated(f"taking the lock {quote(name)}", lambda: _locked(engine, name, patience_seconds))
    try:
        yield
    except BaseException:
        if not _let_go(connection, name):
            log.warning("%s", _lost(engine, name))
        raise
    if not _let_go(connection, name):
        raise _lost(engine, name)


def lock_key(name: str) -> int:
    """A name's 64-bit key: the same on every machine and in every version."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


def _locked(engine: Engine, name: str, patience_seconds: float) -> Connection:
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        connection.detach()  # closing it must end the session, not give it back to the pool
        for setting, value in {**_SESSION, "lock_timeout": f"{int(patience_seconds * 1000)}ms"}.items():
            connection.execute(text("SELECT set_config(:setting, :value, false)"), {"setting": setting, "value": value})
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": lock_key(name)})
    except DBAPIError as error:
        is_timeout = getattr(error.orig, "pgcode", None) == _TIMED_OUT
        problem = _busy(connection, name, patience_seconds) if is_timeout else error
        connection.close()
        raise problem from error.orig
    except BaseException:
        connection.close()
        raise
    return connection


def _let_go(connection: Connection, name: str) -> bool:
    """Unlocks; False when the lock had been lost before."""
    try:
        return bool(connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": lock_key(name)}).scalar_one())
    except DBAPIError as error:
        if not is_passing(error):
            raise
        return False
    finally:
        connection.close()


def _busy(connection: Connection, name: str, patience_seconds: float) -> StorageError:
    query = text(
        "SELECT application_name, client_addr::text FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE locktype = 'advisory' AND objsubid = 1 AND granted"
        " AND (classid::bigint << 32) | objid::bigint = :key"
    )
    holder = connection.execute(query, {"key": lock_key(name)}).first()
    who = f"'{holder[0]}' at {holder[1] or 'the local socket'}" if holder else "another process"
    return StorageError(
        "E-DB-LOCKED",
        place(connection.engine.url),
        f"the lock {quote(name)} must be free within {patience_seconds:.0f} seconds, {who} holds it",
        "Nothing was changed. End that process if it hangs, then run this again.",
    )


def _lost(engine: Engine, name: str) -> StorageError:
    return StorageError(
        "E-DB-LOCK-LOST",
        place(engine.url),
        f"the lock {quote(name)} must be held until the work is done, but its connection broke meanwhile",
        "Another process may have worked at the same time. Run this again: it checks what was published.",
    )
