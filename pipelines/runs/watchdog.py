"""Stops a step that takes too long or too much memory, in native code, too.

Python sees a signal only between two bytecodes, so no alarm ends a step that is stuck in C code. The watchdog is a
process of its own, outside the step's process group. It kills that group and writes the reason into the ledger and,
through the inherited standard error, into the task's log. Under Airflow the step's process is a child of a supervisor,
which reports the death and retries; `nightshift run` works in one process, so there the whole run ends.

It holds a pidfd of the step's process, so that it never kills another process that was given the same number, and the
reading end of a pipe; it ends with the step, however the step ends.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from types import FrameType
from typing import TYPE_CHECKING

from pipelines.errors import ResourceError
from pipelines.home import REPOSITORY

if TYPE_CHECKING:
    from pipelines.runs.process_tree import Tree

log = logging.getLogger("nightshift")

GRACE_SECONDS = 10.0  # for a step that heeds the alarm to end by itself, with its error
POLL_SECONDS = 0.5
TREE_SECONDS = 5.0  # looking for new child processes means reading all of /proc
GIB = 2**30


@dataclass(frozen=True)
class Watch:
    """What one attempt of a step may take, and where its end is written down."""

    step: str
    where: str
    attempt: int
    ledger_url: str
    limit_seconds: float | None
    memory_gib: float
    rows: int | None = None
    is_small: bool = False
    grace_seconds: float = GRACE_SECONDS


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Runs the block under a watchdog, and with an alarm at the time limit.

    Raises:
        ResourceError: E-RUN-TIMEOUT, in the block, when the time is up and Python code runs. In native code the
            watchdog kills the process `grace_seconds` later.
    """
    if not hasattr(os, "pidfd_open"):  # only Linux has it
        log.warning("'%s' runs without a watchdog: this system cannot name a process safely", watch.step)
        yield
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.runs.watchdog"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        cwd=REPOSITORY,  # where '-m' finds the package
        start_new_session=True,  # outside the group that it kills, and out of reach of Ctrl-C
        text=True,
    )
    try:
        _tell(process, {"pid": os.getpid(), **asdict(watch)})
        with _alarm(watch):
            yield
    finally:
        process.communicate("end\n")  # and not only the closed pipe: a forked child may hold it open


def _tell(process: subprocess.Popen[str], what: dict[str, object]) -> None:
    if process.stdin:
        process.stdin.write(json.dumps(what) + "\n")
        process.stdin.flush()


@contextmanager
def _alarm(watch: Watch) -> Iterator[None]:
    """Raises E-RUN-TIMEOUT in the main thread when the time is up; elsewhere only the watchdog keeps the time."""
    limit = watch.limit_seconds
    if limit is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise ResourceError("E-RUN-TIMEOUT", watch.where, *_too_long(watch, limit))

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _too_long(watch: Watch, seconds: float) -> tuple[str, str]:
    """What and fix of E-RUN-TIMEOUT."""
    limit = f"{(watch.limit_seconds or 0) / 60:g} min"
    return (
        f"'{watch.step}' must end within {limit}, got {seconds / 60:.3g} min",
        f"Raise 'resources.{watch.step}.time_limit_minutes', or look at the machine; a retry starts this step anew.",
    )


def too_much(watch: Watch, what: str) -> tuple[str, str]:
    """What and fix of E-RUN-MEMORY; `what` says how much was taken, or which allocation failed."""
    rows = f" on {watch.rows:,} rows" if watch.rows is not None else ""
    fix = (
        f"Smaller batches did not help: raise 'resources.{watch.step}.memory_gib'."
        if watch.is_small
        else "One retry works with smaller batches; the result is the same."
    )
    return f"'{watch.step}' must do with {watch.memory_gib:g} GiB{rows}, but {what}", fix


def main() -> None:
    """The watchdog itself; its orders are one line of JSON on standard input, which stays open as long as the step."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends with its step, not before
    # Unbuffered: what follows the orders must stay in the pipe, where `poll` sees it.
    orders = json.loads(os.fdopen(0, "rb", buffering=0, closefd=False).readline() or "null")
    if not orders:
        return
    pid = int(orders.pop("pid"))
    try:
        task = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    if os.getppid() == pid:  # else it died before the pidfd was there, and the number may be somebody else's
        _watch(Watch(**orders), pid, task)


def _watch(watch: Watch, pid: int, task: int) -> None:
    from pipelines.runs.process_tree import Tree

    started, tree = time.monotonic(), Tree(pid, TREE_SECONDS)
    end = select.poll()
    end.register(task, select.POLLIN)
    end.register(0, select.POLLIN | select.POLLHUP)
    while not end.poll(POLL_SECONDS * 1000):
        taken, seconds = tree.bytes_taken(watch.memory_gib * GIB), time.monotonic() - started
        if watch.limit_seconds is not None and seconds > watch.limit_seconds + watch.grace_seconds:
            error = ResourceError("E-RUN-TIMEOUT", watch.where, *_too_long(watch, seconds))
        elif taken > watch.memory_gib * GIB:
            error = ResourceError("E-RUN-MEMORY", watch.where, *too_much(watch, f"took {taken / GIB:.2f} GiB"))
        else:
            continue
        _stop(watch, tree, task, error)
        return


def _stop(watch: Watch, tree: Tree, task: int, error: ResourceError) -> None:
    """Kills first, since nothing may keep the step alive; its log is told before, its ledger row after."""
    print(error, file=sys.stderr, flush=True)
    signal.pidfd_send_signal(task, signal.SIGSTOP)  # as long as it stands still, its group is its own
    tree.kill()
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(task, signal.SIGKILL)
    from pipelines.ledger import Ledger  # SQLAlchemy would make each step's start 0.3 s slower

    Ledger(watch.ledger_url).fail_running(watch.attempt, str(error), tree.peak // 2**20)


if __name__ == "__main__":
    main()
