"""What `nightshift run` says at its end: whether something is to be repaired, and what to do then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines import approvals
from pipelines.cli.progress import Progress
from pipelines.ledger import Ledger
from tests import builders

EMPTY = "E-IN-EMPTY payments 2026-03-01: '2026-03-01.csv' must hold records, but it has no bytes."


DAYS = ["2026-03-01", "2026-03-02", "2026-03-03"]


def ended(family: str, key: str, state: str, error: str | None = None) -> dict[str, Any]:
    run = {"event": "run", "dag_id": f"payments__{family}", "partition": key, "run_id": f"r {family} {key}"}
    return run | {"seconds": 1.0, "state": state, "error": error}


@pytest.mark.parametrize(
    ("keys", "events", "commands"),
    [
        (DAYS[:1], [ended("daily", DAYS[0], "failed", EMPTY)], "nightshift run payments --from 2026-03-01"),
        (
            DAYS,
            [ended("daily", DAYS[0], "success"), ended("daily", DAYS[1], "failed", EMPTY)],
            "nightshift run payments --from 2026-03-02 --to 2026-03-03  (1 partition(s) not run)",
        ),
        (
            DAYS[:2],
            [ended("daily", DAYS[0], "success"), ended("retrain", DAYS[0], "failed", "E-X-Y a: b.")],
            "nightshift retrain payments --as-of 2026-03-01, then: nightshift run payments --from 2026-03-02"
            "  (1 partition(s) not run)",
        ),
        (
            DAYS[:1],
            [ended("daily", DAYS[0], "success"), ended("retrain", DAYS[0], "failed", "E-X-Y a: b.")],
            "nightshift retrain payments --as-of 2026-03-01",
        ),
    ],
    ids=["the only one was refused", "a later one waits", "a retrain failed, days wait", "only a retrain failed"],
)
def test_what_failed_ends_with_the_command_that_does_it_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: list[str], events: list[dict[str, Any]], commands: str
) -> None:
    with Progress(builders.home(tmp_path), "payments", len(keys)) as progress:
        for event in events:
            progress.on_event(event)
        progress.summarise(keys)
    assert f"Next: repair what is named above, then: {commands}\n" in capsys.readouterr().out


def test_an_error_is_told_once_also_where_no_task_ran(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A DAG that could not be read has no task; a run whose task failed repeats the task's error."""
    absent = "E-RUN-DAG payments__daily: there is no such DAG. See 'nightshift check'."
    task = {"event": "task", "partition": DAYS[0], "task_id": "ingest", "state": "failed", "error": EMPTY}
    with Progress(builders.home(tmp_path), "payments", 2) as progress:
        progress.on_event(task)
        progress.on_event(ended("daily", DAYS[0], "failed", EMPTY))
        progress.on_event(ended("daily", DAYS[1], "failed", absent))
    assert capsys.readouterr().err.splitlines() == [EMPTY, absent]


def test_a_retrain_that_waits_for_a_person_says_until_when_and_where_to_answer(tmp_path: Path, capsys) -> None:
    """Nobody can answer a run without a server, and its gate's PROMOTE has promoted nothing."""
    home = builders.home(tmp_path)
    ledger, key = Ledger(home.ledger_url), ("payments", "gate", "2026-03-01")
    ledger.record_decision(*key, run_id="r", outcome="PROMOTE", model_version=2, reasons=["better"], numbers={})
    until = {"until": "2026-03-03T05:30:00+00:00"}
    approvals.record(ledger, "payments", "2026-03-01", "r", 2, approvals.WAITING, until)
    event = {"event": "run", "dag_id": "payments__retrain", "partition": "2026-03-01", "run_id": "r", "seconds": 1.0}
    with Progress(home, "payments", 1) as progress:
        progress.on_event(event | {"state": "awaiting_input"})
    assert (
        "retrain   WAITING  v2  waits for a person until 2026-03-03 05:30 UTC; without an answer the champion stays. "
        "To answer: nightshift up, then Browse > Required Actions."
    ) in capsys.readouterr().out
