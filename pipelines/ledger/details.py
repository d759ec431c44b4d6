"""Reads about one partition or one version, for their pages: never the history of a whole pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select

from pipelines.ledger import schema
from pipelines.ledger.transactions import Row, Transactions


class Details(Transactions):
    """Reads of all tables; nothing is written here."""

    def accounting_of(self, pipeline: str, partition: str) -> Row | None:
        table = schema.accounting
        query = select(table).where(table.c.pipeline == pipeline, table.c.partition == partition)
        return next(iter(self._rows(query)), None)

    def tables_of(self, pipeline: str, partition: str) -> dict[str, Row]:
        """The newest publication of this partition, by table."""
        table = schema.publications
        query = select(table).where(table.c.pipeline == pipeline, table.c.partition == partition)
        return {row["table_name"]: row for row in self._rows(query.order_by(table.c.table_name, table.c.generation))}

    def neighbours(self, pipeline: str, partition: str) -> tuple[str | None, str | None]:
        """The partitions that were worked on before and after this one."""
        found = []
        for nearest, side in ((func.max, "__lt__"), (func.min, "__gt__")):
            keys = [
                select(nearest(table.c.partition).label("key")).where(
                    table.c.pipeline == pipeline, getattr(table.c.partition, side)(partition)
                )
                for table in (schema.accounting, schema.attempts)
            ]
            known = [row["key"] for query in keys for row in self._rows(query) if row["key"] is not None]
            found.append((max if side == "__lt__" else min)(known, default=None))
        return found[0], found[1]

    def ends(self, pipeline: str) -> tuple[str | None, str | None]:
        """The first and the last partition that the accounting knows."""
        key = schema.accounting.c.partition
        query = select(func.min(key).label("first"), func.max(key).label("last"))
        (row,) = self._rows(query.where(schema.accounting.c.pipeline == pipeline))
        return row["first"], row["last"]

    def decisions_about(self, pipeline: str, version: int, kinds: Sequence[str]) -> list[Row]:
        """Of these kinds about one version, oldest first."""
        table = schema.decisions
        mine = (table.c.pipeline == pipeline, table.c.kind.in_(kinds), table.c.model_version == version)
        return self._rows(select(table).where(*mine).order_by(table.c.id))

    def scored_by(self, pipeline: str, version: int) -> Row:
        """`partitions`, `rows`, `first`, `last` of the scores of this version that readers see now."""
        table = schema.releases
        query = select(
            func.count(table.c.partition).label("partitions"),
            func.sum(table.c.row_count).label("rows"),
            func.min(table.c.partition).label("first"),
            func.max(table.c.partition).label("last"),
        )
        mine = (table.c.pipeline == pipeline, table.c.model_version == version, table.c.state == "released")
        return self._rows(query.where(*mine))[0]

    def attempts_of_step(self, pipeline: str, step: str, newest: int) -> list[Row]:
        """The newest attempts of a rare step, such as a replay, with their summaries, newest first."""
        table = schema.attempts
        query = select(table).where(table.c.pipeline == pipeline, table.c.step == step)
        return self._rows(query.order_by(table.c.id.desc()).limit(newest))

    def version_numbers(self, pipeline: str) -> list[int]:
        """All that were ever registered, newest first."""
        table = schema.models
        query = select(table.c.version).where(table.c.pipeline == pipeline).order_by(table.c.version.desc())
        return [int(row["version"]) for row in self._rows(query)]

    def is_known(self, pipeline: str) -> bool:
        """Whether anything ever ran for a pipeline of this name."""
        table: Any = schema.attempts
        return bool(self._rows(select(table.c.id).where(table.c.pipeline == pipeline).limit(1)))
