"""Which page belongs to a run of a DAG: where the tab in the Airflow UI leads."""

from __future__ import annotations

from pipelines.ledger import Ledger
from pipelines.pages import addresses


def pipeline_of(dag_id: str) -> str:
    """The pipeline whose DAG this is; '' of a DAG that belongs to none."""
    name, _, family = dag_id.rpartition("__")
    return name if family and name != "nightshift" else ""


def place_of_run(ledger: Ledger, dag_id: str, run_id: str) -> str:
    """Of a night its partition, of a retrain the version that it trained; else the pipeline's page."""
    name = pipeline_of(dag_id)
    if not name:
        return addresses.overview()
    if dag_id == f"{name}__daily":
        attempts = ledger.of_run(name, run_id)
        return addresses.partition(name, attempts[0]["partition"]) if attempts else addresses.pipeline(name)
    version = ledger.version_of_run(name, run_id) if dag_id == f"{name}__retrain" else None
    return addresses.pipeline(name) if version is None else addresses.version(name, version)
