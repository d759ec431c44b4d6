"""Which earlier partitions a partition depends on, whether they are settled, and what became stale when one changed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from pipelines.errors import DataError, names
from pipelines.features.names import looks_back
from pipelines.ledger import Ledger
from pipelines.ledger.glances import Spans
from pipelines.partitions import Partition, partition_at, partitions_between
from pipelines.settings.features import window_seconds
from pipelines.settings.pipeline import Pipeline

if TYPE_CHECKING:
    from pipelines.context import Context

_DERIVED = ("clean", "duplicates", "features")
_SETTLED = ("clean", "refused", "absent")
_MOST_KEPT = 4096


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
    rows = ledger.published_within(spans, _DERIVED, facts=True)
    made = [(row["pipeline"], row["partition"], inputs) for row in rows if (inputs := _inputs(row["facts"]))]
    current = _current_digests(ledger, made)
    stale: dict[str, set[str]] = {}
    for pipeline, partition, inputs in made:
        if any(current.get((pipeline, table, key)) != digest for table, key, digest in inputs):
            stale.setdefault(pipeline, set()).add(partition)
    return stale


_Input = tuple[str, str, str | None]  # table, partition, content digest or None


def _current_digests(
    ledger: Ledger, made: Sequence[tuple[str, str, tuple[_Input, ...]]]
) -> dict[tuple[str, str, str], str]:
    """Content digest by pipeline, table and partition, of everything between the first and the last that was read."""
    read: dict[str, set[str]] = {}
    for pipeline, _, inputs in made:
        read.setdefault(pipeline, set()).update(key for _, key, _ in inputs)
    spans = {pipeline: (min(keys), max(keys)) for pipeline, keys in read.items()}
    rows = ledger.published_within(spans, sorted({table for *_, inputs in made for table, *_ in inputs}))
    return {(row["pipeline"], row["table_name"], row["partition"]): row["content_digest"] for row in rows}


@lru_cache(maxsize=_MOST_KEPT)
def _inputs(facts: str) -> tuple[_Input, ...]:
    """What a publication was made from, by the JSON of its facts; kept, since pages ask for the same nights."""
    found = json.loads(facts).get("inputs")
    tables = found.items() if isinstance(found, Mapping) else ()
    return tuple(
        (table, key, digest) for table, read in tables if isinstance(read, Mapping) for key, digest in read.items()
    )


def _feature_start(pipeline: Pipeline, partition: Partition) -> Partition:
    if not looks_back(pipeline):
        return partition
    lookback = timedelta(seconds=window_seconds(pipeline.features.lookback))
    return partition_at(partition.start - lookback, pipeline.partition, pipeline.timezone)


def _keys(pipeline: Pipeline, first: Partition, last: Partition) -> list[str]:
    """Keys from `first`, but not before the pipeline starts, to `last`."""
    begin = max(first, pipeline.first_partition(), key=lambda item: item.start)
    return [item.key for item in partitions_between(begin, last)] or [last.key]
