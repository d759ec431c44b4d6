"""What happened, in SQL: attempts, publications, row accounting, models, decisions, champions and releases."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, func, insert, select, update

from pipelines.calls import call
from pipelines.databases import place
from pipelines.errors import ModelError
from pipelines.ledger import schema
from pipelines.ledger.database import LEDGER, create_tables, ledger_errors, open_ledger, take_turn
from pipelines.ledger.exclusive import advisory_lock
from pipelines.storage import durable

Row = Mapping[str, Any]
Answer = TypeVar("Answer")
_Given = ParamSpec("_Given")


def repeatable(method: Callable[Concatenate[Ledger, _Given], Answer]) -> Callable[Concatenate[Ledger, _Given], Answer]:
    """Repeats a method while the database is away for a moment.

    Each is one transaction, and done twice it leaves and returns the same as done once: nobody knows whether a commit
    whose answer was lost took place.
    """

    @wraps(method)
    def repeated(self: Ledger, *arguments: _Given.args, **named: _Given.kwargs) -> Answer:
        return self._repeated(method.__name__, lambda: method(self, *arguments, **named))

    return repeated


class Ledger:
    """All reads return plain mappings in a stable order; times come back aware, in UTC."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = open_ledger(url)
        self._place = place(self._engine.url)
        self._repeated("creating the tables", lambda: create_tables(self._engine))

    # -- attempts -------------------------------------------------------------------------------------------------

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
            started_at=_now(),
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
                .values(state=state, ended_at=_now(), summary=summary, error=error, peak_rss_mib=peak_rss_mib)
            )

    @repeatable
    def fail_running(self, attempt: int, error: str, peak_rss_mib: int) -> None:
        """Ends an attempt whose process was killed; one that ended by itself meanwhile stays as it is."""
        with self._engine.begin() as connection:
            connection.execute(
                update(schema.attempts)
                .where(schema.attempts.c.id == attempt, schema.attempts.c.state == "running")
                .values(state="failed", ended_at=_now(), error=error, peak_rss_mib=peak_rss_mib)
            )

    def attempts(self, pipeline: str, partition: str | None = None) -> list[Row]:
        table = schema.attempts
        query = select(table).where(table.c.pipeline == pipeline).order_by(table.c.id)
        return self._rows(query.where(table.c.partition == partition) if partition else query)

    def pipelines(self) -> list[str]:
        """Names of all pipelines that ever ran a step, in order."""
        column = schema.attempts.c.pipeline
        return [row["pipeline"] for row in self._rows(select(column).distinct().order_by(column))]

    # -- publications ---------------------------------------------------------------------------------------------

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
                "published_at": _now(),
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
            connection.execute(
                insert(table).values(pipeline=pipeline, partition=partition, updated_at=_now(), **values)
            )

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
                        first_seen_at=_now(),
                    )
                )

    def inputs(self, pipeline: str, partition: str | None = None) -> list[Row]:
        table = schema.inputs
        query = select(table).where(table.c.pipeline == pipeline).order_by(table.c.id)
        return self._rows(query.where(table.c.partition == partition) if partition else query)

    # -- models and decisions -------------------------------------------------------------------------------------

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
                insert(table).values(pipeline=pipeline, version=version, run_id=run_id, created_at=_now(), **values)
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
                    decided_at=_now(),
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
            values = {"pipeline": pipeline, "seq": expected_seq + 1, "decided_at": _now(), **change}
            connection.execute(insert(table).values(**values))
            return True

    # -- releases -------------------------------------------------------------------------------------------------

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
                    pipeline=pipeline, partition=partition, seq=seq, state="released", released_at=_now(), **values
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

    # -- one at a time --------------------------------------------------------------------------------------------

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

    # -- plumbing -------------------------------------------------------------------------------------------------

    def _rows(self, query: Any) -> list[Row]:
        return self._repeated("reading", lambda: self._read(query))

    def _read(self, query: Any) -> list[Row]:
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    @contextmanager
    def _write(self, pipeline: str) -> Iterator[Connection]:
        """One transaction; of one pipeline one at a time, so that what it reads stays true until it commits."""
        with self._engine.begin() as connection:
            take_turn(connection, pipeline)
            yield connection

    def _repeated(self, action: str, work: Callable[[], Answer]) -> Answer:
        with ledger_errors(self._engine):
            return call(LEDGER, self._place, action, work)


def _now() -> datetime:
    return datetime.now(UTC)
