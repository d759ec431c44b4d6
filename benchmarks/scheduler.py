"""A backfill through Airflow's API on a running scheduler, twice: what it costs, and that the second changes nothing.

    python -m benchmarks.scheduler --home DIR --pipeline card_payments --from 2026-03-10 --to 2026-03-19

Starts `nightshift up` on the home (free ports), posts the backfill, waits, prints seconds per task; then posts it again
with `reprocess_behavior: completed` and compares every byte of tables and exports, the champion and the releases.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines.home import Home
from pipelines.ledger import Ledger
from pipelines.runs.airflow_home import passwords


class Server:
    """`nightshift up` on a home, and a client signed in as admin."""

    def __init__(self, home: Home) -> None:
        self.home, self.port, self.token = home, _free_port(), ""
        command = [str(Path(sys.executable).parent / "nightshift"), "--home", str(home.root), "up"]
        ports = ["--airflow-port", str(self.port), "--mlflow-port", str(_free_port())]
        self.output = home.root / "up.log"
        with open(self.output, "w") as log:
            self.process = subprocess.Popen([*command, *ports], stdout=log, stderr=log)

    def wait_until_ready(self) -> None:
        while "Ctrl-C" not in self.output.read_text():
            if self.process.poll() is not None:
                raise SystemExit(self.output.read_text())
            time.sleep(0.5)
        user = {"username": "admin", "password": passwords(self.home)["admin"]}
        self.token = self.call("POST", "/auth/token", user)["access_token"]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", required=True)
    parser.add_argument("--pipeline", required=True)
    parser.add_argument("--from", dest="first", required=True)
    parser.add_argument("--to", dest="last", required=True)
    parser.add_argument("--max-active-runs", type=int, default=4)
    arguments = parser.parse_args()
    home = Home.resolve(arguments.home)
    champion = Ledger(home.ledger_url).champion(arguments.pipeline)
    server = Server(home)
    try:
        started = time.monotonic()
        server.wait_until_ready()
        print(f"ready after {time.monotonic() - started:.1f} s")
        first = backfill(server, arguments, "none")
        before = fingerprint(home, arguments.pipeline)
        print_costs(server, arguments.pipeline, first)
        second = backfill(server, arguments, "completed")
        print_trouble(server, arguments.pipeline, [*first, *second])
        after = fingerprint(home, arguments.pipeline)
    finally:
        server.stop()
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    print(f"second backfill: {len(before):,} files before, {len(after):,} after, {len(changed)} changed")
    print(f"champion unmoved: {champion == Ledger(home.ledger_url).champion(arguments.pipeline)}")
    print_releases(home, arguments.pipeline, arguments.first, arguments.last)


def backfill(server: Server, arguments: argparse.Namespace, behavior: str) -> list[dict[str, Any]]:
    """Posts a backfill and waits for its runs; returns them."""
    dag = f"{arguments.pipeline}__daily"
    known = {run["dag_run_id"] for run in runs_of(server, dag)}
    body = {
        **{"dag_id": dag, "from_date": f"{arguments.first}T00:00:00Z", "to_date": f"{arguments.last}T23:59:00Z"},
        **{"max_active_runs": arguments.max_active_runs, "reprocess_behavior": behavior, "dag_run_conf": {}},
        "run_backwards": False,
    }
    started = time.monotonic()
    while True:
        try:
            server.call("POST", "/api/v2/backfills", body)
            break
        except urllib.error.HTTPError as error:  # one backfill per DAG at a time; its end is noticed every 30 s
            if error.code not in (404, 409) or time.monotonic() - started > 120:
                raise
            time.sleep(2)
    while True:
        mine = [run for run in runs_of(server, dag) if run["dag_run_id"] not in known]
        if mine and all(run["state"] in ("success", "failed") for run in mine):
            break
        time.sleep(1)
    states = sorted({run["state"] for run in mine})
    print(f"backfill ({behavior}): {len(mine)} runs {states} in {time.monotonic() - started:.1f} s")
    return mine


def runs_of(server: Server, dag: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.call("GET", f"/api/v2/dags/{dag}/dagRuns?limit=1000")["dag_runs"]
    return found


def tasks_of(server: Server, pipeline: str, run: dict[str, Any]) -> list[dict[str, Any]]:
    run_id = urllib.parse.quote(run["dag_run_id"], safe="")
    path = f"/api/v2/dags/{pipeline}__daily/dagRuns/{run_id}/taskInstances?limit=100"
    found: list[dict[str, Any]] = server.call("GET", path)["task_instances"]
    return found


def print_trouble(server: Server, pipeline: str, runs: list[dict[str, Any]]) -> None:
    """Tasks that failed or needed another attempt, and how often a log speaks of a locked database."""
    tasks = [task for run in runs for task in tasks_of(server, pipeline, run)]
    failed = [task for task in tasks if task["state"] in ("failed", "upstream_failed")]
    again = [task for task in tasks if task["try_number"] > 1]
    logs = [server.output, *(path for path in (server.home.airflow / "logs").rglob("*") if path.is_file())]
    locked = sum(path.read_text(errors="replace").lower().count("database is locked") for path in logs)
    print(
        f"{len(tasks)} tasks: {len(failed)} failed, {len(again)} needed another attempt; 'database is locked': {locked}"
    )


def print_costs(server: Server, pipeline: str, runs: list[dict[str, Any]]) -> None:
    """Median seconds per task of these runs, and from the run's start to its end."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        for task in tasks_of(server, pipeline, run):
            if task["duration"] is not None:
                seconds[task["task_id"]].append(task["duration"])
        seconds["the whole run"].append(_between(run["start_date"], run["end_date"]))
    print("\n| task | median seconds | n |\n|---|---|---|")
    for name, found in seconds.items():
        print(f"| {name} | {statistics.median(found):.2f} | {len(found)} |")
    print()


def fingerprint(home: Home, pipeline: str) -> dict[str, str]:
    """sha256 of every file of tables and exports."""
    folders = [home.root / "tables" / pipeline, home.root / "exports" / pipeline]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def print_releases(home: Home, pipeline: str, first: str, last: str) -> None:
    """Which version scored each day, and which champion was in force on its morning."""
    ledger = Ledger(home.ledger_url)
    days = [
        row for row in ledger.releases(pipeline) if first <= row["partition"] <= last and row["state"] == "released"
    ]
    for row in days:
        day = datetime.fromisoformat(f"{row['partition']}T00:00:00+00:00")
        champion = ledger.champion(pipeline, at=day)
        in_force = champion["version"] if champion else None
        print(f"{row['partition']}: {row['row_count']:,} scores of version {row['model_version']}, in force {in_force}")
    print(f"{len(days)} of the days are released")


def _between(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
