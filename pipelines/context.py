"""What a step is given: the pipeline, the partition, where things lie, and how to publish."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines import __version__
from pipelines.engine import Engine
from pipelines.errors import StorageError
from pipelines.failpoints import reach
from pipelines.home import Home
from pipelines.ledger import Ledger, Row
from pipelines.partitions import Partition
from pipelines.settings.pipeline import Pipeline
from pipelines.storage.exports import Exports
from pipelines.storage.files import Files
from pipelines.storage.tables import PublishConflict, Snapshot, last_publication, publish

_SECONDS_TO_RECORD = 10.0
_SMALLER = 8  # batches of an attempt after one that ran out of memory


@dataclass(frozen=True)
class Context:
    """One run of one pipeline for one partition. For training, the partition is the last complete one."""

    pipeline: Pipeline
    home: Home
    ledger: Ledger
    partition: Partition
    run_id: str
    is_small: bool = False  # after an attempt that ran out of memory; changes how much is held at once, never a result

    @property
    def name(self) -> str:
        return self.pipeline.name

    @property
    def key(self) -> str:
        return self.partition.key

    @property
    def where(self) -> str:
        """How errors name this run."""
        return f"{self.name} {self.key}"

    def snapshot(self, table: str) -> Snapshot:
        """The newest version of a table; read everything that belongs together from one snapshot."""
        return Snapshot.latest(self.home.table(self.name, table))

    def engine(self, step: str) -> Engine:
        return Engine(self.home.scratch, self.pipeline.resources_of(step), is_small=self.is_small)

    @property
    def batch_rows(self) -> int:
        """Rows that scoring holds at once."""
        rows = self.pipeline.score.batch_rows
        return max(1, rows // _SMALLER) if self.is_small else rows

    def staged(self, *parts: str) -> Files:
        """Unpublished work of this pipeline on shared storage, e.g. score shards; nobody but steps reads it."""
        return self.home.files("staging", self.name, *parts)

    @contextmanager
    def scratch(self, step: str) -> Iterator[Path]:
        """An empty folder of this machine; gone afterwards, also when the step fails."""
        self.home.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{step}-", dir=self.home.scratch) as folder:
            yield Path(folder)

    @property
    def reports(self) -> Files:
        """Data Docs and drift reports, for people."""
        return self.home.files("reports", self.name)

    @property
    def exports(self) -> Exports:
        return Exports(self.home.files("exports", self.name), self.home.scratch)

    def release_path(self, release_id: str) -> str:
        """Below the storage, so that a restored or moved one stays true."""
        return f"exports/{self.name}/{self.exports.folder(self.key, release_id)}"

    def only_release(self) -> AbstractContextManager[None]:
        """One process at a time, over all machines, switches what readers see of this partition and records it."""
        return self.ledger.exclusive(f"release {self.name} {self.key}")

    def content_digests(self, table: str, partitions: list[str]) -> dict[str, str]:
        """Digest per published partition: the inputs on which a derived partition depends."""
        rows = self.ledger.publications(self.name, table, partitions)
        return {row["partition"]: row["content_digest"] for row in rows}

    def published(self, table: str, input_digest: str) -> Row | None:
        """The publication of this partition if it was made from just these inputs, else None (work to do)."""
        current = self.ledger.publication(self.name, table, self.key)
        return current if current and current["input_digest"] == input_digest else None

    def publish(
        self,
        table: str,
        base: Snapshot,
        rows: pa.Table | pa.RecordBatchReader,
        input_digest: str,
        facts: Mapping[str, Any],
        stage: str | None = None,
    ) -> Row:
        """Replaces this partition of `table` (of its `stage`) and records it. Returns the publication.

        Rows must come in a total order. If another run published the same inputs meanwhile, its publication is
        returned; if it published other inputs, this run is out of date.

        Raises:
            StorageError: E-PUB-FENCED when a newer run published other inputs; E-STORE-* when the store refused.
        """
        ledger_name = f"{table}/{stage}" if stage else table
        metadata = {
            "partition": self.key,
            "table": ledger_name,
            "run_id": self.run_id,
            "input_digest": input_digest,
            "version": __version__,
            **{name: str(value) for name, value in facts.items() if isinstance(value, str | int | float)},
        }
        reach(f"{ledger_name}.before_commit")
        try:
            written = publish(base, self.key, rows, metadata, {"stage": stage} if stage else None)
        except PublishConflict as conflict:
            return self._other_publication(base, ledger_name, input_digest, conflict)
        reach(f"{ledger_name}.after_commit")
        return self.ledger.record_publication(
            self.name,
            ledger_name,
            self.key,
            run_id=self.run_id,
            delta_version=written.version,
            input_digest=input_digest,
            content_digest=written.digest,
            row_count=written.rows,
            facts=facts,
        )

    def _other_publication(self, base: Snapshot, table: str, input_digest: str, conflict: PublishConflict) -> Row:
        other = last_publication(base.uri, self.key)
        if other and other.get("input_digest") == input_digest and other.get("table") == table:
            recorded = self._soon_recorded(table, input_digest)
            if recorded:
                return recorded
            raise conflict  # the other run died before it recorded its commit: the next attempt repeats it
        raise StorageError(
            "E-PUB-FENCED",
            f"{self.name}.{table} {self.key}",
            "a newer run published other inputs of this partition, so this one stopped without publishing",
            "Nothing is lost; run the partition again if its inputs changed since.",
        ) from conflict

    def _soon_recorded(self, table: str, input_digest: str) -> Row | None:
        """The other run's publication, which it records right after its commit."""
        deadline = time.monotonic() + _SECONDS_TO_RECORD
        while (recorded := self.published(table, input_digest)) is None and time.monotonic() < deadline:
            time.sleep(0.1)
        return recorded


def remove_folder(folder: Path) -> None:
    """Deletes a scratch folder; absent is fine."""
    shutil.rmtree(folder, ignore_errors=True)
