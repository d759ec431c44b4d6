"""What happened, in SQL: attempts, publications, row accounting, models, decisions, champions and releases."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event, func, insert, make_url, select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from pipelines.databases import open_engine
from pipelines.errors import ModelError, StorageError
from pipelines.ledger import schema
from pipelines.ledger.exclusive import advisory_lock
from pipelines.storage import durable

Row = Mapping[str, Any]


class Ledger:
    """All reads return plain mappings in a stable order; times come back aware, in UTC."""

    def __init__(self, url: str) -> None:
        self.url = url
        if url.startswith("sqlite:///"):
            Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        self._engine = _engine(url)
        with self._errors():
            schema.metadata.create_all(self._engine)

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
        with self._write() as connection:
            done = connection.execute(
                insert(schema.attempts).values(
                    pipeline=pipeline,
                    partition=partition,
                    step=step,
                    run_id=run_id,
                    state="running",
                    started_at=_now(),
                    summary=summary,
                    code_version=code_version,
                )
            )
            return int(done.inserted_primary_key[0])  # type: ignore[index]

    def end_attempt(
        self, attempt: int, state: str, summary: Mapping[str, Any] | None, error: str | None, peak_rss_mib: int | None
    ) -> None:
        with self._write() as connection:
            connection.execute(
                update(schema.attempts)
                .where(schema.attempts.c.id == attempt)
                .values(state=state, ended_at=_now(), summary=summary, error=error, peak_rss_mib=peak_rss_mib)
            )

    def fail_running(self, attempt: int, error: str, peak_rss_mib: int) -> None:
        """Ends an attempt whose process was killed; one that ended by itself meanwhile stays as it is."""
        with self._write() as connection:
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
        """Appends the next generation (from 1) of this partition and returns its row."""
        columns = schema.publications.c
        with self._write() as connection:
            newest = connection.execute(
                select(func.max(columns.generation)).where(
                    columns.pipeline == pipeline, columns.table_name == table, columns.partition == partition
                )
            ).scalar()
            values = {
                "pipeline": pipeline,
                "table_name": table,
                "partition": partition,
                "generation": (newest or 0) + 1,
                "run_id": run_id,
                "delta_version": delta_version,
                "input_digest": input_digest,
                "content_digest": content_digest,
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

    def publications(self, pipeline: str, table: str, partitions: Sequence[str] | None = None) -> list[Row]:
        """The newest publication of each partition, ordered by partition."""
        columns = schema.publications.c
        newest = (
            select(columns.partition, func.max(columns.generation).label("generation"))
            .where(columns.pipeline == pipeline, columns.table_name == table)
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

    def set_accounting(self, pipeline: str, partition: str, **values: Any) -> None:
        """Replaces the row of this partition: state, read, clean, quarantined, duplicate, reason, run_id."""
        table = schema.accounting
        with self._write() as connection:
            connection.execute(table.delete().where(table.c.pipeline == pipeline, table.c.partition == partition))
            connection.execute(
                insert(table).values(pipeline=pipeline, partition=partition, updated_at=_now(), **values)
            )

    def accounting(self, pipeline: str) -> list[Row]:
        table = schema.accounting
        return self._rows(select(table).where(table.c.pipeline == pipeline).order_by(table.c.partition))

    # -- inputs ---------------------------------------------------------------------------------------------------

    def record_input(self, pipeline: str, partition: str, source: str, sha256: str, size: int, records: int) -> None:
        """Remembers a content once; the same content again changes nothing."""
        table = schema.inputs
        with self._write() as connection:
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
        with self._write() as connection:
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
        with self._write() as connection:
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
        """Compare-and-set: True when `expected_seq` (0: none yet) was still the newest change, else nothing happens."""
        try:
            with self._write() as connection:
                newest = connection.execute(
                    select(func.max(schema.champions.c.seq)).where(schema.champions.c.pipeline == pipeline)
                ).scalar()
                if (newest or 0) != expected_seq:
                    return False
                connection.execute(
                    insert(schema.champions).values(
                        pipeline=pipeline,
                        seq=expected_seq + 1,
                        version=version,
                        effective_from=effective_from,
                        action=action,
                        reason=reason,
                        actor=actor,
                        run_id=run_id,
                        decided_at=_now(),
                    )
                )
                return True
        except IntegrityError:
            return False

    # -- releases -------------------------------------------------------------------------------------------------

    def record_release(self, pipeline: str, partition: str, **values: Any) -> int:
        """Appends a release, marks the one before it superseded, and returns its number within the partition.

        Values: release_id, model_version, row_count, digest, path, is_hindsight, run_id. A release that is already
        current (same release_id) is returned as it is.
        """
        table = schema.releases
        with self._write() as connection:
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

    def retract_release(self, pipeline: str, partition: str, reason: str) -> bool:
        """True when a current release was marked retracted."""
        table = schema.releases
        with self._write() as connection:
            done = connection.execute(
                update(table)
                .where(table.c.pipeline == pipeline, table.c.partition == partition, table.c.state == "released")
                .values(state="retracted", reason=reason)
            )
            return done.rowcount > 0

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
            return advisory_lock(self._engine, name, patience_seconds)
        folder = Path(str(self._engine.url.database)).parent / "locks"
        return durable.exclusive(folder / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.lock", patience_seconds)

    # -- plumbing -------------------------------------------------------------------------------------------------

    def _rows(self, query: Any) -> list[Row]:
        with self._errors(), self._engine.connect() as connection:
            return [_aware(dict(row)) for row in connection.execute(query).mappings()]

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with self._errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as error:
            raise StorageError(
                "E-DB-DOWN", "ledger", f"the database did not answer: {str(error.orig)[:200]}", "Nothing was published."
            ) from error


def _engine(url: str) -> Engine:
    engine = open_engine(make_url(url))
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _prepare(connection: Any, _record: Any) -> None:
            connection.isolation_level = None
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA busy_timeout=30000")

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            # Immediate: two writers queue up instead of failing when both read before they write.
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _aware(row: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value
        for key, value in row.items()
    }


def _now() -> datetime:
    return datetime.now(UTC)
