"""Bounded reads over several pipelines at once, for pages: what they cost follows from what is shown, not from the
history behind it.

A span is the first and the last key that a page shows of a pipeline. Rows carry their pipeline; those of one pipeline
come in the order of its partitions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Column, Table, Text, and_, case, func, not_, select, true, type_coerce, union

from pipelines.ledger import schema
from pipelines.ledger.transactions import Row, Transactions

Spans = Mapping[str, tuple[str, str]]
UNFINISHED = ("failed", "refused", "running")
_AT_ONCE = 500  # pipelines in one statement; databases bound the number of its parameters


class Glances(Transactions):
    """Reads of all tables that pages show; nothing is written here."""

    def pipelines(self) -> list[str]:
        """Names of all pipelines that ever ran a step, in order; one look at the index per name."""
        column = schema.attempts.c.pipeline
        first = select(func.min(column).label("name")).cte("names", recursive=True)
        following = select(func.min(column)).where(column > first.c.name).scalar_subquery()
        names = first.union_all(select(following).where(first.c.name.is_not(None)))
        found = self._rows(select(names.c.name).where(names.c.name.is_not(None)).order_by(names.c.name))
        return [row["name"] for row in found]

    def partition_keys(
        self,
        pipeline: str,
        steps: Sequence[str],
        newest: int | None = None,
        first: str | None = None,
        last: str | None = None,
    ) -> list[str]:
        """Keys of the partitions that these steps, the accounting, a release or the monitor knows, newest first.

        Args:
            newest: at most so many.
            first, last: none before and none after these, both included.
        """
        attempts, decisions = schema.attempts, schema.decisions
        sources: list[tuple[Table, Any]] = [
            (schema.accounting, true()),
            (schema.releases, true()),
            (attempts, attempts.c.step.in_(steps)),
            (decisions, decisions.c.kind == "drift"),
        ]
        found = [
            select(table.c.partition)
            .where(table.c.pipeline == pipeline, condition, *_between(table, first, last))
            .distinct()
            .order_by(table.c.partition.desc())
            .limit(newest)
            .subquery()
            for table, condition in sources
        ]
        every = union(*(select(one.c.partition) for one in found)).subquery()
        rows = self._rows(select(every.c.partition).order_by(every.c.partition.desc()).limit(newest))
        return [row["partition"] for row in rows]

    def newest_firsts(self, pipelines: Sequence[str], count: int) -> dict[str, str]:
        """By pipeline the oldest of its newest `count` partitions that were accounted for; none for one with fewer."""
        table = schema.accounting
        names = select(table.c.pipeline).distinct().subquery()
        key = table.c.partition
        of = select(key).where(table.c.pipeline == names.c.pipeline)
        last_of_them = of.order_by(key.desc()).offset(count - 1).limit(1).scalar_subquery()
        rows = self._rows(select(names.c.pipeline, last_of_them.label("first")))
        wanted = set(pipelines)
        return {row["pipeline"]: row["first"] for row in rows if row["first"] and row["pipeline"] in wanted}

    def first_partition(self, pipeline: str) -> str | None:
        """The oldest key that the accounting knows."""
        table = schema.accounting
        rows = self._rows(select(func.min(table.c.partition).label("key")).where(table.c.pipeline == pipeline))
        return rows[0]["key"] if rows else None

    def partition_counts(self) -> dict[str, int]:
        """By pipeline how many partitions were ever accounted for."""
        table = schema.accounting
        counted = select(table.c.pipeline, func.count().label("count")).group_by(table.c.pipeline)
        return {row["pipeline"]: row["count"] for row in self._rows(counted)}

    def accounting_within(self, spans: Spans) -> list[Row]:
        return self._within(schema.accounting, spans)

    def releases_within(self, spans: Spans) -> list[Row]:
        return self._within(schema.releases, spans, order=("seq",))

    def attempts_within(self, spans: Spans, steps: Sequence[str]) -> list[Row]:
        """Of these steps, without their summaries, in the order in which they began."""
        table = schema.attempts
        columns = [column for column in table.c if column.name not in ("summary", "code_version", "peak_rss_mib")]
        return self._within(table, spans, columns, table.c.step.in_(steps), order=("id",))

    def attempt_counts_within(self, spans: Spans, steps: Sequence[str]) -> list[Row]:
        """Per partition how many `attempts` these steps made, how many of them stopped or run (`unfinished`), and when
        the last one began and ended."""
        table = schema.attempts
        mine = table.c.step.in_(steps)
        columns = [
            func.count().label("attempts"),
            func.sum(case((table.c.state.in_(UNFINISHED), 1), else_=0)).label("unfinished"),
            func.max(table.c.started_at).label("began"),
            func.max(table.c.ended_at).label("ended"),
        ]
        return self._within(table, spans, columns, mine, is_grouped=True)

    def newest_attempts_within(self, spans: Spans, steps: Sequence[str]) -> list[Row]:
        """Of each pipeline the attempt of these steps that began last."""
        table = schema.attempts
        newest: list[int] = []
        for span, names in _alike(spans):
            mine = and_(table.c.pipeline.in_(names), table.c.step.in_(steps), *_between(table, *span))
            ids = self._rows(select(func.max(table.c.id).label("id")).where(mine).group_by(table.c.pipeline))
            newest += [row["id"] for row in ids]
        columns = [column for column in table.c if column.name != "summary"]
        return self._rows(select(*columns).where(table.c.id.in_(newest)).order_by(table.c.pipeline)) if newest else []

    def decisions_within(
        self, spans: Spans, kinds: Sequence[str], numbers: bool = True, is_raw: bool = False
    ) -> list[Row]:
        """Of these kinds; `numbers` holds most of their bytes and may be left out, or come as the JSON's text."""
        table = schema.decisions
        columns = [_raw(column) if is_raw and column.name == "numbers" else column for column in table.c]
        kept = [column for column in columns if numbers or column.name != "numbers"]
        return self._within(table, spans, kept, table.c.kind.in_(kinds), order=("id",))

    def published_within(self, spans: Spans, tables: Sequence[str], facts: bool = False) -> list[Row]:
        """The newest publication of each partition of these tables: digest, rows and, if asked for, the text of its
        facts as JSON."""
        table = schema.publications
        kept = ("pipeline", "table_name", "partition", "generation", "content_digest", "row_count")
        columns = [table.c[name] for name in kept] + ([_raw(table.c.facts)] if facts else [])
        rows = self._within(table, spans, columns, table.c.table_name.in_(tables), order=("table_name", "generation"))
        return list({(row["pipeline"], row["table_name"], row["partition"]): row for row in rows}.values())

    def newest_champions(self, pipelines: Sequence[str]) -> dict[str, Row]:
        """The change of champion that holds now, by pipeline; none where there was no champion yet."""
        table = schema.champions
        newest = select(table.c.pipeline, func.max(table.c.seq).label("seq")).group_by(table.c.pipeline).subquery()
        query = select(table).join(newest, (newest.c.pipeline == table.c.pipeline) & (newest.c.seq == table.c.seq))
        wanted = set(pipelines)
        return {row["pipeline"]: row for row in self._rows(query) if row["pipeline"] in wanted}

    def versions(self, pipeline: str, newest: int, until: int | None = None) -> list[Row]:
        """Versions without their records, newest first, none after `until`."""
        table = schema.models
        columns = [column for column in table.c if column.name != "record"]
        upto = [table.c.version <= until] if until is not None else []
        query = select(*columns).where(table.c.pipeline == pipeline, *upto)
        return self._rows(query.order_by(table.c.version.desc()).limit(newest))

    def newest_decisions(
        self,
        pipeline: str,
        kinds: Sequence[str],
        newest: int | None = None,
        before: int | None = None,
        numbers: bool = True,
        without: Sequence[tuple[str, str]] = (),
    ) -> list[Row]:
        """Of these kinds, newest first, at most `newest`, all decided before the one with the id `before`.

        Args:
            without: (kind, outcome) of decisions that are left out.
        """
        table = schema.decisions
        columns = [column for column in table.c if numbers or column.name != "numbers"]
        earlier = [table.c.id < before] if before is not None else []
        wanted = [not_(and_(table.c.kind == kind, table.c.outcome == outcome)) for kind, outcome in without]
        query = select(*columns).where(table.c.pipeline == pipeline, table.c.kind.in_(kinds), *earlier, *wanted)
        return self._rows(query.order_by(table.c.id.desc()).limit(newest))

    def gate_outcomes(self, pipeline: str, first: int, last: int) -> dict[int, str]:
        """What the gate said last of each version from `first` to `last`."""
        table = schema.decisions
        of = (table.c.pipeline == pipeline) & (table.c.kind == "gate") & table.c.model_version.between(first, last)
        rows = self._rows(select(table.c.model_version, table.c.outcome).where(of).order_by(table.c.id))
        return {row["model_version"]: row["outcome"] for row in rows}

    def newest_runs(self, pipeline: str, steps: Sequence[str], newest: int | None = None) -> list[Row]:
        """The attempts, in the order in which they began, of the newest runs that took one of these steps."""
        table = schema.attempts
        columns = [column for column in table.c if column.name != "summary"]
        mine = and_(table.c.pipeline == pipeline, table.c.step.in_(steps))
        begun = func.min(table.c.id)
        runs = select(table.c.run_id).where(mine).group_by(table.c.run_id).order_by(begun.desc()).limit(newest)
        return self._rows(select(*columns).where(mine, table.c.run_id.in_(runs)).order_by(table.c.id))

    def of_run(self, pipeline: str, run_id: str) -> list[Row]:
        """The attempts of one run, without their summaries."""
        table = schema.attempts
        columns = [column for column in table.c if column.name != "summary"]
        query = select(*columns).where(table.c.pipeline == pipeline, table.c.run_id == run_id)
        return self._rows(query.order_by(table.c.id))

    def version_of_run(self, pipeline: str, run_id: str) -> int | None:
        """The model version that a retrain run trained."""
        table = schema.models
        rows = self._rows(select(table.c.version).where(table.c.pipeline == pipeline, table.c.run_id == run_id))
        return int(rows[0]["version"]) if rows else None

    def _within(
        self,
        table: Table,
        spans: Spans,
        columns: Sequence[Any] | None = None,
        condition: Any = None,
        order: Sequence[str] = (),
        is_grouped: bool = False,
    ) -> list[Row]:
        places = [table.c.pipeline, table.c.partition]
        found: list[Row] = []
        for span, names in _alike(spans):
            chosen = columns or list(table.c)
            query = select(*places, *chosen).group_by(*places) if is_grouped else select(*chosen)
            query = query.where(table.c.pipeline.in_(names), *_between(table, *span))
            query = query if condition is None else query.where(condition)
            found += self._rows(query.order_by(*places, *(table.c[name] for name in order)))
        return found


def _raw(column: Column[Any]) -> Any:
    """JSON as its text: who reads the same rows again need not take it apart again."""
    return type_coerce(column, Text).label(column.name)


def _alike(spans: Spans) -> Iterator[tuple[tuple[str, str], list[str]]]:
    """Pipelines of one span together: on the same schedule they are read by one statement."""
    by_span: dict[tuple[str, str], list[str]] = {}
    for name, span in spans.items():
        by_span.setdefault(span, []).append(name)
    for span, names in by_span.items():
        for start in range(0, len(names), _AT_ONCE):
            yield span, names[start : start + _AT_ONCE]


def _between(table: Table, first: str | None, last: str | None) -> list[Any]:
    after = [table.c.partition >= first] if first is not None else []
    return after + ([table.c.partition <= last] if last is not None else [])
