"""Whole files under names, on a local folder or in an S3 bucket: the one interface for everything that is no table.

A name is relative, with '/' between its parts. A file appears under its name completely or not at all, and is only
ever replaced as a whole.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipelines.storage.durable import (
    aside,
    exclusive,
    named_errors,
    require_space,
    require_writable,
    settle,
    sync,
    write_bytes,
)


@dataclass(frozen=True)
class Entry:
    """One stored file; `changed` in seconds since 1970, by the store's clock."""

    name: str
    size: int
    changed: float


class Files(Protocol):
    """Files below one root. Every call may raise StorageError (worth another try)."""

    @property
    def root(self) -> str:
        """The folder's absolute path, or `s3://bucket/prefix`."""

    def at(self, *parts: str) -> Files:
        """The files below a folder of these."""

    def address(self, name: str) -> str:
        """Path or URL of one file, for people and for other programs."""

    def read(self, name: str) -> bytes | None:
        """The content, None when there is no such file."""

    def write(self, name: str, content: bytes) -> None:
        """Writes or replaces."""

    def create(self, name: str, content: bytes) -> bool:
        """Writes unless the name is taken. Whether the file now holds `content`; of several writers one wins."""

    def swap(self, name: str, expected: bytes | None, content: bytes) -> bool:
        """Replaces `expected` (None: no file) by `content`. Whether the file now holds `content`."""

    def upload(self, source: Path, name: str) -> None:
        """Stores a finished local file; `source` stays."""

    def fetch(self, name: str, scratch: Path) -> Path | None:
        """A local file with the content, below `scratch` if a copy is needed; None when there is no such file."""

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """Files whose names begin with `prefix`, by name; never decide what is published by listing."""

    def folders(self, depth: int) -> dict[str, float]:
        """Folders that hold files, `depth` levels down, with the newest change of any file in them."""

    def remove(self, name: str) -> None:
        """Deletes; absent is fine."""

    def remove_folder(self, name: str) -> None:
        """Deletes every file below a folder; absent is fine."""

    def unfinished(self, before: float, remove: bool) -> list[str]:
        """What killed writers left before then (seconds since 1970), no file and seen by nobody; removed if wanted."""

    def prepare(self, needed_bytes: int) -> None:
        """Refuses before any work where writing cannot succeed (read-only, full, no conditional writes)."""


def open_files(root: str) -> Files:
    """The files below a local folder or an `s3://bucket/prefix`."""
    if root.startswith("s3://"):
        from pipelines.storage.s3 import S3Files  # brings boto3, which local homes do not need

        return S3Files(root)
    return LocalFiles(Path(root))


def newest_changes(entries: Iterable[Entry], depth: int) -> dict[str, float]:
    """The newest change below each folder `depth` levels down."""
    newest: dict[str, float] = {}
    for entry in entries:
        parts = entry.name.split("/")
        if len(parts) > depth:
            folder = "/".join(parts[:depth])
            newest[folder] = max(newest.get(folder, 0.0), entry.changed)
    return newest


@dataclass(frozen=True)
class LocalFiles:
    """Files in a folder of this machine."""

    folder: Path

    @property
    def root(self) -> str:
        return str(self.folder)

    def at(self, *parts: str) -> LocalFiles:
        return LocalFiles(self.folder.joinpath(*parts))

    def address(self, name: str) -> str:
        return str(self.folder / name)

    def read(self, name: str) -> bytes | None:
        try:
            return (self.folder / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, name: str, content: bytes) -> None:
        write_bytes(self._place(name), content)

    def create(self, name: str, content: bytes) -> bool:
        path = self._place(name)
        with named_errors(path):
            written = aside(path)
            written.write_bytes(content)
            sync(written)
            try:
                os.link(written, path)
            except FileExistsError:
                return path.read_bytes() == content
            finally:
                written.unlink()
            sync(path.parent)
        return True

    def swap(self, name: str, expected: bytes | None, content: bytes) -> bool:
        path = self._place(name)
        with exclusive(path.with_name(f".{path.name}.lock")):
            if self.read(name) != expected:
                return self.read(name) == content
            write_bytes(path, content)
        return True

    def upload(self, source: Path, name: str) -> None:
        path = self._place(name)
        with named_errors(path):
            written = aside(path)
            shutil.copyfile(source, written)
            settle(written, path)

    def fetch(self, name: str, scratch: Path) -> Path | None:  # noqa: ARG002 - nothing is copied here
        path = self.folder / name
        return path if path.is_file() else None

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """Hidden files are work in progress and locks: they are left out."""
        folder = self.folder / prefix.rpartition("/")[0]
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            is_hidden = any(part.startswith(".") for part in Path(name).parts)
            if name.startswith(prefix) and not is_hidden and path.is_file():
                found = path.stat()
                yield Entry(name, found.st_size, found.st_mtime)

    def folders(self, depth: int) -> dict[str, float]:
        return newest_changes(self.entries(), depth)

    def remove(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    def remove_folder(self, name: str) -> None:
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def unfinished(self, before: float, remove: bool) -> list[str]:
        left = [path for path in sorted(self.folder.rglob(".*")) if path.suffix in (".writing", ".damaged")]
        old = [path for path in left if path.lstat().st_mtime < before]
        for path in old if remove else []:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        return [path.relative_to(self.folder).as_posix() for path in old]

    def prepare(self, needed_bytes: int) -> None:
        require_writable(self.folder)
        require_space(self.folder, needed_bytes)

    def _place(self, name: str) -> Path:
        path = self.folder / name
        with named_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        return path
