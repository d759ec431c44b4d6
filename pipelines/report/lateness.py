"""Which nights should have come by the schedule and have not."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from pipelines.partitions import Partition, partition_at, partitions_between
from pipelines.settings.pipeline import Pipeline

PATIENCE = timedelta(hours=1)  # from the tick of the schedule until a night that has not even begun is called late
MOST_MISSING = 1000
# The ticks of a pipeline whose file names no schedule; the same as those of its DAG.
_CRON = {"hour": "0 * * * *", "week": "0 0 * * 1", "month": "0 0 1 * *"}


def newest_due(pipeline: Pipeline, now: datetime) -> Partition | None:
    """The newest partition whose run should have begun by `now`: the one that ended before the last tick.

    None where nothing is due: no schedule, or the first tick is still to come.
    """
    cron = pipeline.schedule
    if "schedule" not in pipeline.model_fields_set:
        cron = _CRON.get(pipeline.partition, cron)
    if cron is None:
        return None
    tick = _last_tick(cron, pipeline.timezone, (now - PATIENCE).replace(second=0, microsecond=0))
    due = partition_at(tick, pipeline.partition, pipeline.timezone).shift(-1)
    if pipeline.end is not None:
        noon = datetime(pipeline.end.year, pipeline.end.month, pipeline.end.day, 12, tzinfo=ZoneInfo(pipeline.timezone))
        due = min(due, partition_at(noon, pipeline.partition, pipeline.timezone))
    return due if due.start >= pipeline.first_partition().start else None


@lru_cache(maxsize=1000)
def _last_tick(cron: str, timezone: str, now: datetime) -> datetime:
    """Many pipelines share a schedule, and a page asks for all of them."""
    from croniter import croniter

    tick: datetime = croniter(cron, now.astimezone(ZoneInfo(timezone)), ret_type=datetime).get_prev()
    return tick


def missing(pipeline: Pipeline, known: Collection[str], now: datetime) -> list[str]:
    """Keys that are due and of which nothing is known, oldest first, none before the oldest known one; at most 1000.

    Empty for a pipeline that never ran: it has not begun, which is another thing.
    """
    due = newest_due(pipeline, now)
    if due is None or not known:
        return []
    found = []
    for partition in partitions_between(pipeline.parse(min(known)), due):
        if partition.key not in known:
            found.append(partition.key)
        if len(found) == MOST_MISSING:
            break
    return found
