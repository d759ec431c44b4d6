"""Child processes of a launcher: each in its own process group, restarted with growing pauses, stopped together."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

_LONGEST_PAUSE_SECONDS = 10.0  # long enough to spare the machine, short enough for those who wait for it
_STEADY_SECONDS = 30.0  # a child that lived this long starts again from the shortest pause
_PATIENCE_SECONDS = 6.0  # steps survive a kill at any moment, so a scheduler that waits for its workers need not


@dataclass
class Child:
    """One supervised process. Its output goes to `log`; its group takes everything that it starts."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    stop_signal: signal.Signals = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = 1.0
    next_start: float = 0.0

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self.environment),
                start_new_session=True,
                preexec_fn=partial(end_with_parent, self.stop_signal) if sys.platform == "linux" else None,
            )
        self.started = time.monotonic()

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def tend(self) -> str | None:
        """Restarts the process when it died and its pause is over; says so in words, else None."""
        if self.is_running or self.process is None:
            return None
        now = time.monotonic()
        if self.next_start == 0.0:
            self._kill_group()  # a dead scheduler leaves idle workers behind
            self.pause = 1.0 if now - self.started > _STEADY_SECONDS else min(self.pause * 2, _LONGEST_PAUSE_SECONDS)
            self.next_start = now + self.pause
            return (
                f"{self.name} ended with {self.process.returncode}; starting again in {self.pause:.0f} s ({self.log})"
            )
        if now < self.next_start:
            return None
        self.next_start = 0.0
        self.start()
        return f"{self.name} started again"

    def ask_to_stop(self) -> None:
        if self.is_running and self.process:
            with suppress(ProcessLookupError):
                self.process.send_signal(self.stop_signal)

    def _kill_group(self) -> None:
        if self.process:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)


def end_with_parent(how: signal.Signals) -> None:
    """Asks Linux to send this signal to the child when its launcher dies, even by kill -9 (prctl PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, how)


def stop_all(children: Sequence[Child]) -> None:
    """Asks all to stop, waits for a while, then kills what is left of them and of what they started."""
    family = _descendants(children)
    for child in children:
        child.ask_to_stop()
    deadline = time.monotonic() + _PATIENCE_SECONDS
    for child in children:
        if child.process:
            with suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.0, deadline - time.monotonic()))
    for child in children:
        child._kill_group()
        if child.process:
            child.process.wait()
    for process in family:  # some leave their group; psutil knows a process from another with the same id
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family, timeout=3)


def _descendants(children: Sequence[Child]) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for child in children:
        if child.is_running and child.process:
            with suppress(psutil.NoSuchProcess):
                found += psutil.Process(child.process.pid).children(recursive=True)
    return found
