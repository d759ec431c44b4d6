"""Airflow DAGs `<name>__replay` and `<name>__rollback`: a version is rebuilt; an earlier champion is put back."""

from __future__ import annotations

from airflow.sdk import DAG, Param
from nightshift_dags import build
from nightshift_resources import task_arguments
from nightshift_tasks import Replay, Rollback

from pipelines.settings import Pipeline


def replay(pipeline: Pipeline) -> DAG | None:
    if not pipeline.training:
        return None
    with DAG(
        f"{pipeline.name}__replay",
        description=f"Rebuilds a version of {pipeline.name} from its record and says what differs; changes nothing",
        schedule=None,
        catchup=False,
        max_active_runs=1,
        tags=["nightshift", "replay", pipeline.name],
        default_args={"owner": pipeline.owner},
        params={
            "version": Param(None, type="integer", minimum=1, description="model version"),
            "inputs": Param(
                "recorded", type="string", enum=["recorded", "today"], description="table versions of then, or today's"
            ),
            "settings": Param(
                "recorded", type="string", enum=["recorded", "today"], description="settings of then, or today's"
            ),
        },
    ) as dag:
        # It does what `train` does, so it needs the same machine.
        Replay(task_id="replay", pipeline=pipeline.name, **task_arguments(pipeline, "train"))
    return dag


def rollback(pipeline: Pipeline) -> DAG | None:
    if not pipeline.training:
        return None
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


build(replay=replay, rollback=rollback)
