"""kill -9 at every named point, then the same run again: the same digests and bytes as without the kill."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipelines.demo.feed import simulate
from pipelines.demo.inbox import broken, deliver, write_bytes
from pipelines.home import REPOSITORY, Home
from pipelines.ledger import Ledger
from pipelines.storage.tables import Snapshot
from tests.faults.chain import PIPELINE

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kills")]

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
DAILY_POINTS = [
    *(f"{table}.{moment}" for table in PUBLISHED for moment in ("before_commit", "after_commit")),
    "validate.mid",
    "quarantine.after_write",
    "dedup.mid",
    "features.mid",
    "score.mid",
    "export.after_data",
    "export.after_manifest",
    "export.after_pointer",
    "drift.mid",
]
RETRAIN_POINTS = [
    "train.round_n",
    "train.after_fit",
    "registry.after_create",
    "registry.after_upload",
    "promote.before_cas",
    "promote.after_cas",
]


class World:
    """A home after eight quiet days and a promoted first model, and what its ninth day gives without a fault."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root / "home", REPOSITORY / "config")
        self.last = str(date(2026, 3, DAYS))
        self.before = str(date(2026, 3, DAYS - 1))
        self._saved = root / "saved"
        self._deliver()
        for day in range(1, DAYS):
            self.chain("daily", f"2026-03-{day:02d}")
        self._save("untrained")
        self.chain("retrain", self.before)
        self._save("trained")
        self.retrained = self.facts()
        self.chain("daily", self.last)
        self.expected = self.facts()

    def chain(self, kind: str, partition: str, failpoint: str | None = None) -> int:
        """The exit code of a run; every run of a partition has the same id, as Airflow's retries have."""
        environment = {**os.environ, **self.home.environment()}
        if failpoint:
            environment["NIGHTSHIFT_FAILPOINT"] = f"{failpoint}=kill"
        command = [sys.executable, "-m", "tests.faults.chain", kind, partition, f"{kind}-{partition}"]
        done = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        if failpoint is None:
            assert done.returncode == 0, done.stderr[-3000:]
        return done.returncode

    def restore(self, name: str) -> None:
        """Puts a saved state back to the same path: artifacts are recorded with absolute paths."""
        shutil.rmtree(self.home.root)
        shutil.copytree(self._saved / name, self.home.root, symlinks=True)

    def facts(self) -> dict[str, Any]:
        """Everything that must not depend on a kill: rows, exports, accounting, models, champions, decisions."""
        book = Ledger(self.home.ledger_url)
        return {
            "tables": {table: self._rows(table) for table in TABLES},
            "digests": {
                table: {row["partition"]: row["content_digest"] for row in book.publications(PIPELINE, table)}
                for table in PUBLISHED
            },
            "exports": {
                str(path.relative_to(self.home.exports(PIPELINE))): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in sorted(self.home.exports(PIPELINE).glob("partition=*/*"))
            },
            "accounting": [
                {name: row[name] for name in ("partition", "state", "read", "clean", "quarantined", "duplicate")}
                for row in book.accounting(PIPELINE)
            ],
            "models": [(row["version"], row["artifact_sha256"]) for row in book.models(PIPELINE)],
            "champions": [(row["seq"], row["version"], row["effective_from"]) for row in book.champions(PIPELINE)],
            "decisions": [(row["kind"], row["partition"], row["outcome"]) for row in book.decisions(PIPELINE)],
            "releases": [
                (row["partition"], row["seq"], row["release_id"], row["state"]) for row in book.releases(PIPELINE)
            ],
        }

    def _rows(self, table: str) -> list[dict[str, Any]]:
        snapshot = Snapshot.latest(self.home.table(PIPELINE, table))
        if not snapshot.exists:
            return []
        rows = snapshot.read([self.last]).to_pylist()
        return sorted(rows, key=lambda row: (row.get("stage", ""), row["row_id"]))

    def _deliver(self) -> None:
        days = simulate(date(2026, 3, 1), DAYS, date(2026, 4, 1), payments_per_day=220, cards=60)
        inbox = self.home.root / "inbox"
        for day in days:
            deliver(day, inbox)
        content = broken(days[-1].payments, days[-2].payments, seed=3)
        write_bytes(inbox / "payments" / f"{days[-1].date}.csv.gz", content)

    def _save(self, name: str) -> None:
        shutil.copytree(self.home.root, self._saved / name, symlinks=True)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("kills"))


def balanced(facts: dict[str, Any]) -> bool:
    return all(row["read"] == row["clean"] + row["quarantined"] + row["duplicate"] for row in facts["accounting"])


def test_fault_free_day_has_all_kinds_of_rows(world: World) -> None:
    last = world.expected["accounting"][-1]
    assert last["quarantined"] >= 9
    assert last["duplicate"] >= 42
    assert world.expected["releases"]
    assert world.expected["champions"]
    assert balanced(world.expected)


@pytest.mark.parametrize("point", DAILY_POINTS)
def test_day_after_kill_equals_day_without(world: World, point: str) -> None:
    world.restore("trained")
    assert world.chain("daily", world.last, failpoint=point) == -signal.SIGKILL, f"'{point}' was never reached"
    world.chain("daily", world.last)
    assert world.facts() == world.expected


@pytest.mark.parametrize("point", RETRAIN_POINTS)
def test_retrain_after_kill_equals_retrain_without(world: World, point: str) -> None:
    world.restore("untrained")
    assert world.chain("retrain", world.before, failpoint=point) == -signal.SIGKILL, f"'{point}' was never reached"
    world.chain("retrain", world.before)
    assert world.facts() == world.retrained


def test_finished_day_again_changes_no_byte(world: World) -> None:
    world.restore("trained")
    world.chain("daily", world.last)
    folders = [Path(world.home.root / "tables"), world.home.exports(PIPELINE)]
    before = {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}
    world.chain("daily", world.last)
    after = {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}
    assert after == before
