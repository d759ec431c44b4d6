"""Model versions, what was decided about them, and which was champion when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select, update

from pipelines.errors import ModelError
from pipelines.ledger import schema
from pipelines.ledger.transactions import Row, Transactions, now, repeatable


class Versions(Transactions):
    """Rows of `models`, `decisions` and `champions`."""

    @repeatable
    def record_model(
        self,
        pipeline: str,
        *,
        run_id: str,
        as_of: datetime,
        mlflow_run_id: str | None,
        artifact_uri: str,
        artifact_sha256: str,
        record: Mapping[str, Any],
    ) -> int:
        """The version of the model that `run_id` trained: a new one, or, after a retry, the one recorded before."""
        table = schema.models
        with self._write(pipeline) as connection:
            known = connection.execute(
                select(table.c.version).where(table.c.pipeline == pipeline, table.c.run_id == run_id)
            ).scalar()
            values = {
                "as_of": as_of,
                "mlflow_run_id": mlflow_run_id,
                "artifact_uri": artifact_uri,
                "artifact_sha256": artifact_sha256,
                "record": dict(record),
            }
            if known is not None:
                connection.execute(
                    update(table).where(table.c.pipeline == pipeline, table.c.version == known).values(**values)
                )
                return int(known)
            newest = connection.execute(select(func.max(table.c.version)).where(table.c.pipeline == pipeline)).scalar()
            version = (newest or 0) + 1
            connection.execute(
                insert(table).values(pipeline=pipeline, version=version, run_id=run_id, created_at=now(), **values)
            )
            return version

    def model(self, pipeline: str, version: int) -> Row:
        """Raises ModelError when this version was never registered."""
        table = schema.models
        found = self._rows(select(table).where(table.c.pipeline == pipeline, table.c.version == version))
        if not found:
            raise ModelError("E-MODEL-UNKNOWN", pipeline, f"version {version} was never registered")
        return found[0]

    def models(self, pipeline: str) -> list[Row]:
        table = schema.models
        return self._rows(select(table).where(table.c.pipeline == pipeline).order_by(table.c.version))

    @repeatable
    def record_decision(
        self,
        pipeline: str,
        kind: str,
        partition: str,
        *,
        run_id: str,
        outcome: str,
        model_version: int | None,
        reasons: Sequence[str],
        numbers: Mapping[str, Any],
    ) -> None:
        """Appends a decision; the same run deciding again (a retry) replaces its own."""
        table = schema.decisions
        with self._write(pipeline) as connection:
            connection.execute(
                table.delete().where(
                    table.c.pipeline == pipeline,
                    table.c.kind == kind,
                    table.c.partition == partition,
                    table.c.run_id == run_id,
                )
            )
            connection.execute(
                insert(table).values(
                    pipeline=pipeline,
                    kind=kind,
                    partition=partition,
                    run_id=run_id,
                    outcome=outcome,
                    model_version=model_version,
                    reasons=list(reasons),
                    numbers=dict(numbers),
                    decided_at=now(),
                )
            )

    def decisions(self, pipeline: str, kind: str | None = None, partition: str | None = None) -> list[Row]:
        table = schema.decisions
        query = select(table).where(table.c.pipeline == pipeline).order_by(table.c.id)
        query = query.where(table.c.kind == kind) if kind else query
        return self._rows(query.where(table.c.partition == partition) if partition else query)

    # -- champions ------------------------------------------------------------------------------------------------

    def champions(self, pipeline: str) -> list[Row]:
        """History, oldest first."""
        table = schema.champions
        return self._rows(select(table).where(table.c.pipeline == pipeline).order_by(table.c.seq))

    def champion(self, pipeline: str, at: datetime | None = None) -> Row | None:
        """The champion, or with `at` the one that was in force for partitions starting at that moment."""
        history = self.champions(pipeline)
        valid = [row for row in history if at is None or row["effective_from"] <= at]
        return valid[-1] if valid else None

    @repeatable
    def change_champion(
        self,
        pipeline: str,
        version: int,
        *,
        expected_seq: int,
        effective_from: datetime,
        action: str,
        reason: str,
        actor: str,
        run_id: str,
    ) -> bool:
        """Compare-and-set: True when `expected_seq` (0: none yet) was still the newest change, else nothing happens.

        True as well when this very change is the newest one: the answer to its commit was lost.
        """
        table = schema.champions
        change = {
            "version": version,
            "effective_from": effective_from,
            "action": action,
            "reason": reason,
            "actor": actor,
            "run_id": run_id,
        }
        with self._write(pipeline) as connection:
            newest = (
                connection.execute(select(table).where(table.c.pipeline == pipeline).order_by(table.c.seq.desc()))
                .mappings()
                .first()
            )
            found = newest["seq"] if newest else 0
            if newest and found == expected_seq + 1:
                return all(newest[name] == value for name, value in change.items())
            if found != expected_seq:
                return False
            values = {"pipeline": pipeline, "seq": expected_seq + 1, "decided_at": now(), **change}
            connection.execute(insert(table).values(**values))
            return True
