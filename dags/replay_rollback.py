"""Airflow DAGs `<name>__rollback`: a person puts an earlier champion back and says why."""

from __future__ import annotations

from airflow.sdk import DAG, Param
from nightshift_dags import pipelines_of
from nightshift_tasks import Rollback

from pipelines.settings import Pipeline


def rollback(pipeline: Pipeline) -> DAG:
    with DAG(
        f"{pipeline.name}__rollback",
        description=f"Puts an earlier champion of {pipeline.name} back",
        schedule=None,
        catchup=False,
        max_active_runs=1,
        tags=["nightshift", "rollback", pipeline.name],
        default_args={"owner": pipeline.owner},
        params={
            "version": Param(
                None,
                type=["null", "integer"],
                minimum=1,
                description="model version; empty: the champion before this one",
            ),
            "reason": Param("", type="string", minLength=3, description="kept with the change"),
        },
    ) as dag:
        Rollback(task_id="rollback", pipeline=pipeline.name)
    return dag


for _pipeline in pipelines_of("rollback"):
    if _pipeline.training:
        rollback(_pipeline)
