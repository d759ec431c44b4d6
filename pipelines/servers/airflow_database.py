"""The database of the embedded Airflow: a PostgreSQL server of the home, there while Airflow runs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pipelines.errors import StorageError
from pipelines.home import Home
from pipelines.servers.children import Child, stop_all
from pipelines.servers.ports import free_ports
from pipelines.servers.postgres import PostgreSQL

_VARIABLE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
_READY_SECONDS = 60.0


@dataclass(frozen=True)
class AirflowDatabase:
    """What Airflow's processes must be told, and the processes that somebody has to keep running."""

    variables: dict[str, str] = field(default_factory=dict)
    children: list[Child] = field(default_factory=list)


@contextmanager
def airflow_database(home: Home) -> Iterator[AirflowDatabase]:
    """Airflow's database for the time of the block. One that was named from outside is left alone.

    Not SQLite: under load its API answers 500 ("database is locked"), at once and whatever the time-out, because a
    transaction that began with a read cannot wait for another's write.

    Raises:
        StorageError: E-UP-START when the server does not come up; the message names the log.
    """
    if os.environ.get(_VARIABLE):
        yield AirflowDatabase()
        return
    (port,) = free_ports(1)
    server = PostgreSQL(home.airflow / "postgres", port)
    log = home.airflow / "logs" / "services" / "postgres.log"
    # SIGINT: it ends at once in good order. With SIGTERM it would wait for the last connection.
    child = Child("postgres", server.command(), os.environ, log, stop_signal=signal.SIGINT)
    try:
        _start(child, server)
        server.create_database("airflow")
        yield AirflowDatabase({_VARIABLE: server.url("airflow")}, [child])
    finally:
        stop_all([child])


def _start(child: Child, server: PostgreSQL) -> None:
    """Started again until it answers: the server of a launcher that was killed may still be on its way out."""
    child.start()
    deadline = time.monotonic() + _READY_SECONDS
    while not server.answers():
        if time.monotonic() > deadline:
            what = f"it did not come up within {_READY_SECONDS:.0f} s"
            raise StorageError("E-UP-START", child.name, what, f"See {child.log}.")
        child.tend()
        time.sleep(0.05)
