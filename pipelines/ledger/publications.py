"""What was read and published of each partition: inputs, publications, and the accounting of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, insert, select

from pipelines.ledger import schema
from pipelines.ledger.transactions import Row, Transactions, now, repeatable


class Publications(Transactions):
    """Rows of `inputs`, `publications` and `accounting`."""

    @repeatable
    def record_publication(
        self,
        pipeline: str,
        table: str,
        partition: str,
        *,
        run_id: str,
        delta_version: int,
        input_digest: str,
        content_digest: str,
        row_count: int,
        facts: Mapping[str, Any],
    ) -> Row:
        """Appends the next generation (from 1) of this partition and returns its row; the same commit only once."""
        columns = schema.publications.c
        commit = {
            "pipeline": pipeline,
            "table_name": table,
            "partition": partition,
            "run_id": run_id,
            "delta_version": delta_version,
            "input_digest": input_digest,
            "content_digest": content_digest,
        }
        with self._write(pipeline) as connection:
            is_same = [columns[name] == value for name, value in commit.items()]
            known = connection.execute(select(schema.publications).where(*is_same)).mappings().first()
            if known is not None:
                return dict(known)
            newest = connection.execute(
                select(func.max(columns.generation)).where(
                    columns.pipeline == pipeline, columns.table_name == table, columns.partition == partition
                )
            ).scalar()
            values = commit | {
                "generation": (newest or 0) + 1,
                "row_count": row_count,
                "facts": dict(facts),
                "published_at": now(),
            }
            connection.execute(insert(schema.publications).values(**values))
            return values

    def publication(self, pipeline: str, table: str, partition: str) -> Row | None:
        """The newest publication of this partition."""
        columns = schema.publications.c
        query = (
            select(schema.publications)
            .where(columns.pipeline == pipeline, columns.table_name == table, columns.partition == partition)
            .order_by(columns.generation.desc())
            .limit(1)
        )
        return next(iter(self._rows(query)), None)

    def publications(
        self, pipeline: str, table: str, partitions: Sequence[str] | None = None, until_version: int | None = None
    ) -> list[Row]:
        """The newest publication of each partition, ordered by partition; or as of an earlier version of the table."""
        columns = schema.publications.c
        is_due = [columns.delta_version <= until_version] if until_version is not None else []
        newest = (
            select(columns.partition, func.max(columns.generation).label("generation"))
            .where(columns.pipeline == pipeline, columns.table_name == table, *is_due)
            .group_by(columns.partition)
            .subquery()
        )
        query = (
            select(schema.publications)
            .join(newest, (newest.c.partition == columns.partition) & (newest.c.generation == columns.generation))
            .where(columns.pipeline == pipeline, columns.table_name == table)
            .order_by(columns.partition)
        )
        rows = self._rows(query)
        wanted = None if partitions is None else set(partitions)
        return [row for row in rows if wanted is None or row["partition"] in wanted]

    # -- row accounting -------------------------------------------------------------------------------------------

    @repeatable
    def set_accounting(self, pipeline: str, partition: str, **values: Any) -> None:
        """Replaces the row of this partition: state, read, clean, quarantined, duplicate, reason, run_id."""
        table = schema.accounting
        with self._write(pipeline) as connection:
            connection.execute(table.delete().where(table.c.pipeline == pipeline, table.c.partition == partition))
            connection.execute(insert(table).values(pipeline=pipeline, partition=partition, updated_at=now(), **values))

    def accounting(self, pipeline: str) -> list[Row]:
        table = schema.accounting
        return self._rows(select(table).where(table.c.pipeline == pipeline).order_by(table.c.partition))

    # -- inputs ---------------------------------------------------------------------------------------------------

    @repeatable
    def record_input(self, pipeline: str, partition: str, source: str, sha256: str, size: int, records: int) -> None:
        """Remembers a content once; the same content again changes nothing."""
        table = schema.inputs
        with self._write(pipeline) as connection:
            known = connection.execute(
                select(table.c.id).where(
                    table.c.pipeline == pipeline, table.c.partition == partition, table.c.sha256 == sha256
                )
            ).first()
            if known is None:
                connection.execute(
                    insert(table).values(
                        pipeline=pipeline,
                        partition=partition,
                        source=source,
                        sha256=sha256,
                        bytes=size,
                        records=records,
                        first_seen_at=now(),
                    )
                )

    def inputs(self, pipeline: str, partition: str | None = None) -> list[Row]:
        table = schema.inputs
        query = select(table).where(table.c.pipeline == pipeline).order_by(table.c.id)
        return self._rows(query.where(table.c.partition == partition) if partition else query)
