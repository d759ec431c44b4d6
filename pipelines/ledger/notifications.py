"""Messages that went out, so that a task that is run again does not send them twice."""

from __future__ import annotations

from sqlalchemy import insert, select

from pipelines.ledger import schema
from pipelines.ledger.transactions import Row, Transactions, now, repeatable


class Notifications(Transactions):
    """Rows of `notifications`."""

    @repeatable
    def record_notification(
        self, pipeline: str, partition: str, topic: str, connection: str, *, title: str, run_id: str
    ) -> None:
        """That `connection` took the message about `topic`; recorded again, the first record stays."""
        table = schema.notifications
        key = {"pipeline": pipeline, "partition": partition, "topic": topic, "connection": connection}
        with self._write(pipeline) as transaction:
            is_same = [table.c[name] == value for name, value in key.items()]
            if transaction.execute(select(table.c.id).where(*is_same)).scalar() is None:
                transaction.execute(insert(table).values(**key, title=title, run_id=run_id, sent_at=now()))

    def notifications(self, pipeline: str, partition: str | None = None) -> list[Row]:
        """Oldest first."""
        table = schema.notifications
        query = select(table).where(table.c.pipeline == pipeline).order_by(table.c.id)
        return self._rows(query.where(table.c.partition == partition) if partition else query)

    def notified(self, pipeline: str, partition: str, topic: str) -> set[str]:
        """Connections that took the message about `topic`."""
        return {row["connection"] for row in self.notifications(pipeline, partition) if row["topic"] == topic}
