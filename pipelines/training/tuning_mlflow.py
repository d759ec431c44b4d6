"""Every trial of a search in MLflow: runs nested under the run of the search, written afterwards from the ledger.

MLflow is a place to look. While it is away a search goes on, and what is missing is written later: by the next
`tune` or `train` of the same snapshot. Each run is known by its trial's number, so that none is written twice.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import make_url

from pipelines.calls import call
from pipelines.context import Context
from pipelines.databases import place
from pipelines.errors import NightshiftError
from pipelines.ledger import Row
from pipelines.training.mlflow_client import MLFLOW, registry
from pipelines.training.registry_run import RUN_KEY, experiment_of
from pipelines.training.tuning_search import best_of
from pipelines.training.tuning_study import COMPLETE, FAILED, FINISHED

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger("nightshift")

PARENT = "mlflow.parentRunId"  # MLflow's own tag: its page folds such runs under their parent
STATE = "nightshift.trial_state"
_MOST_RUNS = 10_000
_MOST_LOOKS = 500
_LONGEST_TAG = 5000
# Two attempts of half a minute at most, where a server takes requests and does not answer: nothing is lost without it.
_MLFLOW = replace(MLFLOW, attempts=2, seconds=10.0)


def log_search(context: Context, study: Row, trials: Sequence[Row]) -> dict[str, str]:
    """Writes the ended trials that MLflow lacks; never raises for MLflow's sake.

    Returns `{"mlflow_run_id": the search's run}`, or `{"mlflow": why it has to wait}`.
    """
    action = f"writing the trials of {study['study']}"
    try:
        with context.ledger.exclusive(f"mlflow {study['study']}"), registry(context) as client:
            target = place(make_url(context.home.mlflow_uri))
            # Runs are looked up by study and number before they are made, each time.
            run_id = call(_MLFLOW, target, action, lambda: _write(client, context, study, trials))
    except NightshiftError as error:
        log.warning("the trials of %s are not in MLflow yet: %s", study["study"], error)
        return {"mlflow": f"{error.code}: the trials are in the ledger; the next attempt writes them to MLflow"}
    return {"mlflow_run_id": run_id}


def _write(client: MlflowClient, context: Context, study: Row, trials: Sequence[Row]) -> str:
    """Completes the search's run; returns its id."""
    experiment = experiment_of(client, context)
    ended = [row for row in trials if row["state"] in FINISHED]
    parent = _parent(client, experiment, study)
    if client.get_run(parent).info.status == "FINISHED":
        return parent
    children = client.search_runs([experiment], f"tags.`{PARENT}` = '{parent}'", max_results=_MOST_RUNS)
    known = {run.data.tags.get(RUN_KEY): run for run in children}
    for row in ended:
        run = known.get(_key(study, row))
        if run is None or run.info.status == "RUNNING":
            _child(client, experiment, parent, study, row, run.info.run_id if run else None)
    best = best_of(ended, study["metric"])
    if best:
        _log(client, parent, {f"best.{name}": one for name, one in best["parameters"].items()}, _value(study, best))
    client.set_terminated(parent, "FINISHED" if best else "FAILED")
    return parent


def _parent(client: MlflowClient, experiment: str, study: Row) -> str:
    known = client.search_runs([experiment], f"tags.`{RUN_KEY}` = '{study['study']}'", max_results=1)
    if known:
        return str(known[0].info.run_id)
    tags = {RUN_KEY: study["study"], "nightshift.partition": study["partition"], **_tags(study)}
    name = f"tuning {study['partition']}"
    started = int(study["created_at"].timestamp() * 1000)
    run_id = str(client.create_run(experiment, tags=tags, run_name=name, start_time=started).info.run_id)
    _log(client, run_id, {"trials": study["trials"], "metric": study["metric"], **_flat(study["settings"])}, {})
    return run_id


def _child(client: MlflowClient, experiment: str, parent: str, study: Row, row: Row, run_id: str | None) -> None:
    """One trial; a run that a killed process left half written is completed."""
    if run_id is None:
        tags = {RUN_KEY: _key(study, row), PARENT: parent, STATE: row["state"], **_tags(study)}
        tags |= {"nightshift.trial": str(row["number"]), "nightshift.reason": (row["reason"] or "")[:_LONGEST_TAG]}
        started = int(row["started_at"].timestamp() * 1000)
        made = client.create_run(experiment, start_time=started, tags=tags, run_name=f"trial {row['number']}")
        run_id = str(made.info.run_id)
    _log(client, run_id, row["parameters"] or {}, _value(study, row), row["looks"] or [])
    status = "FAILED" if row["state"] == FAILED else "FINISHED"
    client.set_terminated(run_id, status, end_time=int(row["ended_at"].timestamp() * 1000))


def _log(
    client: MlflowClient,
    run_id: str,
    parameters: Mapping[str, Any],
    metrics: Mapping[str, float],
    looks: Sequence[Sequence[float]] = (),
) -> None:
    from mlflow.entities import Metric, Param

    numbers = [Metric(name, value, 0, 0) for name, value in metrics.items()]
    numbers += [Metric("validation_loss", loss, 0, int(step)) for step, loss in looks[-_MOST_LOOKS:]]
    client.log_batch(run_id, numbers, [Param(name, str(value)[:500]) for name, value in parameters.items()])


def _value(study: Row, row: Row) -> dict[str, float]:
    """On the last training partitions, and named so: the metric of a model is that of the holdout."""
    has_value = row["state"] == COMPLETE and row["value"] is not None and math.isfinite(row["value"])
    return {f"validation_{study['metric']}": row["value"]} if has_value else {}


def _tags(study: Row) -> dict[str, str]:
    return {
        "nightshift.pipeline": study["pipeline"],
        "nightshift.snapshot_id": study["snapshot_id"],
        "nightshift.code_version": study["code_version"],
        "nightshift.study": study["study"],
    }


def _key(study: Row, row: Row) -> str:
    return f"{study['study']}#{row['number']}"


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {f"tuning.{name}": value for name, value in settings.items() if value is not None}
