"""`Ledger.exclusive` on both databases: one holder per name, however the holder ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import StorageError
from pipelines.ledger import Ledger
from pipelines.ledger.exclusive import lock_key
from tests.postgres import PostgresServer

PROCESSES = 4
# A fresh interpreter each, as on another machine.
SPAWN = multiprocessing.get_context("spawn")


def add_one(url: str, barrier: Any, counter: Path) -> None:
    ledger = Ledger(url)
    barrier.wait()
    for _ in range(5):
        with ledger.exclusive("count"):
            seen = int(counter.read_text())
            time.sleep(0.005)
            counter.write_text(str(seen + 1))


def hold(url: str, inside: Any) -> None:
    with Ledger(url).exclusive("day/2026-03-01"):
        inside.set()
        time.sleep(600)


@pytest.mark.slow
def test_processes_at_once_lose_no_update(ledger_url: str, tmp_path: Path) -> None:
    """Reading and writing a file in two steps loses updates unless one process at a time is inside."""
    Ledger(ledger_url)
    counter = tmp_path / "counter"
    counter.write_text("0")
    barrier = SPAWN.Barrier(PROCESSES)
    children = [SPAWN.Process(target=add_one, args=(ledger_url, barrier, counter)) for _ in range(PROCESSES)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * PROCESSES
    assert counter.read_text() == str(5 * PROCESSES)


@pytest.mark.slow
def test_a_killed_holder_lets_the_next_one_in(ledger_url: str) -> None:
    inside = SPAWN.Event()
    child = SPAWN.Process(target=hold, args=(ledger_url, inside))
    child.start()
    assert inside.wait(60)
    ledger = Ledger(ledger_url)
    with pytest.raises(StorageError, match=r"E-(DB|IO)-LOCKED") as caught, ledger.exclusive("day/2026-03-01", 0.3):
        pass
    assert caught.value.retryable
    if "postgresql" in ledger_url:
        assert f"{child.pid}" in str(caught.value), "the error names the holder"
    assert child.pid
    os.kill(child.pid, signal.SIGKILL)
    started = time.monotonic()
    with ledger.exclusive("day/2026-03-01", 20.0):
        assert time.monotonic() - started < 10
    child.join()


def test_names_do_not_wait_for_each_other_and_an_error_lets_go(ledger_url: str) -> None:
    ledger = Ledger(ledger_url)
    with ledger.exclusive("one"), ledger.exclusive("two", 0.2):
        pass
    with pytest.raises(ZeroDivisionError), ledger.exclusive("one"):
        _ = 1 / 0
    with Ledger(ledger_url).exclusive("one", 0.2):
        pass


def test_keys_are_the_same_everywhere() -> None:
    """The first 8 bytes of sha256('payments/clean') as a signed number: two versions must agree on the lock."""
    assert lock_key("payments/clean") == 7689550406026032894


@pytest.mark.slow
def test_a_lock_that_was_lost_inside_is_not_kept_quiet(postgres: PostgresServer) -> None:
    ledger = Ledger(postgres.fresh())

    def lose(then: BaseException | None = None) -> None:
        with ledger.exclusive("day"):
            postgres.kill()
            postgres.start()
            if then:
                raise then

    with pytest.raises(StorageError, match="E-DB-LOCK-LOST") as caught:
        lose()
    assert postgres.launch.password not in str(caught.value)
    with pytest.raises(ZeroDivisionError):
        lose(then=ZeroDivisionError())
    with ledger.exclusive("day"):
        pass
