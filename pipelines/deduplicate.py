"""The step `deduplicate`: a row that is there already leaves, and is recorded with the row that stays.

Rows are the same by the business key, or, without a key, by all declared columns. Of each group one row survives:
the last by `latest_by`, then the one of the earlier partition, then the lowest row id. Losers are found on the
key columns alone; whole rows are read once, to be written.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from pipelines.context import Context
from pipelines.engine import Engine
from pipelines.errors import DataError
from pipelines.failpoints import reach
from pipelines.ingest.columns import DUPLICATES, QUARANTINE, raw_schema, snapshot_schema
from pipelines.ledger import Row
from pipelines.settings.pipeline import Pipeline
from pipelines.storage.digests import combined
from pipelines.storage.tables import Snapshot

Summary = dict[str, Any]
_VERSION = "deduplicate/1"
_STAGES = ("ingest", "validate")


@dataclass(frozen=True)
class Counts:
    """The row accounting of one partition; `key_conflicts` are keys whose rows differ and have no order."""

    read: int
    clean: int
    quarantined: int
    duplicate: int
    exact: int
    by_key: int
    corrections: int
    key_conflicts: int


def deduplicate(context: Context) -> Summary:
    """Publishes `duplicates` and then `clean` for this partition, and closes its row accounting.

    A row that is newer than the clean one of an earlier partition stays here as a correction; the earlier
    partition is not rewritten.

    Raises:
        DataError: E-DEDUP-INPUT when this data was not validated or was refused, E-DEDUP-EMPTY when no row is left
            although none was sent before, E-ACC-BALANCE when the counts do not add up.
    """
    if _is_absent(context):
        return {"state": "skipped", "reason": "the partition is absent"}
    raw = _validated_input(context)
    earlier = context.content_digests("clean", _lookback(context))
    bases = {table: context.snapshot(table) for table in ("raw", "quarantine", "duplicates", "clean")}
    digest = _input_digest(context, raw, list(earlier.values()))
    duplicates, clean = context.published("duplicates", digest), context.published("clean", digest)
    with context.engine("deduplicate") as engine:
        if duplicates and clean:
            _close(context, engine, Counts(**clean["facts"]))
            return {"state": "unchanged", **clean["facts"]}
        rows = _accepted_rows(engine, context, bases)
        judged = engine.materialize(_judge(engine, context, rows, bases["clean"], list(earlier)))
        losers = engine.materialize(judged.filter(judged.rank > 0))
        left = rows.anti_join(losers, "row_id")
        counts = _counts(context, engine, raw, judged, engine.count(left))
        _check_balance(context, counts)
        if not duplicates:
            facts = {**asdict(counts), "inputs": {"clean": earlier}}  # by which a later change makes this stale
            context.publish("duplicates", bases["duplicates"], _stream(engine, losers, DUPLICATES), digest, facts)
        reach("dedup.mid")
        schema = snapshot_schema(context.pipeline.source.columns)
        context.publish("clean", bases["clean"], _stream(engine, left, schema), digest, asdict(counts))
        _close(context, engine, counts)
    return {"state": "done", **asdict(counts)}


def _is_absent(context: Context) -> bool:
    """Whether ingest found nothing, and nothing was published since."""
    found = next((row for row in context.ledger.accounting(context.name) if row["partition"] == context.key), None)
    raw = context.ledger.publication(context.name, "raw", context.key)
    return bool(found and found["state"] == "absent" and (raw is None or raw["published_at"] <= found["updated_at"]))


def _validated_input(context: Context) -> Row:
    """The publication of `raw`, after `validate` accepted just that content."""
    raw = context.ledger.publication(context.name, "raw", context.key)
    validated = context.ledger.publication(context.name, "quarantine/validate", context.key)
    if raw is None or validated is None or validated["facts"].get("raw_digest") != raw["content_digest"]:
        what, fix = "the rows that were read last must be validated first", "Run 'validate' for this partition."
        raise DataError("E-DEDUP-INPUT", context.where, what, fix)
    if validated["facts"].get("refused"):
        what, fix = "the partition was refused by 'validate'", "Correct the file and run the partition again."
        raise DataError("E-DEDUP-INPUT", context.where, what, fix)
    return raw


def _lookback(context: Context) -> list[str]:
    return [
        context.partition.shift(-steps).key for steps in range(1, context.pipeline.deduplicate.lookback_partitions + 1)
    ]


def _input_digest(context: Context, raw: Row, earlier: list[str]) -> str:
    pipeline = context.pipeline
    validated = context.content_digests("quarantine/validate", [context.key])
    settings = json.dumps([pipeline.key, [(name, column.type) for name, column in pipeline.source.columns.items()]])
    return combined(
        _VERSION, raw["content_digest"], *validated.values(), pipeline.deduplicate.digest(), settings, *earlier
    )


def _accepted_rows(engine: Engine, context: Context, bases: dict[str, Snapshot]) -> ir.Table:
    """Rows of `raw` that `validate` did not quarantine; one row per record, not yet read."""
    raw = engine.scan(bases["raw"], [context.key], raw_schema(context.pipeline.source.columns))
    refused = engine.scan(bases["quarantine"], [context.key], QUARANTINE)
    return raw.anti_join(refused.filter(refused.stage == "validate"), "row_id")


def _judge(engine: Engine, context: Context, rows: ir.Table, clean: Snapshot, earlier: list[str]) -> ir.Table:
    """Rows of this partition that share their identity with another row, ranked within it.

    Columns: row_id, partition, rank (0 survives), kept_row_id, kept_partition, reason, is_conflict, is_correction,
    identity. Rows that nothing else resembles are not in it.
    """
    pipeline = context.pipeline
    before = engine.scan(clean, earlier, snapshot_schema(pipeline.source.columns)) if earlier else None
    keys = list(pipeline.key) if pipeline.deduplicate.by_key else []
    suspects = _same_key(engine, pipeline, keys, rows, before) if keys else None
    if suspects is None:
        suspects = _same_content(engine, pipeline, rows, before)
    return _ranked(pipeline, suspects, context.key)


def _same_key(engine: Engine, pipeline: Pipeline, keys: list[str], rows: ir.Table, before: ir.Table | None) -> ir.Table:
    """Rows whose key occurs twice, here or earlier. A row with a null in its key is only compared as a whole."""
    counted = rows.select(*keys).group_by(keys).aggregate(copies=ibis._.count())
    shared = counted.filter(counted.copies > 1).select(*keys)
    if before is not None:
        shared = shared.union(before.select(*keys).semi_join(rows, keys), distinct=True)
    shared = engine.materialize(shared)
    found = [_narrow(pipeline, table.semi_join(shared, keys), keys) for table in (rows, before) if table is not None]
    nullable = [key for key in keys if not pipeline.source.columns[key].required]
    if nullable:
        unnamed = [
            table.filter(ibis.or_(*[table[key].isnull() for key in nullable]))
            for table in (rows, before)
            if table is not None
        ]
        found += [_narrow(pipeline, table, []) for table in unnamed]
    return ibis.union(*found) if len(found) > 1 else found[0]


def _same_content(engine: Engine, pipeline: Pipeline, rows: ir.Table, before: ir.Table | None) -> ir.Table:
    """Rows whose declared columns are all equal to those of another row, here or earlier."""
    found = [_narrow(pipeline, table, []) for table in (rows, before) if table is not None]
    narrow = engine.materialize(ibis.union(*found) if len(found) > 1 else found[0])
    counted = narrow.group_by("identity").aggregate(copies=ibis._.count())
    return narrow.semi_join(counted.filter(counted.copies > 1), "identity")


def _narrow(pipeline: Pipeline, table: ir.Table, keys: list[str]) -> ir.Table:
    """row_id, partition, identity, content and the columns that decide who is later."""
    content = _text(table, list(pipeline.source.columns)).hexdigest("sha256").left(32)
    return table.select(
        "row_id",
        "partition",
        identity=(ibis.literal("key ") + _text(table, keys)) if keys else content,
        content=content,
        **{f"latest_{index}": table[column] for index, column in enumerate(pipeline.deduplicate.latest_by)},
    )


def _text(table: ir.Table, columns: list[str]) -> ir.StringValue:
    """All values in one text, equal exactly when the values are equal (nulls too): '3:abc' per value, '-' for null.

    Engines differ in how they write numbers, so the text is compared within one run and never stored.
    """
    parts = []
    for column in columns:
        value = table[column].cast("string")
        parts.append((value.length().cast("string") + ":" + value).fill_null("-"))
    return ibis.literal("").join(parts)


def _ranked(pipeline: Pipeline, suspects: ir.Table, partition: str) -> ir.Table:
    latest = [f"latest_{index}" for index in range(len(pipeline.deduplicate.latest_by))]
    order = [ibis.desc(suspects[name], nulls_first=False) for name in latest]
    window = ibis.window(group_by="identity", order_by=[*order, suspects.partition.asc(), suspects.row_id.asc()])
    everything = ibis.window(group_by="identity")
    first = {name: suspects[name].first(include_null=True).over(window) for name in latest}
    same_time = (
        ibis.and_(*[suspects[name].identical_to(first[name]) for name in latest]) if latest else ibis.literal(True)
    )
    kept = suspects.content.first().over(window)
    ranked = suspects.select(
        "row_id",
        "partition",
        "identity",
        rank=ibis.row_number().over(window),
        kept_row_id=suspects.row_id.first().over(window),
        kept_partition=suspects.partition.first().over(window),
        reason=ibis.ifelse(suspects.content == kept, "exact", "key"),
        is_conflict=same_time & (suspects.content != kept),
        is_correction=(ibis.row_number().over(window) == 0) & (suspects.partition.min().over(everything) < partition),
    )
    return ranked.filter(ranked.partition == partition)


def _counts(context: Context, engine: Engine, raw: Row, judged: ir.Table, clean: int) -> Counts:
    """Read from the ledger, the others counted: they need not agree before `_check_balance` says so."""
    losers = judged.filter(judged.rank > 0)
    found = engine.table(
        losers.aggregate(
            exact=losers.reason.count(where=losers.reason == "exact"),
            by_key=losers.reason.count(where=losers.reason == "key"),
            conflicts=losers.identity.nunique(where=losers.is_conflict),
        )
    ).to_pylist()[0]
    quarantined = {stage: _row_count(context, f"quarantine/{stage}") for stage in _STAGES}
    return Counts(
        read=int(raw["facts"].get("read", raw["row_count"] + quarantined["ingest"])),
        clean=clean,
        quarantined=sum(quarantined.values()),
        duplicate=found["exact"] + found["by_key"],
        exact=found["exact"],
        by_key=found["by_key"],
        corrections=engine.count(judged.filter(judged.is_correction)),
        key_conflicts=found["conflicts"],
    )


def _row_count(context: Context, table: str) -> int:
    found = context.ledger.publication(context.name, table, context.key)
    return int(found["row_count"]) if found else 0


def _check_balance(context: Context, counts: Counts) -> None:
    if counts.read != counts.clean + counts.quarantined + counts.duplicate:
        raise _unbalanced(context, counts.read, counts.clean, counts.quarantined, counts.duplicate, "were found")
    if not counts.clean and not counts.duplicate:
        raise DataError(
            "E-DEDUP-EMPTY",
            context.where,
            f"at least one row must be clean or sent before, got none of {counts.read} rows read",
            "See the quarantine of this partition, correct the file and run it again.",
        )


def _close(context: Context, engine: Engine, counts: Counts) -> None:
    """Counts what was really published, from the files, and writes the row accounting.

    Raises:
        DataError: E-ACC-BALANCE when a row is missing, stands in two places, or was not read.
    """
    tables = {table: context.snapshot(table) for table in ("clean", "quarantine", "duplicates")}
    clean, quarantined, duplicate = (_file_rows(snapshot, context.key) for snapshot in tables.values())
    if counts.read != clean + quarantined + duplicate:
        raise _unbalanced(context, counts.read, clean, quarantined, duplicate, "are in the published files")
    everywhere = ibis.union(*[_row_ids(engine, snapshot, context.key) for snapshot in tables.values()])
    distinct = int(engine.table(everywhere.aggregate(ids=everywhere.row_id.nunique()))["ids"][0].as_py())
    if distinct != counts.read:
        raise DataError(
            "E-ACC-BALANCE",
            context.where,
            f"each row must be in one place, got {distinct} distinct row ids for {counts.read} rows read",
            "Keep the tables as they are and report it; running the partition again from 'ingest' rebuilds it.",
        )
    context.ledger.set_accounting(
        context.name,
        context.key,
        state="clean",
        read=counts.read,
        clean=clean,
        quarantined=quarantined,
        duplicate=duplicate,
        reason=None,
        run_id=context.run_id,
    )


def _row_ids(engine: Engine, snapshot: Snapshot, partition: str) -> ir.Table:
    """Ids of the source's rows; quarantine also holds records of dimensions and labels."""
    if snapshot.name != "quarantine":
        return engine.scan(snapshot, [partition], pa.schema([("row_id", pa.string())]))
    rows = engine.scan(snapshot, [partition], QUARANTINE)
    return rows.filter(rows.stage.isin(list(_STAGES))).select("row_id")


def _file_rows(snapshot: Snapshot, partition: str) -> int:
    """Rows in the footers of the published files, read by another reader than the engine."""
    stages = {"stage": _STAGES} if snapshot.name == "quarantine" else {}
    return snapshot.count([partition], **stages)


def _stream(engine: Engine, table: ir.Table, schema: pa.Schema) -> pa.RecordBatchReader:
    return engine.reader(table.select(*schema.names), ["row_id"])


def _unbalanced(context: Context, read: int, clean: int, quarantined: int, duplicate: int, where: str) -> DataError:
    return DataError(
        "E-ACC-BALANCE",
        context.where,
        f"the {read} rows read must be clean, quarantined or duplicate, but {clean} + {quarantined} + {duplicate} "
        f"= {clean + quarantined + duplicate} {where}",
        "Run the partition again from 'ingest'; if it persists, keep the tables and report it.",
    )
