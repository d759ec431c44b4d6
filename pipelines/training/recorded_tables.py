"""The tables as a version was trained on them, by Delta version, or by content where that version is gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deltalake.exceptions import TableNotFoundError

from pipelines.context import Context
from pipelines.errors import ModelError, StorageError, names
from pipelines.storage.digests import combined
from pipelines.storage.files import Files, open_files
from pipelines.storage.tables import Snapshot
from pipelines.training.rows import Pinned

_FOLDER = "replays"


@dataclass(frozen=True)
class Rebuilding(Pinned):
    """A context that reads given table versions and stages its work apart from every other run's."""

    work: str = ""

    def staged(self, *parts: str) -> Files:
        return replays(self).at(self.work, *parts)

    def forget(self) -> None:
        """Removes the staged work."""
        replays(self).remove_folder(self.work)


def replays(context: Context) -> Files:
    """Where replays do their work."""
    return context.home.files("staging", context.name, _FOLDER)


def window_of(record: Mapping[str, Any]) -> list[str]:
    return [*record["training_partitions"], *record["holdout_partitions"]]


def recorded_tables(context: Context, version: int, record: Mapping[str, Any]) -> tuple[dict[str, Snapshot], list[str]]:
    """Per table the snapshot that holds what the version was trained on, and a note for each that is a stand-in.

    A version whose log was cleaned up is replaced by the newest one where that holds the same partitions, by the
    content digests in the ledger.

    Raises:
        ModelError: E-REPLAY-GONE when neither can be read: other rows would be used silently.
    """
    found, notes = {}, []
    for table, facts in record["tables"].items():
        snapshot = Snapshot(context.home.table(context.name, table), int(facts["version"]))
        problem = _problem(snapshot, _keys(context, record, table, snapshot))
        if problem:
            snapshot = _stand_in(context, version, record, table, problem)
            notes.append(
                f"table: {table} at version {facts['version']}: {problem}; version {snapshot.version} holds the same"
            )
        found[table] = snapshot
    return found, notes


def republished(context: Context, record: Mapping[str, Any]) -> list[str]:
    """One line per partition of these tables whose content is another today than when the version was trained."""
    lines = []
    for table, facts in record["tables"].items():
        then = {row["partition"]: row for row in _publications(context, record, table, int(facts["version"]))}
        for row in _publications(context, record, table):
            old = then.get(row["partition"])
            if old is None or old["content_digest"] != row["content_digest"]:
                before = f"version {old['delta_version']} -> " if old else "new with version "
                lines.append(
                    f"table: {table} {row['partition']} was published again "
                    f"({before}{row['delta_version']}, run {row['run_id']})"
                )
    return lines


def _publications(context: Context, record: Mapping[str, Any], table: str, until: int | None = None) -> list[Any]:
    is_window = table in ("features", "clean")
    wanted = window_of(record) if is_window else None
    rows = context.ledger.publications(context.name, table, wanted, until_version=until)
    return [row for row in rows if row["partition"] <= context.key]


def _keys(context: Context, record: Mapping[str, Any], table: str, snapshot: Snapshot) -> list[str] | None:
    """The partitions that a training read from this snapshot; None when it cannot be opened."""
    if table in ("features", "clean"):
        return window_of(record)
    try:
        return [key for key in snapshot.partitions() if key <= context.key]
    except (StorageError, TableNotFoundError):
        return None


def _problem(snapshot: Snapshot, keys: Sequence[str] | None) -> str | None:
    """Why the rows of these partitions cannot be read from this snapshot, or None."""
    try:
        files = snapshot.files(keys) if keys is not None else None
    except (StorageError, TableNotFoundError):
        files = None
    if files is None:
        return "its log was cleaned up"
    root = snapshot.uri.rstrip("/") + "/"
    there = {entry.name for entry in open_files(snapshot.uri).entries("partition=")}
    gone = {file.removeprefix(root) for file in files} - there
    partitions = sorted({name.split("/")[0].removeprefix("partition=") for name in gone})
    return f"data files of {names(partitions)} are gone" if partitions else None


def _stand_in(context: Context, version: int, record: Mapping[str, Any], table: str, problem: str) -> Snapshot:
    facts = record["tables"][table]
    newest = Snapshot.latest(context.home.table(context.name, table))
    keys = _keys(context, record, table, newest)
    if newest.exists and keys is not None and _problem(newest, keys) is None:
        contents = combined(sorted(context.content_digests(table, keys).items()))
        if contents == facts["contents"]:
            return newest
    raise ModelError(
        "E-REPLAY-GONE",
        f"{context.name} version {version}",
        f"'{table}' must be readable as at version {facts['version']}, but {problem}, and today's rows are others",
        "Keep old table versions as long as models are to be replayed. '--inputs today' rebuilds from today's tables.",
    )
