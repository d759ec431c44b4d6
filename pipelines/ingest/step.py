"""Ingest: reads the sources of one partition strictly and publishes rows and refused records, or nothing."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from pipelines.context import Context
from pipelines.errors import DataError, quote
from pipelines.failpoints import reach
from pipelines.ingest.columns import raw_schema, snapshot_schema
from pipelines.ingest.content import empty
from pipelines.ingest.reading import Feed, Reading, read_feed
from pipelines.ingest.spool import Spooled, spooled_rejects, spooled_rows
from pipelines.settings.dealt import dealt_over
from pipelines.settings.source import FileSource
from pipelines.storage.digests import combined
from pipelines.storage.tables import Snapshot

Summary = dict[str, Any]

INGEST_VERSION = 1
"""Raised when the same file would give other rows than before, so that it is read again."""


def ingest(context: Context) -> Summary:
    """Publishes `raw`, `quarantine` (stage ingest), and one table per dimension and label source.

    Everything is read to scratch first; `raw` is published last, so a run that dies on the way leaves the partition
    as it was. The same content again changes nothing. read = parsed + quarantined.

    Raises:
        DataError: a file as a whole is refused; nothing is published and the accounting of the partition says so.
        StorageError: a source could not be read; worth another try.
    """
    bases = {table: context.snapshot(table) for table in ("quarantine", *(feed.table for feed in _feeds(context)))}
    with context.scratch("ingest") as folder:
        try:
            readings = _read_all(context, folder)
        except DataError as error:
            _account(context, "refused", str(error))
            raise
        reach("ingest.after_stage")
        return _publish_all(context, readings, bases)


def _feeds(context: Context) -> list[Feed]:
    """The rows come last: when they are published, everything that belongs to them is."""
    pipeline = context.pipeline
    dimensions = [
        Feed(
            f"dimension_{name}",
            f"dimension_{name}",
            dimension.source,
            frozenset({*dimension.key, *filter(None, [dimension.valid_from])}),
        )
        for name, dimension in pipeline.dimensions.items()
    ]
    labels = [
        Feed(f"labels_{name}", f"labels_{name}", source.source) for name, source in pipeline.label_sources.items()
    ]
    return [*dimensions, *labels, Feed("raw", "ingest", pipeline.source, event_time=pipeline.event_time)]


def _read_all(context: Context, folder: Path) -> dict[str, tuple[Feed, Reading | None]]:
    readings: dict[str, tuple[Feed, Reading | None]] = {}
    for feed in _feeds(context):
        reading = read_feed(context, feed, folder / feed.table, partial(_is_known, context, feed))
        if reading is None and feed.source.missing == "fail":
            raise _missing(context, feed)
        readings[feed.table] = feed, reading
    return readings


def _missing(context: Context, feed: Feed) -> DataError:
    source = feed.source
    if not isinstance(source, FileSource) or source.time_column or source.dealt:
        return empty(context.where, feed.table, "the source has none for this partition")
    from pipelines.ingest.locate import location

    return DataError(
        "E-IN-MISSING",
        context.where,
        f"the file {quote(location(source.path, context))} of '{feed.table}' must exist, but does not",
        "Nothing was published. Deliver it; 'missing: skip' accepts partitions without file.",
        repeat="ingest",
    )


def _input_digest(context: Context, feed: Feed, sha256: str) -> str:
    """Of everything that decides which rows come out: settings, times of the partition, content."""
    partition = context.partition
    settings = [feed.source.digest(), feed.event_time, sorted(feed.required), partition.start, partition.end]
    dealt = [context.pipeline.key, *over] if feed.table == "raw" and (over := dealt_over(context.pipeline)) else []
    return combined("ingest", INGEST_VERSION, *settings, *dealt, sha256)


def _is_known(context: Context, feed: Feed, sha256: str) -> bool:
    return context.published(feed.table, _input_digest(context, feed, sha256)) is not None


def _publish_all(
    context: Context, readings: dict[str, tuple[Feed, Reading | None]], bases: dict[str, Snapshot]
) -> Summary:
    summaries = {table: _publish(context, feed, reading, bases) for table, (feed, reading) in readings.items()}
    raw = summaries.pop("raw")
    if raw["state"] == "skipped":
        _account(context, "absent", raw["reason"])
    return {**raw, "dimensions": _named("dimension_", summaries), "labels": _named("labels_", summaries)}


def _named(prefix: str, summaries: dict[str, Summary]) -> dict[str, Summary]:
    return {table.removeprefix(prefix): made for table, made in summaries.items() if table.startswith(prefix)}


def _publish(context: Context, feed: Feed, reading: Reading | None, bases: dict[str, Snapshot]) -> Summary:
    """Refused records first, then the rows: once the rows are there, nothing is missing."""
    if reading is None:
        return _nothing(context, feed)
    input_digest = _input_digest(context, feed, reading.sha256)
    known = context.published(feed.table, input_digest)
    if known is not None:
        return _summary("unchanged", dict(known["facts"]), known["generation"])
    spooled = reading.spooled
    if spooled is None:
        raise RuntimeError(f"{feed.table} was read as unchanged, but its publication is gone")
    facts = {
        "read": spooled.read,
        "parsed": spooled.parsed,
        "quarantined": spooled.quarantined,
        "source": reading.source,
        "sha256": reading.sha256,
    }
    _publish_rejects(context, feed, reading.source, spooled, input_digest, facts, bases["quarantine"])
    columns = feed.source.columns
    schema = raw_schema(columns) if feed.table == "raw" else snapshot_schema(columns)
    rows = spooled_rows(spooled, schema, reading.source, context.partition)
    published = context.publish(feed.table, bases[feed.table], rows, input_digest, facts)
    _check_published(context, feed, spooled, published["row_count"])
    context.ledger.record_input(context.name, context.key, reading.source, reading.sha256, reading.size, spooled.read)
    return _summary("done", facts, published["generation"])


def _nothing(context: Context, feed: Feed) -> Summary:
    """A file that is gone takes nothing back: what it held stays published."""
    before = context.ledger.publication(context.name, feed.table, context.key)
    if before is not None:
        return _summary("unchanged", dict(before["facts"]), before["generation"])
    return {"state": "skipped", "reason": "the source has nothing for this partition", "read": 0}


def _publish_rejects(
    context: Context,
    feed: Feed,
    source: str,
    spooled: Spooled,
    input_digest: str,
    facts: dict[str, Any],
    base: Snapshot,
) -> None:
    """The stage of the rows is always published, so that it never holds records of an older generation."""
    name = f"quarantine/{feed.stage}"
    if context.published(name, input_digest) is not None:
        return
    is_new = context.ledger.publication(context.name, name, context.key) is None
    if feed.table != "raw" and is_new and not spooled.quarantined:
        return
    rejects = spooled_rejects(spooled, source, context.partition, feed.stage)
    context.publish("quarantine", base, rejects, input_digest, facts, stage=feed.stage)


def _check_published(context: Context, feed: Feed, spooled: Spooled, count: int) -> None:
    if count != spooled.parsed:
        raise DataError(
            "E-IN-RECORDS",
            f"{context.where} {feed.table}",
            f"{spooled.parsed} rows were parsed, {count} were published",
            "This is a defect: report it.",
        )


def _summary(state: str, facts: dict[str, Any], generation: int) -> Summary:
    return {"state": state, **facts, "generation": generation}


def _account(context: Context, state: str, reason: str) -> None:
    context.ledger.set_accounting(
        context.name,
        context.key,
        state=state,
        read=0,
        clean=0,
        quarantined=0,
        duplicate=0,
        reason=reason,
        run_id=context.run_id,
    )
