"""A process with its children: how much memory they take, and their end."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil


class Tree:
    """A process and its descendants, this process left out."""

    def __init__(self, pid: int, refresh_seconds: float) -> None:
        self._root, self._refresh_seconds = psutil.Process(pid), refresh_seconds
        self._children: list[psutil.Process] = []
        self._next_look = 0.0
        self.peak = 0

    def bytes_taken(self, limit: float) -> int:
        """Bytes that only swapping could free, without files that are merely mapped.

        Pages that a fork shares count once. Finding that out costs milliseconds per GiB in the watched process, so it
        is done only when the quick sum, in which they count twice, is above `limit`.
        """
        if time.monotonic() >= self._next_look:
            self._look()
        pids = [self._root.pid, *(child.pid for child in self._children)]
        taken = sum(_kib(pid, "status", ("RssAnon", "RssShmem")) for pid in pids) * 1024
        if taken > limit and len(pids) > 1:
            taken = sum(_kib(pid, "smaps_rollup", ("Pss_Anon", "Pss_Shmem")) for pid in pids) * 1024
        self.peak = max(self.peak, taken)
        return taken

    def kill(self) -> None:
        """Ends the descendants and the root's process group, where it has one of its own."""
        self._look()
        with suppress(ProcessLookupError):
            if os.getpgid(self._root.pid) == self._root.pid:
                os.killpg(self._root.pid, signal.SIGKILL)
        for child in self._children:
            with suppress(psutil.NoSuchProcess):
                child.kill()  # psutil refuses a number that another process has by now

    def _look(self) -> None:
        self._next_look = time.monotonic() + self._refresh_seconds
        with suppress(psutil.NoSuchProcess):
            self._children = [child for child in self._root.children(recursive=True) if child.pid != os.getpid()]


def _kib(pid: int, file: str, keys: tuple[str, ...]) -> int:
    """The sum of these lines of `/proc/<pid>/<file>`; 0 for a process that ended."""
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(tuple(f"{key}:" for key in keys)))
