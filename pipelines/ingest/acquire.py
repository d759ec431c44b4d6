"""Opens the delivered file: local without following links, or copied from S3; with its sidecars."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pipelines.context import Context
from pipelines.errors import DataError, StorageError, quote
from pipelines.ingest.locate import fixed_folder, location
from pipelines.settings.source import FileSource

SIDECARS = (".sha256", ".rows")
_LARGEST_SIDECAR = 65_536


@dataclass(frozen=True)
class Delivery:
    """One open input file.

    `source` is how rows and errors name it: the base name of a local file, the URL of an object. Sidecars are the
    texts of `<file>.sha256` (of the file as delivered) and `<file>.rows` (its record count), where present.
    """

    handle: BinaryIO
    path: Path
    source: str
    sidecars: dict[str, str]
    identity: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes as delivered, compressed or not."""
        return self.identity[2]

    def check_unchanged(self, where: str) -> None:
        """Raises StorageError E-IN-CHANGED when the file was written to, replaced or removed since it was opened."""
        try:
            now = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            now = None
        if now is None or _identity(now) != self.identity or _identity(os.fstat(self.handle.fileno())) != self.identity:
            raise changed(where, self.source)


def changed(where: str, source: str) -> StorageError:
    return StorageError(
        "E-IN-CHANGED",
        where,
        f"{quote(source)} changed while it was being read",
        "Nothing was published. It is tried again; deliver files under another name and rename them when complete.",
    )


@contextmanager
def delivered(source: FileSource, context: Context, scratch: Path) -> Iterator[Delivery | None]:
    """The open file of this partition, or None when there is none.

    Raises:
        DataError: E-SEC-PATH for a link, a folder, a device, or a path that leaves the source's folder.
        StorageError: the store did not answer.
    """
    place = location(source.path, context)
    if place.startswith("s3://"):
        from pipelines.ingest.s3 import download

        found = download(place, scratch, context.where, SIDECARS)
        if found is None:
            yield None
            return
        path, sidecars = found
    elif "://" in place:
        raise DataError("E-IN-FORMAT", context.where, f"'path' must be a local path or s3:// URL, got {quote(place)}")
    else:
        path, sidecars = Path(place), {}
        _check_inside(path, fixed_folder(source.path, context), context.where)
    handle = open_regular(path, context.where)
    if handle is None:
        yield None
        return
    with handle:
        texts = sidecars or _local_sidecars(path, context.where)
        yield Delivery(handle, path, _name(place, context), texts, _identity(os.fstat(handle.fileno())))


def _name(place: str, context: Context) -> str:
    """How rows call their file: by its name alone within this installation, so that a laptop and a cluster agree."""
    is_elsewhere = place.startswith("s3://") and not place.startswith(f"{context.home.storage}/")
    return place if is_elsewhere else place.rsplit("/", 1)[-1]


def _check_inside(path: Path, folder: Path, where: str) -> None:
    if not path.parent.resolve().is_relative_to(folder.resolve()):
        raise DataError(
            "E-SEC-PATH", where, f"{quote(path)} must lie below {quote(folder)}, but a link leads out of it"
        )


def open_regular(path: Path, where: str) -> BinaryIO | None:
    """The regular file, opened without following a link; None when it does not exist."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.ENAMETOOLONG):
            raise _not_a_file(path, where) from error
        raise StorageError("E-IO-READ", where, f"{quote(path)} cannot be opened: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_a_file(path, where)
    return os.fdopen(descriptor, "rb")


def _not_a_file(path: Path, where: str) -> DataError:
    return DataError(
        "E-SEC-PATH",
        where,
        f"{quote(path)} must be a regular file, got a link, folder or device",
        "Nothing was read. Put the file itself there.",
    )


def _local_sidecars(path: Path, where: str) -> dict[str, str]:
    texts = {}
    for suffix in SIDECARS:
        handle = open_regular(path.with_name(path.name + suffix), where)
        if handle is not None:
            with handle:
                texts[suffix] = handle.read(_LARGEST_SIDECAR).decode("utf-8", "replace")
    return texts


def _identity(facts: os.stat_result) -> tuple[int, ...]:
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns
