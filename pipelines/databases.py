"""What SQL databases have in common for us: connections with bounded waiting, and which of their errors pass."""

from __future__ import annotations

import os
import socket
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError

# A machine that vanished is noticed after about half a minute, on both sides of the connection.
_ALIVE = {"keepalives": 1, "keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}
_CONNECT_SECONDS = 5
_UNACKNOWLEDGED_MILLISECONDS = 30_000
# SQLSTATE: connection lost, server stopping or starting, too many connections, serialization, deadlock, lock timeout.
_PASSING = ("08", "57P01", "57P02", "57P03", "53300", "40001", "40P01", "55P03", "25P03")
# A refused connection has no SQLSTATE, only libpq's text.
_REFUSED = ("authentication failed", "no password supplied", "no pg_hba.conf entry", "does not exist")


def connect_options(url: URL) -> dict[str, Any]:
    """Driver options that bound how long a dead server is waited for; none where the driver is not known to us."""
    if url.get_backend_name() != "postgresql" or url.get_driver_name() != "psycopg2":
        return {}
    return {
        "connect_timeout": _CONNECT_SECONDS,
        "tcp_user_timeout": _UNACKNOWLEDGED_MILLISECONDS,
        "application_name": f"nightshift {socket.gethostname()} {os.getpid()}",
        **_ALIVE,
    }


def open_engine(url: URL, **options: Any) -> Engine:
    """An engine whose pool never hands out a dead connection, nor one that belongs to the parent of a fork."""
    engine = create_engine(url, pool_pre_ping=True, connect_args=connect_options(url), **options)

    @event.listens_for(engine, "connect")
    def _own(_connection: Any, record: Any) -> None:
        record.info["process"] = os.getpid()

    @event.listens_for(engine, "checkout")
    def _only_own(_connection: Any, record: Any, proxy: Any) -> None:
        if record.info["process"] != os.getpid():
            record.dbapi_connection = proxy.dbapi_connection = None
            raise DisconnectionError("this connection belongs to the parent process")

    return engine


def place(url: URL) -> str:
    """The database in words, without user, password and options."""
    host = f"{url.host}:{url.port}" if url.port else url.host
    return f"{url.get_backend_name()} {'/'.join(part for part in (host, url.database) if part)}"


def is_passing(error: BaseException) -> bool:
    """Whether the same call may succeed soon: the server is away, starting or busy. Never for a refused log-in."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    if not isinstance(error, OperationalError):
        return False
    if state := getattr(error.orig, "pgcode", None):
        return str(state).startswith(_PASSING)
    if type(error.orig).__module__ == "sqlite3":
        return "is locked" in str(error.orig)
    return not is_refused(error)


def is_refused(error: BaseException) -> bool:
    """Whether the server does not let us in: wrong password, no such user or database."""
    return isinstance(error, OperationalError) and any(words in str(error.orig) for words in _REFUSED)


def reason(error: BaseException) -> str:
    """What the driver said, on one line."""
    return " ".join(str(getattr(error, "orig", None) or error).split())[:200]
