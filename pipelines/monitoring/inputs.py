"""Which partitions a monitor run may look at, and the champion's reference from them. Never a later partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.context import Context
from pipelines.engine import Engine
from pipelines.ledger import Row
from pipelines.monitoring.reference import Reference, build_reference
from pipelines.monitoring.reference_file import parsed_reference, reference_bytes
from pipelines.monitoring.statistics import column_kinds, fixed_bins, profiles, row_counts, with_lone
from pipelines.storage.digests import combined
from pipelines.storage.tables import Snapshot


def accepted_until(context: Context) -> list[str]:
    """Accepted partitions up to the monitored one, oldest first."""
    rows = context.ledger.accounting(context.name)
    return [row["partition"] for row in rows if row["state"] == "clean" and row["partition"] <= context.key]


def reference_partitions(context: Context, model: Row) -> list[str]:
    """The last accepted partitions that ended before the champion's training set was taken, oldest first.

    Those that the model record names as training partitions, where it does.
    """
    trained = model["record"].get("training_partitions")
    training = context.pipeline.training
    excluded = set(training.exclude_partitions) if training else set()
    before = [key for key in accepted_until(context) if _end(context, key) <= model["as_of"] and key not in excluded]
    if isinstance(trained, list):
        before = [key for key in before if key in set(trained)]
    features = context.ledger.publications(context.name, "features", before)
    keys = [row["partition"] for row in features if row["row_count"] and row["partition"] != context.key]
    return keys[-context.pipeline.monitor.reference_partitions :]


def monitored_columns(context: Context, features: Snapshot, model: Row) -> dict[str, str]:
    """'number' or 'category' per feature of the champion that the features table holds; a text is a number: its length,
    and so is an image: 1 where there is one.

    Hardly any text occurs twice: as categories all of them would be new every day.
    """
    schema = features.schema()
    identity = {"row_id", "partition", *context.pipeline.key, context.pipeline.event_time}
    known = model["record"].get("features")
    wanted = list(known) if isinstance(known, list | dict) else [n for n in schema.names if n not in identity]
    own = [name for name, kind in known.items() if kind in ("text", "image")] if isinstance(known, dict) else []
    return column_kinds(schema, wanted) | {name: "number" for name in own if name in schema.names}


def measured_parts(features: Snapshot, kinds: Mapping[str, str]) -> dict[str, str]:
    """In words what of a column is watched where that is not its own values, see `monitored_columns`."""
    own = column_kinds(features.schema(), list(kinds))
    texts = {name: "the length of " for name, kind in kinds.items() if kind != own.get(name, kind)}
    return texts | {name: "the presence of " for name in kinds if name not in own}


def weekdays(context: Context, keys: Sequence[str]) -> dict[str, int]:
    """Weekday (Monday 0) of each partition in the pipeline's time zone; empty where partitions are not days."""
    if context.pipeline.partition != "day":
        return {}
    return {key: date.fromisoformat(key).weekday() for key in keys}


def reference_digest(context: Context, keys: Sequence[str], kinds: dict[str, str], version: int) -> str:
    contents = context.content_digests("features", list(keys))
    return combined("reference-2", version, sorted(kinds.items()), sorted(contents.items()))


def champion_reference(
    context: Context, engine: Engine, features: Snapshot, keys: Sequence[str], kinds: dict[str, str], digest: str
) -> Reference:
    """Computed once per champion and content of its reference partitions, then read from a cache."""
    if not keys:
        return Reference({}, {})
    cache, name = context.staged("reference"), f"{digest}.json"
    cached = cache.read(name)
    if cached is not None:
        return parsed_reference(cached)
    table = rows_of(engine, features, keys, kinds)
    bins = fixed_bins(engine, table, kinds)
    built = build_reference(bins, with_lone(engine, table, profiles(engine, table, bins)), row_counts(engine, table))
    cache.write(name, reference_bytes(built))
    return built


def rows_of(engine: Engine, features: Snapshot, keys: Sequence[str], kinds: dict[str, str]) -> ir.Table:
    """Row id, partition and the monitored columns; of a text its length in characters, of an image whether it is."""
    rows = engine.scan(features, keys)
    made: dict[str, ir.Value] = {}
    for name in (name for name, kind in kinds.items() if kind == "number"):
        if rows[name].type().is_string():
            made[name] = rows[name].length()
        elif rows[name].type().is_binary():
            made[name] = rows[name].notnull().cast("int64")
    return rows.mutate(**made).select("row_id", "partition", *kinds)


def sample(engine: Engine, table: ir.Table, most_rows: int) -> pa.Table:
    """At most that many rows, chosen and ordered by a digest of their row id: the same ones each time."""
    marked = table.mutate(place=table["row_id"].hexdigest("md5"))
    return engine.table(marked.order_by(["place", "row_id"]).limit(most_rows)).drop_columns(["place"])


def reference_sample(
    context: Context, engine: Engine, features: Snapshot, keys: Sequence[str], kinds: dict[str, str], digest: str
) -> pa.Table:
    rows = context.pipeline.monitor.report_max_rows
    cache, name = context.staged("reference"), f"{digest}-{rows}.parquet"
    cached = cache.read(name)
    if cached is None:
        cached = parquet_bytes(sample(engine, rows_of(engine, features, keys, kinds), rows))
        cache.write(name, cached)
    return pq.read_table(pa.BufferReader(cached))


def parquet_bytes(table: pa.Table) -> bytes:
    """A small table as a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def classes_of(model: Row) -> list[Any]:
    """Class labels of the champion, smallest first; the last one is the positive class of a binary task."""
    return list(model["record"].get("classes") or [])


def _end(context: Context, key: str) -> datetime:
    return context.pipeline.parse(key).end
