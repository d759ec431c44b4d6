"""Profiles kept beside the tables, so that history is never read again; and the accepted partitions before one.

A kept profile is derived from `raw` alone: what is missing (or was written by an older version) is computed anew.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from zoneinfo import ZoneInfo

import pyarrow as pa

from pipelines.context import Context
from pipelines.ledger import Row
from pipelines.partitions import Partition
from pipelines.storage.digests import combined
from pipelines.validate.anomaly import Past
from pipelines.validate.profile import VERSION, Profile, profile

_SUPERSEDED_S = 86_400  # seconds until a profile that another one replaced is removed
_AT_ONCE = 8  # reads; what takes time is an object store's answer


def profile_of(context: Context, partition: Partition, raw: Row, read: Callable[[], pa.Table]) -> Profile:
    """The profile of one published partition of `raw`; `read` gives its rows if they must be looked at.

    The name holds the digest of the rows: of a corrected partition another profile is made. The latest one is kept.
    """
    files = context.home.files("profiles", context.name)
    columns = list(context.pipeline.source.columns)
    name = f"{partition.key}/{combined(VERSION, raw['content_digest'], *columns)[:32]}.json"
    kept = files.read(name)
    if kept is not None:
        return Profile.from_json(json.loads(kept))
    rows = read()
    found = profile(rows.select([column for column in columns if column in rows.column_names]), partition.start)
    files.write(name, json.dumps(found.to_json(), separators=(",", ":")).encode())
    for entry in list(files.entries(f"{partition.key}/")):
        # Of rows that were corrected since, or of an older version. A run that began before may still ask for it.
        if entry.name != name and entry.changed < time.time() - _SUPERSEDED_S:
            files.remove(entry.name)
    return found


def accepted_before(context: Context) -> list[Past]:
    """The accepted partitions that this one is compared with, oldest first; nothing that comes later, ever."""
    settings, pipeline = context.pipeline.validate_, context.pipeline
    since = settings.history_start or ""
    keys = [
        row["partition"]
        for row in context.ledger.accounting(context.name)
        if row["state"] == "clean" and since <= row["partition"] < context.key
    ][-settings.history_partitions :]
    published = {row["partition"]: row for row in context.ledger.publications(context.name, "raw", keys)}
    partitions = [pipeline.parse(key) for key in keys if key in published]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda one: _past(context, one, published[one.key]), partitions))


def season_of(partition: Partition) -> int | None:
    """Weekday of a day, hour of an hour (of the pipeline's time zone); longer partitions have none."""
    local = partition.start.astimezone(ZoneInfo(partition.timezone))
    return {"day": local.weekday(), "hour": local.hour}.get(partition.grain)


def _past(context: Context, partition: Partition, raw: Row) -> Past:
    found = profile_of(context, partition, raw, lambda: context.snapshot("raw").read([partition.key]))
    return Past(partition.key, season_of(partition), found, raw["content_digest"])
