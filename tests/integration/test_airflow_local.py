"""`nightshift run` without a server: the real DAGs in one child process, over fake steps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from pipelines.home import REPOSITORY, Home
from pipelines.ledger import Ledger
from pipelines.runs.local import LocalAirflow, local_airflow, run_day
from pipelines.servers.postgres import PostgreSQL
from tests import fake_steps
from tests.conftest import ALPHA, without_airflow, write_config

pytestmark = pytest.mark.slow

AUTO = ALPHA.replace("approve: always", "approve: auto")
TUNING = "tuning: {trials: 4, workers: 2, ranges: {max_depth: [1, 4]}}"
SHARED = ALPHA.replace("training: {task: binary}", f"training: {{task: binary, {TUNING}}}")
DAYS = [f"2026-03-{day:02d}" for day in range(1, 8)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    root = tmp_path_factory.mktemp("local")
    before, clean = dict(os.environ), without_airflow()
    os.environ.clear()
    os.environ.update(clean)
    os.environ |= {"FAKE_STEPS": str(root / "wishes"), "PYTHONPATH": str(REPOSITORY / "tests" / "fake_steps" / "site")}
    (root / "wishes").mkdir()
    asks = "notify: {to: [nowhere], late_after_minutes: 1}\nresources:"
    gamma = SHARED.replace("name: alpha", "name: gamma").replace("resources:", asks)
    yield Home(root / "home", write_config(root, alpha=AUTO, gamma=gamma))
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def airflow(home: Home) -> Iterator[LocalAirflow]:
    with local_airflow(home) as child:
        yield child


def rows_of_airflow(home: Home, query: str) -> list[tuple[Any, ...]]:
    """Asks the database that runs now."""
    port = int((home.airflow / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[3])
    with create_engine(PostgreSQL(home.airflow / "postgres", port).url("airflow")).connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def wish(step: str, what: str) -> None:
    (fake_steps.folder() / step).write_text(what)


def run(airflow: LocalAirflow, day: str) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """State per task of the daily run (the last one of a task counts), and the runs' last events."""
    states: dict[str, str] = {}

    def note(event: dict[str, Any]) -> None:
        if event["event"] == "task" and event["state"] != "started" and event["dag_id"].endswith("__daily"):
            states[event["task_id"]] = event["state"]

    return states, run_day(airflow, "alpha", day, on_event=note)


def test_a_quiet_day_runs_every_step_once(airflow: LocalAirflow) -> None:
    states, events = run(airflow, DAYS[0])
    assert [event["state"] for event in events] == ["success"]
    assert {task for task, state in states.items() if state != "success"} == {"request_retrain"}
    calls = [(call["step"], call["arguments"].get("shard")) for call in fake_steps.calls()]
    assert calls == [
        *[("ingest", None), ("validate", None), ("deduplicate", None), ("build_features", None)],
        *[("score", 0), ("score", 1), ("audit", None), ("release", None), ("monitor", None)],
    ]


def test_an_absent_partition_is_a_success_with_nothing_done(airflow: LocalAirflow) -> None:
    wish(f"ingest.{DAYS[1]}", "skip")
    states, events = run(airflow, DAYS[1])
    assert events[0]["state"] == "success"
    nothing = {"ingest": "skipped", "request_retrain": "skipped"}  # the real monitor finds no features and skips
    assert states == nothing | {"monitor": "success", "finish": "success"}


def test_a_refused_partition_fails_once_with_its_error(airflow: LocalAirflow, home: Home) -> None:
    """Bad data are final: a retry would only repeat the refusal. The task's log, which the UI shows, says why."""
    wish(f"validate.{DAYS[2]}", "fail")
    states, events = run(airflow, DAYS[2])
    assert events[0]["state"] == "failed"
    assert str(events[0]["error"]).startswith(f"E-FAKE-DATA alpha {DAYS[2]}: the fake data are bad.")
    # The real monitor finds no features and skips. `finish` never runs, which is what makes the run a failed one.
    assert states == {"ingest": "success", "validate": "failed", "monitor": "success", "request_retrain": "skipped"}
    assert sum(call["step"] == "validate" and call["partition"] == DAYS[2] for call in fake_steps.calls()) == 1
    log = home.airflow / "logs" / "dag_id=alpha__daily" / f"run_id={events[0]['run_id']}" / "task_id=validate"
    assert f"E-FAKE-DATA alpha {DAYS[2]}" in (log / "attempt=1.log").read_text()


def test_trouble_with_storage_is_retried_without_a_long_wait(airflow: LocalAirflow) -> None:
    wish(f"ingest.{DAYS[3]}", "retryable")
    started = time.monotonic()
    states, events = run(airflow, DAYS[3])
    assert events[0]["state"] == "success"
    assert states["ingest"] == "success"
    assert sum(call["step"] == "ingest" and call["partition"] == DAYS[3] for call in fake_steps.calls()) == 2
    assert time.monotonic() - started < 60


def test_without_champion_nothing_is_released_but_drift_is_watched(airflow: LocalAirflow) -> None:
    wish(f"score.{DAYS[4]}", "skip")
    states, events = run(airflow, DAYS[4])
    assert events[0]["state"] == "success"
    assert (states["score"], states["monitor"]) == ("skipped", "success")
    assert "release" not in states


def test_drift_starts_a_retrain_that_says_why_and_promotes(airflow: LocalAirflow, home: Home) -> None:
    wish(f"monitor.{DAYS[5]}", '{"decision": "RETRAIN", "trigger": true, "reasons": ["amount moved"]}')
    _, events = run(airflow, DAYS[5])
    assert [(event["dag_id"], event["state"]) for event in events] == [
        ("alpha__daily", "success"),
        ("alpha__retrain", "success"),
    ]
    promote = next(row for row in Ledger(home.ledger_url).attempts("alpha", DAYS[5]) if row["step"] == "promote")
    assert promote["summary"]["trigger"] == f"monitor on {DAYS[5]}: amount moved"


@pytest.mark.usefixtures("airflow")
def test_the_scheduler_will_not_start_that_retrain_again(home: Home) -> None:
    """The asset event of the run above is linked to its retrain run; nothing waits for a later scheduler."""
    waiting = "select count(*) from asset_partition_dag_run where created_dag_run_id is null"
    assert rows_of_airflow(home, waiting) == [(0,)]
    assert rows_of_airflow(home, "select count(*) from asset_event") == [(1,)]


@pytest.mark.parametrize("outcome", ["HOLD", "REJECT"])
def test_a_refused_challenger_is_a_success_without_promotion(airflow: LocalAirflow, outcome: str) -> None:
    wish("gate", f'{{"outcome": "{outcome}"}}')
    before = sum(call["step"] == "promote" for call in fake_steps.calls())
    event = airflow.run("alpha__retrain", DAYS[5], {"trigger": "test"})
    (fake_steps.folder() / "gate").unlink()
    assert event["state"] == "success"
    assert sum(call["step"] == "promote" for call in fake_steps.calls()) == before


def test_a_search_of_two_workers_is_two_tasks_and_all_end_before_the_training(airflow: LocalAirflow) -> None:
    before = len(fake_steps.calls())
    airflow.run("gamma__retrain", DAYS[1], {"trigger": "test"})
    called = [(call["step"], call["arguments"]) for call in fake_steps.calls()[before:]]
    assert [step for step, _ in called] == ["snapshot", "tune", "tune", "train", "evaluate", "gate"]
    assert [given for step, given in called if step == "tune"] == [
        {"snapshot_id": "snap-1", "worker": worker} for worker in (0, 1)
    ]


def test_approval_waits_for_a_person(airflow: LocalAirflow) -> None:
    before = sum(call["step"] == "promote" for call in fake_steps.calls())
    event = airflow.run("gamma__retrain", DAYS[0], {"trigger": "test"})
    assert event["state"] == "awaiting_input"
    assert sum(call["step"] == "promote" for call in fake_steps.calls()) == before


def test_a_run_from_a_terminal_sends_nothing(airflow: LocalAirflow) -> None:
    """Neither at its end nor of its failure: somebody sits in front of it. (There is no such connection.)"""
    told: list[str] = []

    def note(event: dict[str, Any]) -> None:
        if event["event"] == "task" and event["task_id"] == "notify" and event["state"] != "started":
            told.append(event["state"])

    wish(f"validate.{DAYS[0]}", "fail")
    failed = airflow.run("gamma__daily", DAYS[0], {"partition_key": DAYS[0]}, note)
    (fake_steps.folder() / f"validate.{DAYS[0]}").unlink()
    repaired = airflow.run("gamma__daily", DAYS[0], {"partition_key": DAYS[0]}, note)
    assert (failed["state"], repaired["state"]) == ("failed", "success")
    assert told == ["skipped", "skipped"]


def test_missing_history_is_an_error_and_no_endless_wait(airflow: LocalAirflow) -> None:
    event = airflow.run("alpha__daily", "2026-03-12", {"partition_key": "2026-03-12"})
    assert event["state"] == "failed"
    assert str(event["error"]).startswith("E-HISTORY-MISSING alpha 2026-03-12")


def test_rollback_needs_a_reason_and_passes_the_version(airflow: LocalAirflow) -> None:
    event = airflow.run("alpha__rollback", DAYS[0], {"version": 3, "reason": "bad scores"})
    assert event["state"] == "success"
    arguments = [call["arguments"] for call in fake_steps.calls() if call["step"] == "rollback"][-1]
    assert (arguments["version"], arguments["reason"]) == (3, "bad scores")
    refused = airflow.run("alpha__rollback", DAYS[0], {"version": 3})
    assert refused["state"] == "failed"
    assert "reason" in str(refused["error"])


def test_retract_passes_the_partition_and_who_asked(airflow: LocalAirflow) -> None:
    """The partition is asked for by name: a run by hand has no partition key."""
    given = {"partition": DAYS[1], "reason": "bad scores"}
    assert airflow.run("alpha__retract", DAYS[0], given)["state"] == "success"
    call = [call for call in fake_steps.calls() if call["step"] == "retract"][-1]
    assert (call["partition"], call["arguments"]) == (DAYS[1], {"reason": "bad scores", "actor": "nightshift run"})


def test_a_replay_that_differs_fails_and_says_what_differs(airflow: LocalAirflow) -> None:
    assert airflow.run("alpha__replay", DAYS[0], {"version": 3, "settings": "today"})["state"] == "success"
    arguments = [call["arguments"] for call in fake_steps.calls() if call["step"] == "replay"][-1]
    assert arguments == {"version": 3, "inputs": "recorded", "settings": "today"}
    wish("replay", '{"version": 3, "verdict": "different", "differences": ["config: training.seed 1 -> 2"]}')
    event = airflow.run("alpha__replay", DAYS[1], {"version": 3})
    (fake_steps.folder() / "replay").unlink()
    assert event["state"] == "failed"
    assert str(event["error"]) == "E-REPLAY-DIFFERS alpha version 3: config: training.seed 1 -> 2."


@pytest.mark.usefixtures("airflow")
def test_the_runs_are_in_the_database_that_the_ui_shows(home: Home) -> None:
    rows = rows_of_airflow(home, "select partition_key, state from dag_run where dag_id = 'alpha__daily'")
    assert (DAYS[0], "success") in rows
    assert (DAYS[2], "failed") in rows


def test_a_killed_parent_takes_its_child_along(tmp_path: Path) -> None:
    root = tmp_path / "other"
    root.mkdir()
    config = write_config(root, alpha=AUTO)
    code = (
        "import pathlib, time; from pipelines.home import Home; from pipelines.runs.local import local_airflow\n"
        f"with local_airflow(Home(pathlib.Path({str(root / 'home')!r}), pathlib.Path({str(config)!r}))) as airflow:\n"
        "    print(airflow._child.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not Path(f"/proc/{child}").exists()
