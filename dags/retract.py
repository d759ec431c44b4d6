"""Airflow DAGs `<name>__retract`: the released scores of one partition are taken back."""

from __future__ import annotations

from airflow.sdk import DAG, Param
from nightshift_dags import build
from nightshift_retract import Retract

from pipelines.settings import Pipeline


def retract(pipeline: Pipeline) -> DAG | None:
    if not pipeline.training:
        return None
    with DAG(
        f"{pipeline.name}__retract",
        description=f"Takes the released scores of one partition of {pipeline.name} back",
        schedule=None,
        catchup=False,
        max_active_runs=1,
        tags=["nightshift", "retract", pipeline.name],
        default_args={"owner": pipeline.owner},
        params={
            "partition": Param("", type="string", minLength=1, description="such as 2026-03-02"),
            "reason": Param("", type="string", minLength=3, description="kept with the change"),
        },
    ) as dag:
        Retract(task_id="retract", pipeline=pipeline.name)
    return dag


build(retract=retract)
