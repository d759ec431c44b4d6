"""How facts are read and written: transactions that are repeated while the database is away for a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from pipelines.calls import call
from pipelines.databases import place
from pipelines.ledger.database import LEDGER, READS, ledger_errors, open_ledger, take_turn

Row = Mapping[str, Any]
Answer = TypeVar("Answer")
_Book = TypeVar("_Book", bound="Transactions")
_Given = ParamSpec("_Given")


def repeatable(method: Callable[Concatenate[_Book, _Given], Answer]) -> Callable[Concatenate[_Book, _Given], Answer]:
    """Repeats a method while the database is away for a moment.

    Each is one transaction, and done twice it leaves and returns the same as done once: nobody knows whether a commit
    whose answer was lost took place.
    """

    @wraps(method)
    def repeated(self: _Book, *arguments: _Given.args, **named: _Given.kwargs) -> Answer:
        return self._repeated(method.__name__, lambda: method(self, *arguments, **named))

    return repeated


class Transactions:
    """One database, reached by its URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = open_ledger(url)
        self._place = place(self._engine.url)

    def _rows(self, query: Any) -> list[Row]:
        return self._repeated("reading", lambda: self._read(query))

    def _read(self, query: Any) -> list[Row]:
        with self._engine.connect().execution_options(**{READS: True}) as connection:
            found = connection.execute(query)
            names = list(found.keys())
            return [dict(zip(names, row, strict=True)) for row in found]

    @contextmanager
    def _write(self, name: str) -> Iterator[Connection]:
        """One transaction; of one name one at a time, so that what it reads stays true until it commits."""
        with self._engine.begin() as connection:
            take_turn(connection, name)
            yield connection

    def _repeated(self, action: str, work: Callable[[], Answer]) -> Answer:
        with ledger_errors(self._engine):
            return call(LEDGER, self._place, action, work)


def now() -> datetime:
    return datetime.now(UTC)
