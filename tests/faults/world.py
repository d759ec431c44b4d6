"""A home of the demo's pipeline on which fault tests run, kill and repeat steps, and all that must not change."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.demo.feed import simulate
from pipelines.demo.inbox import broken, deliver, write_bytes
from pipelines.home import REPOSITORY, Home
from pipelines.ledger import Ledger
from pipelines.storage.tables import Snapshot
from tests.faults.chain import DAILY, PIPELINE, RETRAIN
from tests.faults.forks import Child, ForkServer

DAYS = 9
TABLES = ("raw", "quarantine", "duplicates", "clean", "features", "predictions")
PUBLISHED = (
    "dimension_cards",
    "labels_chargebacks",
    "quarantine/ingest",
    "raw",
    "quarantine/validate",
    "duplicates",
    "clean",
    "features",
    "predictions",
)


class World:
    """Eight quiet days, a first model promoted on them, and a ninth day with broken and re-sent rows.

    The home is saved before each step of the retrain and of the ninth day; `expected[step]` is what the step leaves
    when nothing disturbs it, `seconds` the time that the ninth day takes.
    """

    def __init__(self, root: Path) -> None:
        self.home = Home(root / "home", REPOSITORY / "config")
        self.days = simulate(date(2026, 3, 1), DAYS, date(2026, 4, 1), payments_per_day=220, cards=60)
        self.last, self.before = str(self.days[-1].date), str(self.days[-2].date)
        self._saved, self._server = root / "saved", ForkServer(root / "errors")
        self.deliver_all()
        self.finish("days", ",".join(str(day.date) for day in self.days[:-1]))
        self.finish("retrain", self.before, str(self._saved))
        started = time.monotonic()
        self.finish("daily", self.last, str(self._saved))
        self.seconds = time.monotonic() - started
        shutil.copytree(self.home.root, self._saved / "end", symlinks=True)
        self.expected = {
            step: facts(Home(self._saved / following, self.home.config), self.last)
            for steps in ((*RETRAIN, "ingest"), (*DAILY, "end"))
            for step, following in itertools.pairwise(steps)
        }

    def partition_of(self, step: str) -> str:
        return self.last if step in DAILY else self.before

    def start(self, *arguments: str, failpoint: str = "", **variables: str) -> Child:
        """A child that runs tests.faults.chain; `failpoint` as in pipelines/failpoints.py."""
        environment = {**self.home.environment(), "NIGHTSHIFT_FAILPOINT": failpoint, **variables}
        return self._server.start(list(arguments), environment)

    def finish(self, *arguments: str, **variables: str) -> None:
        code, errors = self.start(*arguments, **variables).wait()
        assert code == 0, errors[-3000:]

    def killed_at(self, point: str, *arguments: str) -> int:
        """The exit code of a child that is killed when it reaches `point`."""
        return self.start(*arguments, failpoint=f"{point}=kill").wait()[0]

    def close(self) -> None:
        self._server.close()

    def restore(self, step: str) -> None:
        """The home as it was before `step`, at the same path: artifacts are recorded with absolute paths."""
        shutil.rmtree(self.home.root)
        shutil.copytree(self._saved / step, self.home.root, symlinks=True)

    def facts(self) -> dict[str, Any]:
        return facts(self.home, self.last)

    def deliver_all(self) -> None:
        inbox = self.home.root / "inbox"
        for day in self.days:
            deliver(day, inbox)
        content = broken(self.days[-1].payments, self.days[-2].payments[:6], seed=3)
        write_bytes(inbox / "payments" / f"{self.last}.csv.gz", content)

    def deliver_correction(self) -> None:
        """The last day's file again, with other amounts in its first 25 rows."""
        last = self.days[-1]
        rows = [{**row, "amount_eur": f"{float(row['amount_eur']) + 7:.2f}"} for row in last.payments[:25]]
        deliver(replace(last, payments=[*rows, *last.payments[25:]]), self.home.root / "inbox")


def facts(home: Home, partition: str) -> dict[str, Any]:
    """Everything that must not depend on a fault: rows, digests, exports, accounting, models, champions, decisions."""
    book = Ledger(home.ledger_url)
    accounting = ("partition", "state", "read", "clean", "quarantined", "duplicate")
    return {
        "tables": {table: _rows(home, table, partition) for table in TABLES},
        "digests": {
            table: {row["partition"]: row["content_digest"] for row in book.publications(PIPELINE, table)}
            for table in PUBLISHED
        },
        "exports": {
            str(path.relative_to(home.root / "exports" / PIPELINE)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((home.root / "exports" / PIPELINE).glob("partition=*/*"))
        },
        "accounting": [{name: row[name] for name in accounting} for row in book.accounting(PIPELINE)],
        "models": [(row["version"], row["artifact_sha256"]) for row in book.models(PIPELINE)],
        "champions": [(row["seq"], row["version"], row["effective_from"]) for row in book.champions(PIPELINE)],
        "decisions": [(row["kind"], row["partition"], row["outcome"]) for row in book.decisions(PIPELINE)],
        "releases": [
            (row["partition"], row["seq"], row["release_id"], row["state"]) for row in book.releases(PIPELINE)
        ],
    }


def is_balanced(found: dict[str, Any]) -> bool:
    return all(row["read"] == row["clean"] + row["quarantined"] + row["duplicate"] for row in found["accounting"])


def _rows(home: Home, table: str, partition: str) -> list[dict[str, Any]]:
    snapshot = Snapshot.latest(home.table(PIPELINE, table))
    if not snapshot.exists:
        return []
    rows = snapshot.read([partition]).to_pylist()
    return sorted(rows, key=lambda row: (row.get("stage", ""), row["row_id"]))
