"""Runs the real DAGs without a server: one child process runs all days of a `nightshift run`, one after another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from pipelines.errors import StorageError
from pipelines.home import REPOSITORY, Home
from pipelines.runs.airflow_home import airflow_environment
from pipelines.runs.lock import only_orchestrator
from pipelines.servers.airflow_database import airflow_database

Event = dict[str, Any]
# Airflow's OpenLineage provider tells of DAG runs through a pool of processes, as fits a scheduler. In one process for
# everything each run would wait half a minute for the end of that pool; tasks are told of all the same.
_NO_DAG_EVENTS = '[{"scope": {}, "controls": {"emit_dag_events": false}}]'
_IN_PROCESS = {"NIGHTSHIFT_IN_PROCESS": "1", "AIRFLOW__OPENLINEAGE__EMISSION_POLICY": _NO_DAG_EVENTS}
OnEvent = Callable[[Event], None]


class LocalAirflow:
    """The child process. Each request is one DAG run; its events arrive while it runs."""

    def __init__(self, home: Home, child: subprocess.Popen[str], events: IO[str], log_start: int) -> None:
        self._home, self._child, self._events, self._log_start = home, child, events, log_start

    def run(self, dag_id: str, partition: str, conf: dict[str, Any], on_event: OnEvent | None = None) -> Event:
        """Runs `dag_id` for `partition` and returns its last event (`event: run`).

        Events: `{"event": "ready"}`, `{"event": "task", "dag_id", "partition", "task_id", "state", "seconds",
        "error", "summary"}` with state started, success, skipped, failed or awaiting_input, and
        `{"event": "run", "dag_id", "partition", "run_id", "state", "seconds", "error", "summaries"}`.

        Raises:
            StorageError: E-RUN-CHILD when the child died.
        """
        requests = self._child.stdin
        if requests is None:
            raise self._died()
        try:
            requests.write(json.dumps({"dag_id": dag_id, "partition": partition, "conf": conf}) + "\n")
            requests.flush()
        except OSError:
            raise self._died() from None
        for line in self._events:
            event: Event = json.loads(line)
            if on_event:
                on_event(event)
            if event["event"] == "run":
                return event
        raise self._died()

    def _died(self) -> StorageError:
        code = self._child.wait()
        how = f"ended with {code} (a negative number is the signal that killed it)"
        return StorageError(
            "E-RUN-CHILD",
            str(self._home.root),
            f"the process that runs the DAGs {self._why_stopped() or how}",
            f"See {_log_file(self._home)}; run the same command again, done steps are kept.",
        )

    def _why_stopped(self) -> str | None:
        """What the watchdog of a step wrote before it killed the process, and with it this whole run."""
        with open(_log_file(self._home), errors="replace") as log:
            log.seek(self._log_start)
            words = [line.strip() for line in log if line.startswith(("E-RUN-TIMEOUT", "E-RUN-MEMORY"))]
        return f"was stopped: {words[-1]}" if words else None


def _log_file(home: Home) -> Path:
    return home.airflow / "logs" / "in_process.log"


@contextmanager
def local_airflow(home: Home) -> Iterator[LocalAirflow]:
    """A child process with Airflow loaded, for as many runs as are wanted; it ends with this process.

    Raises:
        ConfigError: E-RUN-BUSY when another run or `make up` uses this home.
    """
    with only_orchestrator(home, f"'nightshift run' (process {os.getpid()})"), airflow_database(home) as database:
        _log_file(home).parent.mkdir(parents=True, exist_ok=True)
        reading, writing = os.pipe()
        with open(_log_file(home), "ab") as log:
            log_start = log.tell()
            child = subprocess.Popen(
                [sys.executable, str(REPOSITORY / "plugins" / "local_run.py"), str(writing)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[writing],
                env=airflow_environment(home) | database.variables | _IN_PROCESS,
                start_new_session=True,  # Ctrl-C reaches this process, which then ends the child
                text=True,
            )
        os.close(writing)
        try:
            with open(reading) as events:
                yield LocalAirflow(home, child, events, log_start)
        finally:
            _end(child)


def _end(child: subprocess.Popen[str]) -> None:
    """The child leaves when its requests end; one that does not is killed."""
    if child.stdin:
        with suppress(OSError):
            child.stdin.close()
    try:
        child.wait(timeout=10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def run_days(
    home: Home,
    name: str,
    partitions: Sequence[str],
    retrain_every: int | None = None,
    on_event: OnEvent | None = None,
    keep_going: bool = False,
) -> list[Event]:
    """Runs `<name>__daily` for each partition in order, and `<name>__retrain` where drift or `retrain_every` asks.

    Args:
        home: Where everything lies.
        name: The pipeline.
        partitions: Keys in the order in which they are to run.
        retrain_every: Also retrain after every this many partitions.
        on_event: Called with each event (see LocalAirflow.run).
        keep_going: Go on with the next partition after a failed one.

    Returns:
        The last event of each DAG run, in order. A failed run is in it with `state: failed` and its error.
    """
    done: list[Event] = []
    with local_airflow(home) as airflow:
        for count, partition in enumerate(partitions, start=1):
            due = bool(retrain_every) and count % (retrain_every or 1) == 0
            schedule = f"schedule: every {retrain_every} partitions" if due else None
            runs = run_day(airflow, name, partition, schedule, on_event)
            done += runs
            if not keep_going and any(run["state"] == "failed" for run in runs):
                break
    return done


def run_day(
    airflow: LocalAirflow, name: str, partition: str, schedule: str | None = None, on_event: OnEvent | None = None
) -> list[Event]:
    """Runs `<name>__daily`, then `<name>__retrain` where the day asked for it or `schedule` (words) is given."""
    day = airflow.run(f"{name}__daily", partition, {"partition_key": partition}, on_event)
    if day["state"] != "success":
        return [day]
    asked = day["summaries"].get("request_retrain")
    trigger = f"monitor on {partition}: {'; '.join(asked.get('reasons', []))}" if asked else schedule
    return [day, retrain(airflow, name, partition, trigger, on_event)] if trigger else [day]


def run_retrain(home: Home, name: str, as_of: str, on_event: OnEvent | None = None, trigger: str = "manual") -> Event:
    """Runs `<name>__retrain` with everything up to the end of partition `as_of`; returns its last event."""
    with local_airflow(home) as airflow:
        return retrain(airflow, name, as_of, trigger, on_event)


def retrain(airflow: LocalAirflow, name: str, partition: str, trigger: str, on_event: OnEvent | None = None) -> Event:
    """Runs `<name>__retrain` with everything up to the end of `partition`; its last event, with the `trigger`."""
    conf = {"as_of_partition": partition, "trigger": trigger}
    return {**airflow.run(f"{name}__retrain", partition, conf, on_event), "trigger": trigger}
