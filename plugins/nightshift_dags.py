"""Which DAGs a DAG file builds, and on which timetable: everything comes from the configuration folder."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from airflow.sdk import DAG, CronPartitionTimetable, get_parsing_context

from pipelines.home import Home
from pipelines.partitions import KEY_FORMAT, partition_at
from pipelines.settings import Pipeline, pipeline_names
from pipelines.settings.kept import kept_pipeline

# Without a schedule of its own a pipeline still has ticks, so that the backfill form can count its partitions.
_CRON = {"hour": "0 * * * *", "day": "0 0 * * *", "week": "0 0 * * 1", "month": "0 0 1 * *"}


def build(**families: Callable[[Pipeline], DAG | None]) -> None:
    """Builds `<name>__<family>` of every pipeline by the family's function, which leaves out (None) what has no use.

    Each pipeline is read once for all families of a DAG file; inside a task only that task's pipeline and family are.
    A pipeline whose settings are broken is left out, so that it takes no other down; dags/settings_errors.py turns it
    into a visible import error.
    """
    wanted = get_parsing_context().dag_id
    config = Home.resolve().config
    for name in pipeline_names(config):
        asked = [family for family in families if wanted in (None, f"{name}__{family}")]
        if not asked:
            continue
        try:
            pipeline = kept_pipeline(name, config)
        except Exception:  # dags/settings_errors.py reports it
            continue
        for family in asked:
            families[family](pipeline)


def settings_errors() -> dict[str, str]:
    """What is wrong, per pipeline whose settings cannot be loaded."""
    config = Home.resolve().config
    found = {}
    for name in pipeline_names(config):
        try:
            kept_pipeline(name, config)
        except Exception as error:
            found[name] = str(error)
    return found


def daily_timetable(pipeline: Pipeline) -> CronPartitionTimetable:
    """Runs of one partition each: the tick after a partition ends starts the run for that partition."""
    given = pipeline.schedule if "schedule" in pipeline.model_fields_set or pipeline.partition == "day" else None
    return CronPartitionTimetable(
        given or _CRON[pipeline.partition],
        timezone=pipeline.timezone,
        key_format=KEY_FORMAT[pipeline.partition],
        run_offset=-1,
    )


def first_tick_from(pipeline: Pipeline) -> datetime:
    """No scheduled run before the first partition has ended."""
    return pipeline.first_partition().end


def last_tick_until(pipeline: Pipeline) -> datetime | None:
    """The end of the partition after the last one: the last tick that has a partition to work on lies before it."""
    if pipeline.end is None:
        return None
    first = pipeline.first_partition()
    noon = datetime(pipeline.end.year, pipeline.end.month, pipeline.end.day, 12, tzinfo=first.start.tzinfo)
    return partition_at(noon, pipeline.partition, pipeline.timezone).shift(1).end
