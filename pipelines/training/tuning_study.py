"""The trials of a search, as rows in the ledger's database: who tries what, and how each trial ended.

Workers on any machine share a search, a killed one is gone on with, and what was tried stays known. Optuna proposes and
prunes from these rows, in memory (`tuning_sampler`). Its own RDBStorage was not taken: it numbers a repeated trial anew
and counts what the killed one reported, so that a kill would change the search; it may begin more trials than were
asked for; and a newer Optuna refuses tables that an older one made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from pipelines.ledger.schema import metadata
from pipelines.ledger.schema import tuning_studies as studies
from pipelines.ledger.schema import tuning_trials as trials
from pipelines.ledger.transactions import Row, Transactions, now

COMPLETE, PRUNED, FAILED, RUNNING = "complete", "pruned", "failed", "running"
FINISHED = (COMPLETE, PRUNED, FAILED)
BEAT_SECONDS = 15.0
DEAD_AFTER_SECONDS = 120.0  # the clocks of machines that share a ledger must not be further apart than that
_MOST_TRIES = 3  # a trial that ends its process each time would end every worker after the other


@dataclass(frozen=True)
class Claim:
    """A trial that is this worker's: `parameters` of a repeated one, and the trials that were known when it began."""

    number: int
    parameters: Mapping[str, Any] | None
    known: Sequence[Row]


class Studies(Transactions):
    """The searches of one ledger's database. Times come back aware, in UTC."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._repeated("creating the tables of searches", self._create)

    def _create(self) -> None:
        """What is missing: a replay searches in a database of its own, and a ledger may be older than searches."""
        with self._write("schema") as connection:
            metadata.create_all(connection, [studies, trials])

    def open(self, study: str, **values: Any) -> Row:
        """The search of this name, made with these values when it does not exist yet."""

        def work() -> Row:
            with self._write(f"study {study}") as connection:
                known = connection.execute(select(studies).where(studies.c.study == study)).mappings().first()
                if known is None:
                    connection.execute(insert(studies).values(study=study, created_at=now(), **values))
                    known = connection.execute(select(studies).where(studies.c.study == study)).mappings().one()
                return dict(known)

        return self._repeated("opening a search", work)

    def of(self, pipeline: str) -> list[Row]:
        """Every search of a pipeline, oldest first."""
        query = select(studies).where(studies.c.pipeline == pipeline).order_by(studies.c.created_at, studies.c.study)
        return self._rows(query)

    def trials(self, study: str) -> list[Row]:
        """In the order of their numbers."""
        return self._rows(select(trials).where(trials.c.study == study).order_by(trials.c.number))

    def idle(self, pipeline: str, since: datetime) -> list[str]:
        """Searches that nobody has worked on since then, oldest first."""
        at_work = select(trials.c.study).where(trials.c.beat_at >= since)
        query = select(studies).where(studies.c.pipeline == pipeline, studies.c.created_at < since)
        query = query.where(studies.c.study.not_in(at_work)).order_by(studies.c.created_at, studies.c.study)
        return [row["study"] for row in self._rows(query)]

    def forget(self, study: str) -> None:
        """Removes a search with its trials."""

        def work() -> None:
            with self._write(f"study {study}") as connection:
                for table in (trials, studies):
                    connection.execute(delete(table).where(table.c.study == study))

        self._repeated("removing a search", work)

    def claim(self, study: str, count: int, owner: str, in_order: bool, is_gone: Callable[[str], bool]) -> Claim | bool:
        """The next of `count` trials for this owner; False while only others are at work, True when all have ended.

        A trial whose worker is gone, or has not been heard of for too long, is claimed again, with its parameters.
        `in_order`: only after all trials before it have ended, so that each knows the same ones however often the
        search was interrupted.
        """

        def work() -> Claim | bool:
            with self._write(f"study {study}") as connection:
                query = select(trials).where(trials.c.study == study).order_by(trials.c.number)
                known = [dict(row) for row in connection.execute(query).mappings()]
                mine = [row for row in known if row["state"] == RUNNING and row["owner"] == owner]
                if mine:  # the answer to its commit was lost
                    return _claimed(mine[0], known)
                lost = [row for row in known if row["state"] == RUNNING and _is_lost(row, is_gone)]
                for row in [row for row in lost if row["tries"] >= _MOST_TRIES]:
                    _give_up(connection, row)
                lost = [row for row in lost if row["tries"] < _MOST_TRIES]
                free = {row["number"]: row for row in lost} | {
                    number: None for number in range(count) if number not in {row["number"] for row in known}
                }
                at_work = [row["number"] for row in known if row["state"] == RUNNING and row not in lost]
                if not free or (in_order and at_work and min(at_work) < min(free)):
                    return not free and not at_work
                number = min(free)
                return _claimed(_taken(connection, study, number, free[number], owner), known)

        return self._repeated("claiming a trial", work)

    def begin(self, study: str, number: int, owner: str, parameters: Mapping[str, Any]) -> bool:
        """Notes what this trial tries; False when it is no longer this owner's."""
        return self._change(study, number, owner, parameters=dict(parameters))

    def beat(self, study: str, number: int, owner: str) -> bool:
        """Says that the worker of this trial is alive."""
        return self._change(study, number, owner)

    def end(self, study: str, number: int, owner: str, state: str, **values: Any) -> bool:
        """Ends a trial; False when it is no longer this owner's, who was taken for dead: then nothing changes."""
        value = values.pop("value", None)
        kept = value if value is not None and math.isfinite(value) else None
        return self._change(study, number, owner, state=state, ended_at=now(), value=kept, **values)

    def release(self, study: str, number: int, owner: str) -> bool:
        """Gives a trial back that was not ended: the next who asks may have it at once."""
        long_ago = datetime.fromtimestamp(0, UTC)
        return self._change(study, number, owner, owner="", beat_at=long_ago, tries=trials.c.tries - 1)

    def _change(self, study: str, number: int, of: str, **values: Any) -> bool:
        def work() -> bool:
            with self._engine.begin() as connection:
                here = (trials.c.study == study) & (trials.c.number == number)
                is_mine = here & (trials.c.owner == of) & (trials.c.state == RUNNING)
                done = connection.execute(update(trials).where(is_mine).values({"beat_at": now(), **values}))
                if done.rowcount:
                    return True
                row = connection.execute(select(trials).where(here)).mappings().first()
                # The answer to its commit was lost.
                return row is not None and row["owner"] == of and row["state"] == values.get("state")

        return self._repeated("writing a trial", work)


def _is_lost(row: Row, is_gone: Callable[[str], bool]) -> bool:
    return is_gone(row["owner"]) or row["beat_at"] < now() - timedelta(seconds=DEAD_AFTER_SECONDS)


def _give_up(connection: Connection, row: Row) -> None:
    reason = f"its process died {row['tries']} times: too little memory, or a fault in a library"
    here = (trials.c.study == row["study"]) & (trials.c.number == row["number"])
    connection.execute(update(trials).where(here).values(state=FAILED, reason=reason, ended_at=now()))


def _taken(connection: Connection, study: str, number: int, lost: Row | None, owner: str) -> Row:
    began = now()
    values = {"state": RUNNING, "owner": owner, "tries": (lost["tries"] if lost else 0) + 1}
    values |= {"beat_at": began, "started_at": began}
    here = (trials.c.study == study) & (trials.c.number == number)
    if lost:
        connection.execute(update(trials).where(here).values(**values))
    else:
        connection.execute(insert(trials).values(study=study, number=number, **values))
    return dict(connection.execute(select(trials).where(here)).mappings().one())


def _claimed(row: Row, known: Sequence[Row]) -> Claim:
    return Claim(row["number"], row["parameters"], [one for one in known if one["number"] != row["number"]])
