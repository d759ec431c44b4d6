"""The watchdog over real processes: it ends a step that no signal reaches, and nothing else."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines.errors import ResourceError
from pipelines.home import REPOSITORY
from pipelines.ledger import Ledger
from pipelines.runs.watchdog import Watch, watched

# A step in a process group of its own, as under Airflow's supervisor. `BODY` runs under the watchdog.
STEP = """
import ctypes, os, signal, subprocess, sys, time
from pipelines.runs.watchdog import Watch, watched
os.setpgid(0, 0)
with watched(Watch(step="train", where="payments 2026-03-01", attempt=1, ledger_url=sys.argv[1], **{watch})):
    {body}
"""
NATIVE = "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM]); ctypes.CDLL(None).sleep(3600)"


def start(tmp_path: Path, body: str, **watch: Any) -> subprocess.Popen[str]:
    Ledger(url(tmp_path)).start_attempt("payments", "2026-03-01", "train", "run-1", "code", {"attempt": "small"})
    code = STEP.format(watch={"limit_seconds": None, "memory_gib": 4.0} | watch, body=body)
    return subprocess.Popen(
        [sys.executable, "-c", code, url(tmp_path)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.db'}"


def attempt(tmp_path: Path) -> dict[str, Any]:
    (row,) = Ledger(url(tmp_path)).attempts("payments")
    return dict(row)


def soon(is_true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 10
    while not (found := is_true()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_native_code_that_no_signal_reaches_is_killed_and_recorded(tmp_path: Path) -> None:
    child = start(tmp_path, NATIVE, limit_seconds=0.3, grace_seconds=0.3)
    _, log = child.communicate(timeout=20)
    assert child.returncode == -signal.SIGKILL
    said = "E-RUN-TIMEOUT payments 2026-03-01: 'train' must end within 0.005 min, got "
    assert said in log
    row = soon(lambda: attempt(tmp_path)["ended_at"] and attempt(tmp_path))
    assert (row["state"], row["summary"]) == ("failed", {"attempt": "small"})
    assert row["error"].startswith(said)
    assert row["peak_rss_mib"] > 0


def test_children_die_with_the_step_even_in_a_session_of_their_own(tmp_path: Path) -> None:
    sleepers = "[subprocess.Popen(['sleep', '60'], start_new_session=own, stdout=2).pid for own in (False, True)]"
    child = start(tmp_path, f"print({sleepers}, flush=True); {NATIVE}", limit_seconds=1, grace_seconds=0)
    assert child.stdout
    pids = json.loads(child.stdout.readline())
    assert [psutil.pid_exists(pid) for pid in pids] == [True, True]
    child.communicate(timeout=20)
    assert soon(lambda: all(is_gone(pid) for pid in pids))


def test_python_code_hears_the_alarm_and_no_process_stays(tmp_path: Path) -> None:
    watch = Watch("train", "payments 2026-03-01", 1, url(tmp_path), limit_seconds=0.2, memory_gib=4)
    before = signal.getsignal(signal.SIGALRM)
    said = "E-RUN-TIMEOUT payments 2026-03-01: 'train' must end"
    with pytest.raises(ResourceError, match=said) as raised, watched(watch):
        time.sleep(5)
    assert raised.value.retryable
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert watchdogs() == []


def watchdogs() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "pipelines.runs.watchdog" in child.cmdline()]


def test_a_step_that_ends_in_time_leaves_nothing_behind(tmp_path: Path) -> None:
    with watched(Watch("train", "payments 2026-03-01", 1, url(tmp_path), limit_seconds=60, memory_gib=4)):
        (dog,) = soon(watchdogs)
    assert is_gone(dog.pid)
    assert watchdogs() == []


def test_the_watchdog_ends_when_its_step_is_killed_from_outside(tmp_path: Path) -> None:
    # The forked child holds the watchdog's pipe open and lives on: only the pidfd says that the step is gone.
    body = "child = os.fork() or time.sleep(30); print(child, flush=True); time.sleep(30)"
    child = start(tmp_path, body, limit_seconds=60)
    assert child.stdout
    forked = int(child.stdout.readline())
    try:
        (dog,) = soon(lambda: [one for one in psutil.Process(child.pid).children() if "-m" in one.cmdline()])
        child.kill()
        child.wait()
        assert soon(lambda: is_gone(dog.pid))
        assert attempt(tmp_path)["state"] == "running"  # who killed it is not the watchdog's to say
    finally:
        psutil.Process(forked).kill()


def test_memory_of_a_step_and_its_children_is_capped(tmp_path: Path) -> None:
    fill = "bytearray(os.urandom(1)) * (150 * 2**20)"
    body = f"held = {fill}; subprocess.Popen([sys.executable, '-c', 'import os; b = {fill}; input()']); time.sleep(60)"
    child = start(tmp_path, body.replace("input()", "import time; time.sleep(60)"), memory_gib=0.25, rows=1_000_000)
    _, log = child.communicate(timeout=30)
    assert child.returncode == -signal.SIGKILL
    assert "E-RUN-MEMORY payments 2026-03-01: 'train' must do with 0.25 GiB on 1,000,000 rows, but took 0.3" in log
    row = soon(lambda: attempt(tmp_path)["ended_at"] and attempt(tmp_path))
    assert row["error"].startswith("E-RUN-MEMORY")
    assert 256 <= row["peak_rss_mib"] < 400


def test_pages_that_forks_share_count_once_and_forks_do_not_hold_up_the_end(tmp_path: Path) -> None:
    body = "held = b'1' * (150 * 2**20); forked = [os.fork() or time.sleep(20) or os._exit(0) for _ in range(2)]"
    child = start(tmp_path, f"{body}; print(forked, flush=True); time.sleep(1.2)", memory_gib=0.25)
    assert child.stdout
    forked = json.loads(child.stdout.readline())
    try:
        assert child.wait(5) == 0
    finally:
        for pid in forked:
            psutil.Process(pid).kill()


def test_a_number_that_is_not_the_step_is_left_alone(tmp_path: Path) -> None:
    """A watchdog that starts late may be told a number that belongs to another process by now."""
    innocent = subprocess.Popen(["sleep", "30"])
    try:
        watch = {"step": "x", "where": "x", "attempt": 1, "ledger_url": url(tmp_path), "limit_seconds": 0.0}
        orders = json.dumps(watch | {"memory_gib": 0.0, "grace_seconds": 0.0, "pid": innocent.pid})
        dog = subprocess.Popen(
            [sys.executable, "-m", "pipelines.runs.watchdog"], cwd=REPOSITORY, stdin=subprocess.PIPE, text=True
        )
        assert dog.stdin
        dog.stdin.write(orders + "\n")
        dog.stdin.flush()
        assert dog.wait(10) == 0
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()
