"""Score exports: immutable release folders, and one pointer per partition that is switched atomically.

    exports/<name>/_releases/<partition>/<release id>/part-00000.parquet, ..., _manifest.json
    exports/<name>/partition=<partition>  ->  _releases/<partition>/<release id>

Readers open `exports/<name>/partition=*/*.parquet`, or the whole folder: names that begin with '_' or '.' are skipped
by pyarrow, pandas, DuckDB's glob and Spark. This class does every file operation of a release.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import StorageError
from pipelines.failpoints import reach
from pipelines.storage.durable import (
    canonical_json,
    exclusive,
    named_errors,
    require_space,
    require_writable,
    sha256_of,
    sync,
    write_bytes,
)

MANIFEST = "_manifest.json"
GROUP_ROWS = 131_072
_FILE_ROWS = 2_097_152


def write_groups(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch], compression: str) -> int:
    """Writes Parquet with row groups of exactly GROUP_ROWS rows: the bytes do not depend on how rows were batched."""
    with pq.ParquetWriter(path, schema, compression=compression, write_page_checksum=True) as writer:
        rows = 0
        for block in blocks(schema, batches, GROUP_ROWS):
            writer.write_table(block, row_group_size=GROUP_ROWS)
            rows += block.num_rows
    return rows


def blocks(schema: pa.Schema, batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """The same rows in contiguous tables of `rows` rows, the last one shorter."""
    waiting = schema.empty_table()
    for batch in batches:
        waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch], schema)])
        while waiting.num_rows >= rows:
            yield waiting.slice(0, rows).combine_chunks()
            waiting = waiting.slice(rows)
    if waiting.num_rows:
        yield waiting.combine_chunks()


class Exports:
    """The exports of one pipeline on a local file system."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, partition: str, release_id: str) -> Path:
        return self.root / "_releases" / partition / release_id

    def pointer(self, partition: str) -> Path:
        return self.root / f"partition={partition}"

    def prepare(self, needed_bytes: int) -> None:
        """Refuses before any work when the target is read-only or too full (twice the estimate must be free)."""
        require_writable(self.root)
        require_space(self.root, 2 * needed_bytes)

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
        """Writes a release aside, reads it back, and moves it to its name. Returns the digest of its manifest.

        An undamaged release of this id is left as it is: an id stands for its content. `recorded` is the manifest
        digest that the ledger holds, if it does; a manifest with another one counts as damaged.
        """
        place = self.folder(partition, release_id)
        if self._is_sound(partition, release_id, recorded):
            return sha256_of(place / MANIFEST)
        with named_errors(place):
            folder = self._fresh_folder(place)
            files = [_describe(path) for path in _write_files(folder, schema, batches, compression)]
            reach("export.after_data")
            manifest = {"format": 1, "partition": partition, "release_id": release_id, "files": files, **facts}
            manifest["schema"] = [{"name": item.name, "type": str(item.type)} for item in schema]
            write_bytes(folder / MANIFEST, canonical_json(manifest))
            sync(folder)
            self._move(folder, place, self._is_sound(partition, release_id, recorded))
        reach("export.after_manifest")
        wrong = self.problems(partition, release_id)
        if wrong:
            raise StorageError("E-DATA-HASH", str(place), f"the release reads back differently: {wrong[0]}")
        return sha256_of(place / MANIFEST)

    def manifest(self, partition: str, release_id: str) -> dict[str, Any] | None:
        try:
            content: dict[str, Any] = json.loads((self.folder(partition, release_id) / MANIFEST).read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        return content

    def problems(self, partition: str, release_id: str) -> list[str]:
        """What is wrong with the files of a release, by recomputing every digest and row count; empty when sound."""
        place = self.folder(partition, release_id)
        manifest = self.manifest(partition, release_id)
        if manifest is None:
            return [f"{place / MANIFEST} is missing or unreadable"]
        try:
            declared = {entry["name"]: entry for entry in manifest["files"]}
        except (KeyError, TypeError):
            return [f"{place / MANIFEST} does not list its files"]
        present = {path.name for path in place.iterdir()} - {MANIFEST}
        found = [f"{place / name} is not in the manifest" for name in sorted(present - set(declared))]
        for name, entry in sorted(declared.items()):
            found += [f"{place / name} is missing"] if name not in present else _differences(place / name, entry)
        return found

    # -- the pointer ----------------------------------------------------------------------------------------------

    def current(self, partition: str) -> str | None:
        """The release id that readers see, or None."""
        try:
            return Path(os.readlink(self.pointer(partition))).name
        except FileNotFoundError:
            return None

    def point(self, partition: str, release_id: str) -> bool:
        """Makes readers see `release_id`; False when they do already."""
        if self.current(partition) == release_id:
            return False
        link = self.pointer(partition)
        temporary = self.root / f".{link.name}.{os.getpid()}"
        with named_errors(link):
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(Path("_releases") / partition / release_id, target_is_directory=True)
            os.replace(temporary, link)
            sync(self.root)
        return True

    def unpoint(self, partition: str) -> bool:
        """Makes readers see nothing; False when they did already."""
        try:
            self.pointer(partition).unlink()
        except FileNotFoundError:
            return False
        sync(self.root)
        return True

    def lock(self, partition: str) -> AbstractContextManager[None]:
        """One process at a time changes a pointer and what is recorded of it."""
        return exclusive(self.root / "_releases" / partition / ".lock")

    def bury(self, partition: str, content: dict[str, Any]) -> None:
        """Leaves a tombstone that says why a release was taken back."""
        write_bytes(self.root / "_releases" / partition / "retracted.json", canonical_json(content))

    # -- leftovers ------------------------------------------------------------------------------------------------

    def leftovers(self, known: set[tuple[str, str]], before: float) -> list[Path]:
        """What killed runs left, untouched since `before` (seconds since 1970): unfinished folders, hidden links, and
        finished releases that are neither pointed to nor in `known` (partition, release id)."""
        hidden = [path for path in self.root.glob(".*") if path.is_symlink() or path.is_file()]
        for folder in self.root.glob("_releases/*/*"):
            if folder.name == ".lock" or folder.name == "retracted.json":
                continue
            partition = folder.parent.name
            is_wanted = (partition, folder.name) in known or self.current(partition) == folder.name
            if not is_wanted:
                hidden.append(folder)
        return sorted(path for path in hidden if path.lstat().st_mtime < before)

    def remove(self, path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def _fresh_folder(self, place: Path) -> Path:
        folder = place.with_name(f".{place.name}.{os.getpid()}.writing")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def _is_sound(self, partition: str, release_id: str, recorded: str | None) -> bool:
        if self.problems(partition, release_id):
            return False
        return recorded is None or sha256_of(self.folder(partition, release_id) / MANIFEST) == recorded

    def _move(self, folder: Path, place: Path, is_sound: bool) -> None:
        """Gives a finished folder its name. A damaged one makes way; a sound one (another run was faster) stays."""
        if is_sound:
            shutil.rmtree(folder)
            return
        if place.exists():
            damaged = place.with_name(f".{place.name}.{os.getpid()}.damaged")
            os.rename(place, damaged)
            shutil.rmtree(damaged)
        os.rename(folder, place)
        sync(place.parent)


def _write_files(folder: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch], compression: str) -> list[Path]:
    """`part-00000.parquet` and on, at most _FILE_ROWS rows each; one empty file when there are no rows."""
    paths: list[Path] = []
    parts = _parts(blocks(schema, batches, GROUP_ROWS))
    for number, part in enumerate(parts):
        paths.append(folder / f"part-{number:05d}.parquet")
        write_groups(paths[-1], schema, part, compression)
        sync(paths[-1])
    if not paths:
        paths.append(folder / "part-00000.parquet")
        write_groups(paths[0], schema, [], compression)
        sync(paths[0])
    return paths


def _parts(groups: Iterator[pa.Table]) -> Iterator[Iterator[pa.RecordBatch]]:
    """Groups of batches of up to _FILE_ROWS rows; each must be consumed before the next is asked for."""
    for first in groups:
        yield _part(first, groups)


def _part(first: pa.Table, rest: Iterator[pa.Table]) -> Iterator[pa.RecordBatch]:
    yield from first.to_batches()
    for _ in range(_FILE_ROWS // GROUP_ROWS - 1):
        following = next(rest, None)
        if following is None:
            return
        yield from following.to_batches()


def _describe(path: Path) -> dict[str, Any]:
    return {
        "name": path.name,
        "bytes": path.stat().st_size,
        "rows": pq.read_metadata(path).num_rows,
        "sha256": sha256_of(path),
    }


def _differences(path: Path, entry: dict[str, Any]) -> list[str]:
    """The digest comes first: what fails it is not parsed."""
    actual = sha256_of(path)
    if actual != entry["sha256"]:
        return [f"{path} must have sha256 {entry['sha256'][:16]}..., got {actual[:16]}..."]
    rows = pq.read_metadata(path).num_rows
    return [] if rows == entry["rows"] else [f"{path} must have {entry['rows']} rows, got {rows}"]
