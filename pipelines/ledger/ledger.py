"""What happened, in SQL: attempts, publications, row accounting, models, decisions, champions, releases, messages."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from pathlib import Path

from pipelines.ledger.attempts import Attempts
from pipelines.ledger.database import create_tables
from pipelines.ledger.details import Details
from pipelines.ledger.exclusive import advisory_lock
from pipelines.ledger.glances import Glances
from pipelines.ledger.notifications import Notifications
from pipelines.ledger.publications import Publications
from pipelines.ledger.releases import Releases
from pipelines.ledger.versions import Versions
from pipelines.storage import durable


class Ledger(Attempts, Publications, Versions, Releases, Notifications, Glances, Details):
    """All reads return plain mappings in a stable order; times come back aware, in UTC."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._repeated("creating the tables", lambda: create_tables(self._engine))

    def exclusive(self, name: str, patience_seconds: float = 60.0) -> AbstractContextManager[None]:
        """Only one holder per name is inside, over all machines that use this ledger; it ends with its process.

        Raises:
            StorageError: E-DB-LOCKED or E-IO-LOCKED when another stays inside for `patience_seconds`; on leaving,
                E-DB-LOCK-LOST when the lock did not hold until then (PostgreSQL went away meanwhile).
        """
        if self._engine.dialect.name == "postgresql":
            return advisory_lock(self._engine, name, patience_seconds, self._repeated)
        folder = Path(str(self._engine.url.database)).parent / "locks"
        return durable.exclusive(folder / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.lock", patience_seconds)
