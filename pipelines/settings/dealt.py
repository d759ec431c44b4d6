"""Rows without time that are dealt out over partitions: what they need, and over which."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from pipelines.partitions import partition_at, partitions_between
from pipelines.settings.source import FileSource, Source

if TYPE_CHECKING:
    from pipelines.settings.pipeline import Pipeline


def is_dealt(source: Source) -> bool:
    return isinstance(source, FileSource) and source.dealt


def dealt_problems(pipeline: Pipeline) -> list[str]:
    """Rows are dealt over a known number of partitions, by the pipeline's own key."""
    others: list[tuple[str, Source]] = [
        *((f"dimensions.{name}.source", dimension.source) for name, dimension in pipeline.dimensions.items()),
        *((f"label_sources.{name}.source", labels.source) for name, labels in pipeline.label_sources.items()),
    ]
    what = "must be left out: only the rows of 'source' are dealt out"
    found = [f"'{where}.dealt' {what}" for where, source in others if is_dealt(source)]
    if not is_dealt(pipeline.source):
        return found
    if pipeline.end is None:
        found.append("'source.dealt' needs 'end', the last partition that gets rows")
    if pipeline.event_time:
        found.append(
            "'source.dealt' is for rows without time: slice the file by 'time_column', or leave 'event_time' out"
        )
    return found


def dealt_over(pipeline: Pipeline) -> list[str]:
    """Keys of the partitions over which the rows are dealt out; none for a source that is not dealt."""
    end = pipeline.end
    if end is None or not is_dealt(pipeline.source):
        return []
    moment = datetime(end.year, end.month, end.day, tzinfo=ZoneInfo(pipeline.timezone))
    last = partition_at(moment, pipeline.partition, pipeline.timezone)
    return [partition.key for partition in partitions_between(pipeline.first_partition(), last)]
