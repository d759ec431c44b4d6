"""Airflow DAGs `<name>__retrain`: a challenger is trained, judged and, when it may, promoted.

A run starts on the retrain asset's event, which comes from the daily run's drift decision or, where the pipeline has
a retrain cron, from the one-task DAG `<name>__retrain_nightly`. Airflow 3.3 starts a DAG either on partitioned asset
events or on a cron, not on both, and events of partitioned runs reach partitioned consumers only.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param, PartitionedAssetTimetable
from airflow.sdk.definitions.mappedoperator import MappedOperator
from nightshift_approval import ApprovePromotion, Promote
from nightshift_dags import build
from nightshift_notify import NotifyRetrain, watched
from nightshift_resources import task_arguments
from nightshift_retrain import RequestNightlyRetrain, RetrainStep, Tune, retrain_asset

from pipelines.settings import Pipeline


def retrain(pipeline: Pipeline) -> DAG | None:
    if not pipeline.training:
        return None
    with DAG(
        f"{pipeline.name}__retrain",
        description=f"Trains, judges and perhaps promotes a challenger of {pipeline.name}",
        schedule=PartitionedAssetTimetable(assets=retrain_asset(pipeline.name)),
        catchup=False,
        max_active_runs=1,
        tags=["nightshift", "retrain", pipeline.name],
        default_args={"owner": pipeline.owner, **watched(pipeline)},
        params={
            "as_of_partition": Param(
                None,
                type=["null", "string"],
                description="the last partition to learn from; empty: the newest accepted",
            )
        },
    ) as dag:
        _steps(pipeline)
    return dag


def _steps(pipeline: Pipeline) -> None:
    def step(name: str, operator: type[RetrainStep] = RetrainStep, **arguments: str) -> RetrainStep:
        return operator(task_id=name, pipeline=pipeline.name, arguments=arguments, **task_arguments(pipeline, name))

    gate = step("gate", snapshot_id="snapshot", version="train")
    promote = step("promote", Promote, version="train")
    (
        step("snapshot")
        >> _tune(pipeline)
        >> step("train", snapshot_id="snapshot")
        >> step("evaluate", snapshot_id="snapshot", version="train")
        >> gate
        >> promote
    )
    if pipeline.retrain.approve != "auto":
        gate >> ApprovePromotion(task_id="approve", pipeline=pipeline) >> promote
    if pipeline.notify:
        promote >> NotifyRetrain(pipeline=pipeline).as_teardown()


def _tune(pipeline: Pipeline) -> RetrainStep | MappedOperator:
    """One task, or one for each worker of a search; they need nothing of each other and may run one after another."""
    workers = pipeline.training.tuning.workers if pipeline.training and pipeline.training.tuning else 1
    given = {"pipeline": pipeline.name, "arguments": {"snapshot_id": "snapshot"}, **task_arguments(pipeline, "tune")}
    if workers == 1:
        return Tune(task_id="tune", **given)
    return Tune.partial(task_id="tune", step="tune", map_index_template="worker {{ task.worker }}", **given).expand(
        worker=list(range(workers))
    )


def nightly(pipeline: Pipeline) -> DAG | None:
    if not (pipeline.training and pipeline.retrain.schedule):
        return None
    with DAG(
        f"{pipeline.name}__retrain_nightly",
        description=f"Starts {pipeline.name}__retrain on its cron, for the newest accepted partition",
        # With a start date Airflow would run the last missed tick when it first sees the DAG: starting the UI on an
        # existing home must not retrain. The few minutes cover a tick that falls between two parses.
        schedule=CronTriggerTimetable(
            pipeline.retrain.schedule, timezone=pipeline.timezone, run_immediately=timedelta(minutes=2)
        ),
        start_date=None,
        catchup=False,
        max_active_runs=1,
        # Backfills of plain cron DAGs have killed schedulers on SQLite, and would mean nothing here.
        allowed_run_types=["scheduled", "manual"],
        tags=["nightshift", "retrain", pipeline.name],
        default_args={"owner": pipeline.owner},
    ) as dag:
        RequestNightlyRetrain(
            task_id="request_retrain", pipeline=pipeline.name, **task_arguments(pipeline, "request_retrain")
        )
    return dag


build(retrain=retrain, retrain_nightly=nightly)
