"""Airflow DAGs `<name>__daily`: one run per partition, from file to released scores and the drift decision."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, BaseOperator
from nightshift_dags import build, daily_timetable, first_tick_from, last_tick_until
from nightshift_notify import Notify, deadline, watched
from nightshift_resources import task_arguments
from nightshift_retrain import RequestRetrain
from nightshift_tasks import HISTORY_TIMEOUT_MINUTES, AwaitHistory, Score, StepOperator

from pipelines.settings import Pipeline


def daily(pipeline: Pipeline) -> DAG:
    with DAG(
        f"{pipeline.name}__daily",
        description=pipeline.description or f"One partition of {pipeline.name}, from source to release",
        schedule=daily_timetable(pipeline),
        start_date=first_tick_from(pipeline),
        end_date=last_tick_until(pipeline),
        catchup=pipeline.catchup and pipeline.schedule is not None,
        max_active_runs=4,
        tags=["nightshift", "daily", pipeline.name],
        default_args={"owner": pipeline.owner, **watched(pipeline)},
        deadline=deadline(pipeline),
    ) as dag:
        ingest, validate, deduplicate, build_features = (
            StepOperator(task_id=step, pipeline=pipeline.name, **task_arguments(pipeline, step))
            for step in ("ingest", "validate", "deduplicate", "build_features")
        )
        limit = pipeline.resources_of("await_history").time_limit_minutes or HISTORY_TIMEOUT_MINUTES
        await_history = AwaitHistory(
            task_id="await_history",
            pipeline=pipeline.name,
            timeout=timedelta(minutes=limit).total_seconds(),
            **task_arguments(pipeline, "await_history"),
        )
        ingest >> validate >> await_history >> deduplicate >> build_features
        last = _score_and_monitor(pipeline, build_features) if pipeline.training else [build_features]
        if pipeline.notify:
            # A teardown, which waits for all and is no part of what the run comes to.
            last >> Notify(pipeline=pipeline).as_teardown()
    return dag


def _score_and_monitor(pipeline: Pipeline, build_features: StepOperator) -> list[BaseOperator]:
    """The tasks behind `build_features`; returns those that nothing waits for."""
    score = Score.partial(
        task_id="score",
        pipeline=pipeline.name,
        step="score",
        map_index_template="shard {{ task.shard }}",
        **task_arguments(pipeline, "score"),
    ).expand(shard=list(range(pipeline.score.shards)))
    audit, release = (
        StepOperator(task_id=step, pipeline=pipeline.name, **task_arguments(pipeline, step))
        for step in ("audit", "release")
    )
    # Drift is watched whenever there are features: also without a champion, and when the audit held the scores back
    # (which is when a retrain is most likely wanted). Without features the step itself ends skipped.
    monitor = StepOperator(
        task_id="monitor",
        pipeline=pipeline.name,
        trigger_rule="all_done",
        **task_arguments(pipeline, "monitor"),
    )
    request_retrain = RequestRetrain(
        task_id="request_retrain", pipeline=pipeline.name, **task_arguments(pipeline, "request_retrain")
    )
    # A run's state is that of its last tasks: this one fails the run when the release failed and the rest went well.
    finish = EmptyOperator(task_id="finish", trigger_rule="none_failed")
    build_features >> score >> audit >> release >> monitor >> request_retrain >> finish
    build_features >> monitor
    release >> finish
    if pipeline.gate.shadow:
        # A leaf: nothing waits for it. After the monitor, whose trigger asks who the champion is; whatever became of
        # the release, since a shadow that can no longer be judged ends, too.
        shadow = StepOperator(
            task_id="shadow",
            pipeline=pipeline.name,
            trigger_rule="all_done",
            **task_arguments(pipeline, "shadow"),
        )
        [release, monitor] >> shadow
        return [finish, shadow]
    return [finish]


build(daily=daily)
