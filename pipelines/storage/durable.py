"""Files that are either there completely or not at all, also after a crash or a full disk."""

from __future__ import annotations

import errno
import fcntl
import getpass
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.errors import StorageError

_READ_BYTES = 1 << 20
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and a final newline: equal values give equal bytes."""
    return (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def sha256_of(path: Path) -> str:
    """sha256 of a file's bytes, 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def aside(path: Path) -> Path:
    """The hidden name beside `path` under which this thread writes before it moves; readers skip dot files."""
    return path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.writing")


def settle(written: Path, path: Path) -> None:
    """Moves a finished file to its name: data reaches the disk before the name does."""
    sync(written)
    os.replace(written, path)
    sync(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes or replaces a small file atomically."""
    with named_errors(path):
        temporary = aside(path)
        temporary.write_bytes(content)
        settle(temporary, path)


def sync(path: Path) -> None:
    """fsync of a file or a folder. An error here means "not written" and is never retried on the same file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_space(folder: Path, needed: int) -> None:
    """Refuses to start when less than `needed` bytes are free.

    Raises:
        StorageError: E-IO-NOSPACE with needed and free bytes.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StorageError(
            "E-IO-NOSPACE",
            str(folder),
            f"at least {needed / 2**20:,.1f} MiB must be free before writing, got {free / 2**20:,.1f} MiB",
            "Nothing was written. Free some space (`nightshift doctor` shows what is large), then run it again.",
        )


def require_writable(folder: Path) -> None:
    """Refuses to start when no file can be made in `folder`, which is created if absent.

    Raises:
        StorageError: E-IO-READONLY naming the folder and the user.
    """
    with named_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = aside(folder / "probe")
        probe.touch()
        probe.unlink()


@contextmanager
def exclusive(path: Path, patience_seconds: float = 60.0) -> Iterator[None]:
    """Only one process at a time is inside, per lock file. The lock ends with its process at the latest.

    Raises:
        StorageError: E-IO-LOCKED when another process stays inside for `patience_seconds`.
    """
    with named_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    with file:
        _acquire(file.fileno(), path, patience_seconds)
        yield


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Turns "disk full" and "read-only" into errors that name the path; other trouble passes as it is."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            free = shutil.disk_usage(_existing(path)).free
            raise StorageError(
                "E-IO-NOSPACE",
                str(path),
                f"the disk took no more ({os.strerror(error.errno or 0)}), {free / 2**20:,.1f} MiB are free",
                "What was published before is intact. Free some space, then run it again.",
            ) from error
        if error.errno in _FORBIDDEN:
            raise StorageError(
                "E-IO-READONLY",
                str(path),
                f"user '{getpass.getuser()}' must be able to write here ({os.strerror(error.errno or 0)})",
                "Nothing was published. Mount it writable or correct its owner, then run it again.",
            ) from error
        raise


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def _acquire(descriptor: int, path: Path, patience_seconds: float) -> None:
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                what = f"another process has held this lock for over {patience_seconds:.0f} seconds"
                raise StorageError("E-IO-LOCKED", str(path), what, "End it if it hangs, then run this again.") from None
            time.sleep(0.05)
