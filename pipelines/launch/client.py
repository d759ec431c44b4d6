"""A client of the Airflow that runs on this machine for a home, signed in as admin."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from typing import Any

from pipelines.errors import StorageError
from pipelines.home import Home
from pipelines.runs.airflow_home import passwords

Row = dict[str, Any]
_ENDED = ("success", "failed")


class AirflowClient:
    """Starts and watches runs through the REST API.

    Args:
        home: The home whose passwords sign in.
        port: Where its API server listens on loopback.
        patience_seconds: How long a call is repeated while the server is away (it may be killed and start again).
    """

    def __init__(self, home: Home, port: int, patience_seconds: float = 120) -> None:
        self.base, self.patience_seconds = f"http://127.0.0.1:{port}", patience_seconds
        self._user = {"username": "admin", "password": passwords(home)["admin"]}
        self._token = ""

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON. Repeats while nobody listens; an answer, also a refusal, is never repeated.

        Raises:
            urllib.error.HTTPError: the server refused.
            StorageError: E-AIRFLOW-DOWN when it was away for too long.
        """
        deadline = time.monotonic() + self.patience_seconds
        while True:
            try:
                if not self._token:
                    self._token = self._send("POST", "/auth/token", self._user)["access_token"]
                return self._send(method, path, body)
            except urllib.error.HTTPError as error:
                # 5xx: its database was away. A GET can be repeated; what changes something is the caller's to judge.
                if method != "GET" or error.code < 500 or time.monotonic() > deadline:
                    raise
            except OSError as error:
                if time.monotonic() > deadline:
                    what = f"no answer within {self.patience_seconds:.0f} s: {error}"
                    raise StorageError("E-AIRFLOW-DOWN", self.base, what) from error
            time.sleep(0.5)

    def trigger(self, dag: str, partition: str | None = None, **conf: str) -> str:
        """Starts a run; returns its id."""
        body = {"logical_date": None, "partition_key": partition, "conf": conf}
        return str(self.call("POST", f"/api/v2/dags/{dag}/dagRuns", body)["dag_run_id"])

    def wait_for(self, dag: str, run_ids: Iterable[str], seconds: float = 900) -> list[Row]:
        """These runs when all have ended, whether well or not.

        Raises:
            TimeoutError: they did not end in time.
        """
        wanted, deadline = set(run_ids), time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = [run for run in self.runs(dag) if run["dag_run_id"] in wanted]
            if len(found) == len(wanted) and all(run["state"] in _ENDED for run in found):
                return found
            time.sleep(0.5)
        raise TimeoutError(f"{dag}: {sorted(wanted)} did not end within {seconds:.0f} s")

    def backfill(self, dag: str, first: str, last: str, active: int = 4, again: bool = False) -> str:
        """Starts a backfill of these partitions; returns its id. One may run per DAG: waits for an earlier one."""
        body = {
            **{"dag_id": dag, "from_date": f"{first}T00:00:00Z", "to_date": f"{last}T23:59:00Z"},
            **{"max_active_runs": active, "reprocess_behavior": "completed" if again else "none"},
            **{"run_backwards": False, "dag_run_conf": {}},
        }
        deadline = time.monotonic() + self.patience_seconds
        while True:
            try:
                return str(self.call("POST", "/api/v2/backfills", body)["id"])
            except urllib.error.HTTPError as error:
                # 409: an earlier one still runs; its end is noticed every 30 s. 404: the DAG is not parsed yet.
                if error.code not in (404, 409) or time.monotonic() > deadline:
                    raise
                time.sleep(2)

    def runs(self, dag: str) -> list[Row]:
        return list(self.call("GET", f"/api/v2/dags/{dag}/dagRuns?limit=1000")["dag_runs"])

    def tasks(self, dag: str, run_id: str) -> list[Row]:
        path = f"/api/v2/dags/{dag}/dagRuns/{urllib.parse.quote(run_id, safe='')}/taskInstances?limit=1000"
        return list(self.call("GET", path)["task_instances"])

    def log(self, dag: str, run_id: str, task: str, attempt: int = 1, map_index: int = -1) -> str:
        """A task's log as text, one JSON object per line."""
        run = urllib.parse.quote(run_id, safe="")
        path = f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/{task}/logs/{attempt}?full_content=true"
        return json.dumps(self.call("GET", f"{path}&map_index={map_index}"))

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self.base}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())
