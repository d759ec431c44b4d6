"""Releases of scores: which is current, superseded or retracted."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert, select, update

from pipelines.ledger import schema
from pipelines.ledger.transactions import Row, Transactions, now, repeatable


class Releases(Transactions):
    """Rows of `releases`."""

    @repeatable
    def record_release(self, pipeline: str, partition: str, **values: Any) -> int:
        """Appends a release, marks the one before it superseded, and returns its number within the partition.

        Values: release_id, model_version, row_count, digest, path, is_hindsight, run_id. A release that is already
        current (same release_id) is returned as it is.
        """
        table = schema.releases
        with self._write(pipeline) as connection:
            here = (table.c.pipeline == pipeline) & (table.c.partition == partition)
            last = (
                connection.execute(select(table).where(here).order_by(table.c.seq.desc()).limit(1)).mappings().first()
            )
            if last and last["release_id"] == values["release_id"] and last["state"] == "released":
                return int(last["seq"])
            connection.execute(update(table).where(here & (table.c.state == "released")).values(state="superseded"))
            seq = (last["seq"] if last else 0) + 1
            connection.execute(
                insert(table).values(
                    pipeline=pipeline, partition=partition, seq=seq, state="released", released_at=now(), **values
                )
            )
            return seq

    @repeatable
    def retract_release(self, pipeline: str, partition: str, reason: str) -> bool:
        """True when the newest release is retracted for this reason now: it was current, or a retry finds it so."""
        table = schema.releases
        with self._write(pipeline) as connection:
            here = (table.c.pipeline == pipeline) & (table.c.partition == partition)
            newest = connection.execute(select(table).where(here).order_by(table.c.seq.desc())).mappings().first()
            if newest is None or newest["state"] != "released":
                return newest is not None and newest["state"] == "retracted" and newest["reason"] == reason
            connection.execute(
                update(table).where(here & (table.c.seq == newest["seq"])).values(state="retracted", reason=reason)
            )
            return True

    def releases(self, pipeline: str, partition: str | None = None) -> list[Row]:
        """Every release ever made, ordered by partition and number."""
        table = schema.releases
        query = select(table).where(table.c.pipeline == pipeline).order_by(table.c.partition, table.c.seq)
        return self._rows(query.where(table.c.partition == partition) if partition else query)
