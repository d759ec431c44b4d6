"""Where a browser finds what a task made: pages and reports on Airflow's server, entries in MLflow.

Each function answers with an address, or with nothing where the thing was not made, so that no link leads nowhere.
Files of a release and quarantined rows lie in a folder or a bucket, which a browser cannot open from a page: those
links lead to the place of the partition's page that lists them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from pipelines.errors import ModelError
from pipelines.home import Home
from pipelines.ledger import Ledger
from pipelines.pages import addresses

MLFLOW_URL = "NIGHTSHIFT_MLFLOW_URL"  # of MLflow's pages, for people; where there is no server there is no link
_QUARANTINE = ("quarantine/ingest", "quarantine/validate")


@dataclass(frozen=True)
class Task:
    """A task after it ran: what it was for, and what is known of it, such as the summary of its step."""

    home: Home
    pipeline: str
    run_id: str
    partition: str = ""
    known: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ledger(self) -> Ledger:
        from pipelines.pages.known import ledger_of  # with the settings, which whoever only imports links needs not

        return ledger_of(self.home)

    @property
    def version(self) -> int | None:
        """The model version that it made, judged or used."""
        number = self.known.get("version") or self.known.get("model_version")
        return int(number) if number else None

    def has_report(self, name: str) -> bool:
        return self.home.files("reports", self.pipeline).read(name) is not None

    def has_decision(self, kind: str) -> bool:
        """Whether this very run decided."""
        rows = self.ledger.decisions(self.pipeline, kind, self.partition)
        return any(row["run_id"] == self.run_id for row in rows)


Place = Callable[[Task], str]


def pipeline_page(task: Task) -> str:
    return addresses.pipeline(task.pipeline)


def partition_page(task: Task) -> str:
    return addresses.partition(task.pipeline, task.partition) if task.partition else ""


def version_page(task: Task) -> str:
    return addresses.version(task.pipeline, task.version) if task.version else ""


def data_docs(task: Task) -> str:
    return _report(task, f"data_docs/{task.partition}.html")


def drift_report(task: Task) -> str:
    """Written for the decisions that `monitor.report` names."""
    return _report(task, f"drift/{task.partition}.html")


def quarantine(task: Task) -> str:
    """The partition's quarantined rows, where it has some."""
    if not task.partition:
        return ""
    found = [task.ledger.publication(task.pipeline, table, task.partition) for table in _QUARANTINE]
    return f"{partition_page(task)}#quarantine" if any(row and row["row_count"] for row in found) else ""


def release(task: Task) -> str:
    """The files of the release that readers see now."""
    rows = task.ledger.releases(task.pipeline, task.partition) if task.partition else []
    return f"{partition_page(task)}#release" if any(row["state"] == "released" for row in rows) else ""


def decision(kind: str) -> Place:
    """Of what decides about a partition (`audit`, `drift`, `shadow`)."""

    def place(task: Task) -> str:
        return f"{partition_page(task)}#decisions" if task.partition and task.has_decision(kind) else ""

    return place


def gate_decision(task: Task) -> str:
    """Of the gate about a version."""
    if not task.version:
        return ""
    rows = task.ledger.decisions(task.pipeline, "gate")
    return f"{version_page(task)}#gate" if any(row["model_version"] == task.version for row in rows) else ""


def mlflow_run(task: Task) -> str:
    """The run that trained the version, or the run of the search, which folds its trials."""
    run_id = task.known.get("mlflow_run_id") or _model(task).get("mlflow_run_id")
    return _mlflow(f"runs/{quote(str(run_id), safe='')}") if run_id else ""


def mlflow_version(task: Task) -> str:
    """The registered version, whose number in MLflow may be another than ours."""
    number = _model(task).get("record", {}).get("mlflow_version")
    return _mlflow(f"models/{quote(task.pipeline, safe='')}/versions/{number}") if number else ""


def _report(task: Task, name: str) -> str:
    return addresses.report(f"{task.pipeline}/{name}") if task.partition and task.has_report(name) else ""


def _model(task: Task) -> dict[str, Any]:
    """The ledger's row of the version; empty where none is known."""
    if not task.version or not os.environ.get(MLFLOW_URL):
        return {}
    try:
        return dict(task.ledger.model(task.pipeline, task.version))
    except ModelError:
        return {}


def _mlflow(route: str) -> str:
    server = os.environ.get(MLFLOW_URL, "").rstrip("/")
    return f"{server}/#/{route}" if server else ""
