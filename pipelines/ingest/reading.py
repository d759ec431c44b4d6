"""One source of one partition, read completely to scratch and counted twice, before anything is published."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.context import Context
from pipelines.errors import ConfigError, DataError, quote
from pipelines.failpoints import reach
from pipelines.ingest.acquire import Delivery, changed, delivered
from pipelines.ingest.content import (
    ContentDigest,
    Fingerprint,
    check_stated_digest,
    check_stated_rows,
    fingerprint,
    plain_blocks,
    utf8_blocks,
)
from pipelines.ingest.csv_source import CsvRecords
from pipelines.ingest.dealing import Dealer
from pipelines.ingest.images import ImageReader
from pipelines.ingest.jsonl_source import JsonRecords
from pipelines.ingest.records import Chunk, Tally
from pipelines.ingest.rules import Rules
from pipelines.ingest.spool import Membership, Slicer, Spool, Spooled
from pipelines.settings.dated_path import has_partition
from pipelines.settings.dealt import dealt_over
from pipelines.settings.source import FileSource, SqlSource


@dataclass(frozen=True)
class Feed:
    """What is read and where it goes: the rows themselves, a dimension, or labels."""

    table: str
    stage: str
    source: FileSource | SqlSource
    required: frozenset[str] = frozenset()
    event_time: str | None = None


@dataclass(frozen=True)
class Reading:
    """A source as it was found. Without `spooled` its content is the one that was published before."""

    source: str
    sha256: str
    size: int
    spooled: Spooled | None = None


IsKnown = Callable[[str], bool]
"""Whether this content (sha256) is what is published already."""


def read_feed(context: Context, feed: Feed, folder: Path, is_known: IsKnown) -> Reading | None:
    """Reads the feed's part of this partition to `folder`; None when there is nothing for it.

    Raises:
        DataError: the file as a whole is refused, or the counts do not agree (E-IN-RECORDS).
        StorageError: it could not be read, or changed meanwhile.
    """
    folder.mkdir(parents=True)
    if isinstance(feed.source, SqlSource):
        return _read_sql(context, feed, feed.source, folder)
    with delivered(feed.source, context, folder) as delivery:
        if delivery is None:
            return None
        if feed.source.format == "parquet":
            return _read_parquet(context, feed, feed.source, delivery, folder)
        return _read_text(context, feed, feed.source, delivery, folder, is_known)


def _read_text(
    context: Context, feed: Feed, source: FileSource, delivery: Delivery, folder: Path, is_known: IsKnown
) -> Reading | None:
    where = context.where
    before = fingerprint(delivery, source, where)
    reach("ingest.after_claim")
    # A file that names images says nothing of their content.
    is_all = not source.time_column and not source.dealt and not source.has_images
    if is_all and is_known(before.sha256):
        return Reading(delivery.source, before.sha256, before.size)
    parser = CsvRecords if source.format == "csv" else JsonRecords
    records = parser(source, delivery.source, where)
    digest = ContentDigest()
    blocks = utf8_blocks(digest.watch(plain_blocks(delivery, source, where)), source.encoding)
    spool = _spool(context, feed, folder)
    _fill(spool, records.chunks(blocks), records.tally, _rules(context, feed), where)
    if digest.hexdigest() != before.sha256:
        raise changed(where, delivery.source)
    delivery.check_unchanged(where)
    _check_lines(records.tally, before, delivery.source, where)
    check_stated_rows(delivery, records.tally.records, where)
    spooled = spool.close(before.sha256 if is_all else None)
    return _checked(spooled, records.tally, delivery.source, before.size, source, where)


def _read_parquet(context: Context, feed: Feed, source: FileSource, delivery: Delivery, folder: Path) -> Reading | None:
    from pipelines.ingest.parquet_source import ParquetRecords, count_rows

    where = context.where
    check_stated_digest(delivery, where)
    reach("ingest.after_claim")
    records = ParquetRecords(source, delivery, where)
    spool = _spool(context, feed, folder)
    _fill(spool, records.chunks(), records.tally, _rules(context, feed), where)
    counted = count_rows(str(delivery.path))
    delivery.check_unchanged(where)
    if counted != records.tally.records:
        raise unbalanced(
            where, delivery.source, f"{records.tally.records} rows were read, another reader counts {counted}"
        )
    check_stated_rows(delivery, records.tally.records, where)
    return _checked(spool.close(), records.tally, delivery.source, delivery.size, source, where)


def _read_sql(context: Context, feed: Feed, source: SqlSource, folder: Path) -> Reading | None:
    from pipelines.ingest.canonical import sorted_spool
    from pipelines.ingest.sql_source import SqlRecords

    reach("ingest.after_claim")
    records = SqlRecords(source, context)
    spool = _spool(context, feed, folder)
    rules = _rules(context, feed, is_sliced=records.is_sliced)
    _fill(spool, records.chunks(), records.tally, rules, context.where)
    if not records.tally.records:
        return None
    spooled = sorted_spool(spool.close(), context, folder / "sorted")
    size = spooled.rows.stat().st_size + spooled.rejects.stat().st_size
    return _checked(spooled, records.tally, records.name, size, source, context.where)


def _fill(spool: Spool, chunks: Iterator[Chunk], tally: Tally, rules: Rules, where: str) -> None:
    most = rules.source.limits.max_records
    for chunk in chunks:
        if tally.records > most:
            raise DataError("E-IN-LIMIT", where, f"at most {most:,} records are read, the source has more")
        typed, reasons = rules.apply(chunk)
        spool.add(chunk, typed, reasons)
        reach("ingest.mid_copy")
    if rules.images:
        rules.images.check()


def _spool(context: Context, feed: Feed, folder: Path) -> Spool:
    source = feed.source
    time_column = source.time_column if isinstance(source, FileSource) else None
    slicer: Membership | None = None
    if isinstance(source, FileSource) and source.dealt:
        slicer = Dealer(source.columns, context.pipeline.key, dealt_over(context.pipeline), context.key)
    if time_column:
        column = source.columns[time_column]
        if column.type not in ("timestamp", "date"):
            raise ConfigError("E-CONFIG-TIME", context.where, f"'time_column' must be a timestamp, got '{column.type}'")
        slicer = Slicer(column, time_column, context.partition, context.where)
    is_digested = isinstance(source, SqlSource) or source.format == "parquet" or slicer is not None or source.has_images
    return Spool(folder / "spool", source.columns, slicer, is_digested)


def _rules(context: Context, feed: Feed, is_sliced: bool = False) -> Rules:
    """A source of one partition must hold that partition's events; a snapshot may hold any."""
    source = feed.source
    if isinstance(source, FileSource):
        is_sliced = has_partition(source.path) or source.time_column is not None
    required = {name for name, column in source.columns.items() if column.required} | feed.required
    if isinstance(source, FileSource) and source.time_column:
        required.add(source.time_column)
    time_column = feed.event_time if is_sliced else None
    if time_column:
        required.add(time_column)
    slicing = source.time_column if isinstance(source, FileSource) else None
    # The slicer has taken the right rows already: a row of another partition is not wrong, it is not read here.
    outside = None if slicing == time_column else time_column
    return Rules(source, frozenset(required), outside, context.partition, ImageReader.of(source, context))


def _checked(
    spooled: Spooled, tally: Tally, name: str, size: int, source: FileSource | SqlSource, where: str
) -> Reading | None:
    is_whole = not (isinstance(source, FileSource) and (source.time_column or source.dealt))
    if is_whole and spooled.read != tally.records:
        raise unbalanced(where, name, f"{tally.records} records were read, {spooled.read} are accounted for")
    return Reading(name, spooled.sha256, size, spooled) if spooled.read else None


def _check_lines(tally: Tally, before: Fingerprint, name: str, where: str) -> None:
    """The lines of all records, blank lines and header must be all lines that a plain count finds."""
    if tally.physical_lines != before.lines:
        raise unbalanced(where, name, f"{tally.physical_lines} lines were read, the file has {before.lines}")


def unbalanced(where: str, name: str, what: str) -> DataError:
    return DataError(
        "E-IN-RECORDS", where, f"{quote(name)}: {what}", "Nothing was published. This is a defect: report it."
    )
