"""One orchestrator per home: `make up` and `nightshift run` would otherwise run each other's tasks twice."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.errors import ConfigError
from pipelines.home import Home


@contextmanager
def only_orchestrator(home: Home, who: str) -> Iterator[None]:
    """Holds this home for `who`; the lock goes with the process, even when it is killed.

    Raises:
        ConfigError: E-RUN-BUSY while another process holds it.
    """
    home.airflow.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(home.airflow / "orchestrator.lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            other = file.read().strip() or "another process"
            raise ConfigError(
                "E-RUN-BUSY",
                str(home.root),
                f"this home is in use by {other}",
                "Start the run in its Airflow UI, wait until it ends, or use another --home.",
            ) from None
        file.seek(0)
        file.truncate()
        file.write(who)
        file.flush()
        yield
