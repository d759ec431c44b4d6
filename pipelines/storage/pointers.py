"""Which release of a partition readers see: one pointer per partition, switched in one step.

On a folder it is a link that readers follow without knowing. An object store has no links, so there it is one small
JSON object, changed only by conditional writes: of two that switch at once, or after a long stop, one loses.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipelines.errors import DataError
from pipelines.storage.durable import aside, canonical_json, named_errors, sync
from pipelines.storage.files import Files, LocalFiles

OBJECT = "_current.json"


@dataclass(frozen=True)
class Target:
    """What a pointer shall name. `files`: the release's data files."""

    release_id: str
    manifest_sha256: str
    files: Sequence[str]
    rows: int


@dataclass(frozen=True)
class Seen:
    """A pointer as it was read; a switch starts from it. `content` is what a conditional write expects."""

    partition: str
    release_id: str | None
    content: bytes | None = None


class Pointers(Protocol):
    def read(self, partition: str) -> Seen:
        """What readers see now."""

    def switch(self, seen: Seen, target: Target | None) -> bool:
        """Makes readers see `target` (None: nothing). False, and no change, when the pointer moved since `seen`."""

    def shown(self, partition: str, folder: str, file: str) -> str:
        """Path or URL under which readers open one file of the release that they see; `folder` is the release's."""


def pointers_of(files: Files) -> Pointers:
    return LinkPointers(files.folder) if isinstance(files, LocalFiles) else ObjectPointers(files)


@dataclass(frozen=True)
class LinkPointers:
    """`partition=<p>` -> `_releases/<p>/<release id>`. The caller's lock keeps others of this machine out."""

    folder: Path

    def read(self, partition: str) -> Seen:
        try:
            return Seen(partition, Path(os.readlink(self._link(partition))).name)
        except FileNotFoundError:
            return Seen(partition, None)

    def switch(self, seen: Seen, target: Target | None) -> bool:
        link = self._link(seen.partition)
        if self.read(seen.partition) != seen:
            return False
        with named_errors(link):
            if target is None:
                link.unlink(missing_ok=True)
            elif target.release_id != seen.release_id:
                new = aside(link)
                new.symlink_to(Path("_releases") / seen.partition / target.release_id, target_is_directory=True)
                os.replace(new, link)
            sync(self.folder)
        return True

    def shown(self, partition: str, folder: str, file: str) -> str:  # noqa: ARG002 - readers follow the link
        return str(self._link(partition) / file)

    def _link(self, partition: str) -> Path:
        return self.folder / f"partition={partition}"


@dataclass(frozen=True)
class ObjectPointers:
    """`partition=<p>/_current.json`: release id, digest of the manifest, URLs of the files, rows; numbered, so that
    a pointer that came back to an earlier release is another one."""

    files: Files

    def read(self, partition: str) -> Seen:
        content = self.files.read(self._name(partition))
        return Seen(partition, self._parsed(partition, content)["release_id"] if content else None, content)

    def switch(self, seen: Seen, target: Target | None) -> bool:
        if target and target.release_id == seen.release_id:
            return self.read(seen.partition) == seen
        before = self._parsed(seen.partition, seen.content)["number"] if seen.content else 0
        pointer = {
            "format": 1,
            "partition": seen.partition,
            "number": before + 1,
            "release_id": target.release_id if target else None,
            "manifest_sha256": target.manifest_sha256 if target else None,
            "files": list(target.files) if target else [],
            "rows": target.rows if target else 0,
        }
        return self.files.swap(self._name(seen.partition), seen.content, canonical_json(pointer))

    def shown(self, partition: str, folder: str, file: str) -> str:  # noqa: ARG002 - no link to follow
        return self.files.address(f"{folder}/{file}")

    def _parsed(self, partition: str, content: bytes) -> dict[str, Any]:
        try:
            pointer: dict[str, Any] = json.loads(content)
            if {"release_id", "number"} <= pointer.keys():
                return pointer
        except (ValueError, AttributeError):
            pass
        where = self.files.address(self._name(partition))
        raise DataError("E-DATA-HASH", where, "the pointer to the current release cannot be read", "Restore it.")

    def _name(self, partition: str) -> str:
        return f"partition={partition}/{OBJECT}"
