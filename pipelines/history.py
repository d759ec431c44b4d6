"""Which earlier partitions a partition depends on, whether they are settled, and what became stale when one changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from pipelines.errors import DataError, names
from pipelines.features.names import looks_back
from pipelines.ledger import Ledger, Row
from pipelines.ledger.glances import Spans
from pipelines.partitions import Partition, partition_at, partitions_between
from pipelines.settings.features import window_seconds
from pipelines.settings.pipeline import Pipeline

if TYPE_CHECKING:
    from pipelines.context import Context

_DERIVED = ("clean", "duplicates", "features")
_SETTLED = ("clean", "refused", "absent")


def feature_partitions(pipeline: Pipeline, partition: Partition) -> list[str]:
    """Keys of the partitions whose clean rows feed this partition's features, oldest first, itself last."""
    return _keys(pipeline, _feature_start(pipeline, partition), partition)


def history_partitions(pipeline: Pipeline, partition: Partition) -> list[str]:
    """Keys of the earlier partitions that this one depends on, oldest first: for duplicates and for features.

    Nothing lies before the pipeline's first partition.
    """
    by_key = partition.shift(-pipeline.deduplicate.lookback_partitions)
    first = min(by_key, _feature_start(pipeline, partition), key=lambda item: item.start)
    return _keys(pipeline, first, partition)[:-1]


def unsettled_history(context: Context) -> list[str]:
    """Keys of the earlier partitions within the look-back that are not accepted, refused or absent as they are now.

    One whose corrected file was read, but not yet judged and deduplicated, is on its way and not settled either:
    otherwise days of one backfill would read what their neighbours are about to replace.
    """
    wanted = history_partitions(context.pipeline, context.partition)
    read = {row["partition"]: row["published_at"] for row in context.ledger.publications(context.name, "raw", wanted)}
    settled = {
        row["partition"]
        for row in context.ledger.accounting(context.name)
        if row["state"] in _SETTLED and read.get(row["partition"], row["updated_at"]) <= row["updated_at"]
    }
    return [key for key in wanted if key not in settled]


def require_history(context: Context) -> None:
    """Raises DataError E-HISTORY-MISSING unless every earlier partition within the look-back is settled."""
    missing = unsettled_history(context)
    if not missing:
        return
    raise DataError(
        "E-HISTORY-MISSING",
        context.where,
        f"all earlier partitions within the look-back must be accepted, refused or absent, but {len(missing)} never "
        f"ran or did not finish: {names(missing)}",
        f"Run: nightshift run {context.name} --from {missing[0]} --to {missing[-1]}",
    )


def stale_partitions(ledger: Ledger, spans: Spans) -> dict[str, set[str]]:
    """By pipeline the partitions within its span that were made from content which has been replaced since.

    Every publication records what it read, `facts["inputs"] = {table: {partition: content digest or null}}`; here
    that is compared with what the ledger holds now. Reads the ledger only.
    """
    made = [row for row in ledger.published_within(spans, _DERIVED, facts=True) if _inputs(row)]
    current = _current_digests(ledger, made)
    stale: dict[str, set[str]] = {}
    for row in made:
        inputs = [(table, key, digest) for table, read in _inputs(row).items() for key, digest in read.items()]
        if any(current.get((row["pipeline"], table, key)) != digest for table, key, digest in inputs):
            stale.setdefault(row["pipeline"], set()).add(str(row["partition"]))
    return stale


def _current_digests(ledger: Ledger, made: Sequence[Row]) -> dict[tuple[str, str, str], str]:
    """Content digest by pipeline, table and partition, of everything between the first and the last that was read."""
    read: dict[str, set[str]] = {}
    for row in made:
        read.setdefault(row["pipeline"], set()).update(key for keys in _inputs(row).values() for key in keys)
    spans = {pipeline: (min(keys), max(keys)) for pipeline, keys in read.items() if keys}
    rows = ledger.published_within(spans, sorted({table for row in made for table in _inputs(row)}))
    return {(row["pipeline"], row["table_name"], row["partition"]): row["content_digest"] for row in rows}


def _inputs(row: Row) -> dict[str, Mapping[str, str | None]]:
    """What a publication was made from: content digest by table and partition."""
    found = row["facts"].get("inputs")
    tables = found.items() if isinstance(found, Mapping) else ()
    return {table: keys for table, keys in tables if isinstance(keys, Mapping)}


def _feature_start(pipeline: Pipeline, partition: Partition) -> Partition:
    if not looks_back(pipeline):
        return partition
    lookback = timedelta(seconds=window_seconds(pipeline.features.lookback))
    return partition_at(partition.start - lookback, pipeline.partition, pipeline.timezone)


def _keys(pipeline: Pipeline, first: Partition, last: Partition) -> list[str]:
    """Keys from `first`, but not before the pipeline starts, to `last`."""
    begin = max(first, pipeline.first_partition(), key=lambda item: item.start)
    return [item.key for item in partitions_between(begin, last)] or [last.key]
