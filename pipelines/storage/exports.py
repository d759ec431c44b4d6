"""Score exports: immutable releases, and one pointer per partition that is switched atomically.

    exports/<name>/_releases/<partition>/<release id>/part-00000.parquet, ..., _manifest.json
    exports/<name>/partition=<partition>  ->  _releases/<partition>/<release id>          (a folder)
    exports/<name>/partition=<partition>/_current.json, which lists the files' URLs       (s3://)

In a folder readers open `exports/<name>/partition=*/*.parquet`, or the whole folder: names that begin with '_' or '.'
are skipped by pyarrow, pandas, DuckDB's glob and Spark. In S3 they ask for the current files, or read the pointer:

    files = json.loads(subprocess.check_output(["nightshift", "exports", "card_payments", "--json"]))["files"]
    store = pyarrow.fs.S3FileSystem(endpoint_override=os.environ.get("AWS_ENDPOINT_URL"))
    table = pyarrow.parquet.read_table([file.removeprefix("s3://") for file in files], filesystem=store)

This class does every file operation of a release.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import StorageError
from pipelines.failpoints import reach
from pipelines.storage.durable import canonical_json, named_errors, require_space, sha256_of
from pipelines.storage.files import Files
from pipelines.storage.parquet_files import write_parts
from pipelines.storage.pointers import Seen, Target, pointers_of

MANIFEST = "_manifest.json"
_RELEASES = "_releases"


@dataclass(frozen=True)
class Current:
    """The release of one partition that readers see; `files`: paths or URLs."""

    partition: str
    release_id: str
    rows: int
    files: list[str]


class Exports:
    """The exports of one pipeline; `scratch` is a folder of this machine."""

    def __init__(self, files: Files, scratch: Path) -> None:
        self.files = files
        self._scratch = scratch
        self._pointers = pointers_of(files)

    def folder(self, partition: str, release_id: str) -> str:
        return f"{_RELEASES}/{partition}/{release_id}"

    def prepare(self, needed_bytes: int) -> None:
        """Refuses before any work when the target is read-only or too full (twice the estimate must be free)."""
        self.files.prepare(2 * needed_bytes)
        self._scratch.mkdir(parents=True, exist_ok=True)
        require_space(self._scratch, 2 * needed_bytes)

    # -- releases -------------------------------------------------------------------------------------------------

    def write(
        self,
        partition: str,
        release_id: str,
        schema: pa.Schema,
        batches: Iterable[pa.RecordBatch],
        compression: str,
        facts: dict[str, Any],
        recorded: str | None = None,
    ) -> str:
        """Stores a release, its manifest last, and reads it back. Returns the digest of its manifest.

        An undamaged release of this id is left as it is: an id stands for its content. `recorded` is the manifest
        digest that the ledger holds, if it does; a manifest with another one counts as damaged.
        """
        digest = self.manifest_digest(partition, release_id)
        if digest and not self.problems(partition, release_id) and recorded in (None, digest):
            return digest
        place = self.files.at(self.folder(partition, release_id))
        with self._temporary() as folder, named_errors(Path(folder)):
            paths = write_parts(Path(folder), schema, batches, compression)
            described = [_describe(path) for path in paths]
            for path in paths:
                place.upload(path, path.name)
        for stray in {entry.name for entry in place.entries()} - {path.name for path in paths} - {MANIFEST}:
            place.remove(stray)
        reach("export.after_data")
        manifest = {"format": 1, "partition": partition, "release_id": release_id, "files": described, **facts}
        manifest["schema"] = [{"name": item.name, "type": str(item.type)} for item in schema]
        content = canonical_json(manifest)
        place.write(MANIFEST, content)
        reach("export.after_manifest")
        wrong = self.problems(partition, release_id)
        if wrong:
            raise StorageError("E-DATA-HASH", place.root, f"the release reads back differently: {wrong[0]}")
        return hashlib.sha256(content).hexdigest()

    def manifest(self, partition: str, release_id: str) -> dict[str, Any] | None:
        try:
            content: dict[str, Any] = json.loads(self._manifest_bytes(partition, release_id) or b"")
        except ValueError:
            return None
        return content

    def manifest_digest(self, partition: str, release_id: str) -> str | None:
        content = self._manifest_bytes(partition, release_id)
        return None if content is None else hashlib.sha256(content).hexdigest()

    def is_kept(self, partition: str, release_id: str) -> bool:
        """Whether any file of this release is there."""
        return any(True for _ in self.files.at(self.folder(partition, release_id)).entries())

    def problems(self, partition: str, release_id: str) -> list[str]:
        """What is wrong with the files of a release, by recomputing every digest and row count; empty when sound."""
        place = self.files.at(self.folder(partition, release_id))
        manifest = self.manifest(partition, release_id)
        if manifest is None:
            return [f"{place.address(MANIFEST)} is missing or unreadable"]
        try:
            declared = {entry["name"]: entry for entry in manifest["files"]}
        except (KeyError, TypeError):
            return [f"{place.address(MANIFEST)} does not list its files"]
        present = {entry.name for entry in place.entries()} - {MANIFEST}
        found = [f"{place.address(name)} is not in the manifest" for name in sorted(present - set(declared))]
        for name, entry in sorted(declared.items()):
            found += self._differences(place, name, entry)
        return found

    def _differences(self, place: Files, name: str, entry: dict[str, Any]) -> list[str]:
        """The digest comes first: what fails it is not parsed."""
        with self._temporary() as folder:
            path, where = place.fetch(name, Path(folder)), place.address(name)
            if path is None:
                return [f"{where} is missing"]
            actual = sha256_of(path)
            if actual != entry["sha256"]:
                return [f"{where} must have sha256 {entry['sha256'][:16]}..., got {actual[:16]}..."]
            rows = pq.read_metadata(path).num_rows
            return [] if rows == entry["rows"] else [f"{where} must have {entry['rows']} rows, got {rows}"]

    def _temporary(self) -> TemporaryDirectory[str]:
        self._scratch.mkdir(parents=True, exist_ok=True)
        return TemporaryDirectory(dir=self._scratch)

    def _manifest_bytes(self, partition: str, release_id: str) -> bytes | None:
        return self.files.read(f"{self.folder(partition, release_id)}/{MANIFEST}")

    # -- the pointer ----------------------------------------------------------------------------------------------

    def seen(self, partition: str) -> Seen:
        """The pointer of a partition; read it before deciding to switch it."""
        return self._pointers.read(partition)

    def current(self, partition: str) -> str | None:
        """The release id that readers see, or None."""
        return self.seen(partition).release_id

    def point(self, seen: Seen, release_id: str) -> bool:
        """Makes readers see a whole release. False, and no change, when the pointer moved since it was `seen`.

        Raises:
            StorageError: E-DATA-HASH when the release has no manifest.
        """
        return self._pointers.switch(seen, self._target(seen.partition, release_id))

    def unpoint(self, seen: Seen) -> bool:
        """Makes readers see nothing. False, and no change, when the pointer moved since it was `seen`."""
        return self._pointers.switch(seen, None)

    def current_files(self, partition: str) -> Current | None:
        """What consumers read of this partition now; None when nothing is released."""
        release_id = self.current(partition)
        if release_id is None:
            return None
        target = self._target(partition, release_id)
        return Current(partition, release_id, target.rows, list(target.files))

    def _target(self, partition: str, release_id: str) -> Target:
        manifest, digest = self.manifest(partition, release_id), self.manifest_digest(partition, release_id)
        folder = self.folder(partition, release_id)
        if manifest is None or digest is None:
            raise StorageError("E-DATA-HASH", self.files.address(folder), "the release has no readable manifest")
        files = [self._pointers.shown(partition, folder, entry["name"]) for entry in manifest["files"]]
        return Target(release_id, digest, files, sum(entry["rows"] for entry in manifest["files"]))

    def bury(self, partition: str, content: dict[str, Any]) -> None:
        """Leaves a tombstone that says why a release was taken back."""
        self.files.write(f"{_RELEASES}/{partition}/retracted.json", canonical_json(content))

    # -- leftovers ------------------------------------------------------------------------------------------------

    def leftovers(self, known: set[tuple[str, str]], before: float) -> list[str]:
        """Releases that killed runs left, untouched since `before` (seconds since 1970): neither pointed to nor in
        `known` (partition, release id)."""
        found = []
        for folder, changed in self.files.at(_RELEASES).folders(2).items():
            partition, release_id = folder.split("/")
            is_wanted = (partition, release_id) in known or self.current(partition) == release_id
            if not is_wanted and changed < before:
                found.append(f"{_RELEASES}/{folder}")
        return sorted(found)


def _describe(path: Path) -> dict[str, Any]:
    return {
        "name": path.name,
        "bytes": path.stat().st_size,
        "rows": pq.read_metadata(path).num_rows,
        "sha256": sha256_of(path),
    }
