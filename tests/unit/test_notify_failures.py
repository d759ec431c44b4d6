"""Which failed tasks of a run nobody was told of: by attempt, so that a repeat is told of anew and a clear is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.ledger import Ledger
from pipelines.notify.failures import KILLED, failures, topic


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")


def attempt(ledger: Ledger, step: str, error: str | None) -> int:
    number = ledger.start_attempt("cards", "2026-03-02", step, "run", "c")
    if error:
        ledger.end_attempt(number, "failed", None, error, None)
    return number


def tell(ledger: Ledger, step: str, connection: str) -> None:
    about = f"{topic('run', step)}1"
    ledger.record_notification("cards", "2026-03-02", about, connection, title="t", run_id="run")


def test_a_task_that_was_killed_has_no_error_and_nobody_was_told(ledger: Ledger) -> None:
    number = attempt(ledger, "validate", None)
    (found,) = failures(ledger, "cards", "run", ["validate"])
    assert (found.error, found.told) == (KILLED, frozenset())
    assert found.topic == f"failure run validate attempt {number}"


def test_who_took_the_message_of_this_attempt_is_not_told_again(ledger: Ledger) -> None:
    attempt(ledger, "validate", "E-X-Y a: b.")
    tell(ledger, "validate", "slack")
    (found,) = failures(ledger, "cards", "run", ["validate"])
    assert (found.error, found.told) == ("E-X-Y a: b.", {"slack"})


def test_a_message_about_an_earlier_attempt_does_not_count(ledger: Ledger) -> None:
    """Somebody cleared the task, and it was killed this time."""
    attempt(ledger, "validate", "E-X-Y a: b.")
    tell(ledger, "validate", "slack")
    attempt(ledger, "validate", None)
    (found,) = failures(ledger, "cards", "run", ["validate"])
    assert (found.error, found.told) == (KILLED, frozenset())


def test_a_task_without_attempts_counts_by_its_run_alone(ledger: Ledger) -> None:
    """`await_history` records none; and what another task or run was told of says nothing."""
    tell(ledger, "validate", "slack")
    ledger.record_notification("cards", "x", f"{topic('other', 'await_history')}1", "slack", title="t", run_id="other")
    (found,) = failures(ledger, "cards", "run", ["await_history"])
    assert found.told == frozenset()
    tell(ledger, "await_history", "mail")
    (found,) = failures(ledger, "cards", "run", ["await_history"])
    assert found.told == {"mail"}
