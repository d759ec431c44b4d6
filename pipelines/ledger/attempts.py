"""Attempts of steps: what ran, for which partition, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import insert, select, update

from pipelines.ledger import schema
from pipelines.ledger.transactions import Row, Transactions, now, repeatable


class Attempts(Transactions):
    """Rows of `attempts`."""

    def start_attempt(
        self,
        pipeline: str,
        partition: str,
        step: str,
        run_id: str,
        code_version: str,
        summary: Mapping[str, Any] | None = None,
    ) -> int:
        """`summary` says how the attempt works; it stays where the attempt dies without a word."""
        return self._add_attempt(
            pipeline,
            partition=partition,
            step=step,
            run_id=run_id,
            code_version=code_version,
            summary=summary,
            started_at=now(),
        )

    @repeatable
    def _add_attempt(self, pipeline: str, **values: Any) -> int:
        table = schema.attempts
        with self._write(pipeline) as connection:
            is_same = [table.c[name] == value for name, value in values.items()]
            known = connection.execute(select(table.c.id).where(table.c.pipeline == pipeline, *is_same)).scalar()
            if known is not None:  # the answer to its commit was lost
                return int(known)
            done = connection.execute(insert(table).values(pipeline=pipeline, state="running", **values))
            return int(done.inserted_primary_key[0])  # type: ignore[index]

    @repeatable
    def end_attempt(
        self, attempt: int, state: str, summary: Mapping[str, Any] | None, error: str | None, peak_rss_mib: int | None
    ) -> None:
        with self._engine.begin() as connection:
            connection.execute(
                update(schema.attempts)
                .where(schema.attempts.c.id == attempt)
                .values(state=state, ended_at=now(), summary=summary, error=error, peak_rss_mib=peak_rss_mib)
            )

    @repeatable
    def fail_running(self, attempt: int, error: str, peak_rss_mib: int) -> None:
        """Ends an attempt whose process was killed; one that ended by itself meanwhile stays as it is."""
        with self._engine.begin() as connection:
            connection.execute(
                update(schema.attempts)
                .where(schema.attempts.c.id == attempt, schema.attempts.c.state == "running")
                .values(state="failed", ended_at=now(), error=error, peak_rss_mib=peak_rss_mib)
            )

    def attempts(self, pipeline: str, partition: str | None = None) -> list[Row]:
        table = schema.attempts
        query = select(table).where(table.c.pipeline == pipeline).order_by(table.c.id)
        return self._rows(query.where(table.c.partition == partition) if partition else query)

    def newest_attempts(self, pipeline: str, steps: Sequence[str], newest: int) -> dict[str, list[Row]]:
        """By step, newest first, at most `newest` of each, with their summaries."""
        table = schema.attempts
        # The index answers this alone; put in order by the database, it would be left for a walk over all pipelines.
        places = select(table.c.id, table.c.step).where(table.c.pipeline == pipeline, table.c.step.in_(steps))
        found: dict[str, list[Row]] = {step: [] for step in steps}
        by_step: dict[str, list[int]] = {}
        for place in self._rows(places):
            by_step.setdefault(place["step"], []).append(place["id"])
        chosen = [one for ids in by_step.values() for one in sorted(ids)[-newest:]]
        rows = self._rows(select(table).where(table.c.id.in_(chosen))) if chosen else []
        for row in sorted(rows, key=lambda one: -one["id"]):
            found[row["step"]].append(row)
        return found
