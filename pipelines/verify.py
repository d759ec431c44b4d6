"""Verify: recomputes every digest of what was released and compares it with the ledger."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from pipelines.context import Context
from pipelines.errors import DataError
from pipelines.ledger import Row
from pipelines.storage.digests import RowDigest
from pipelines.storage.exports import Exports


def verify_release(context: Context) -> list[str]:
    """What is wrong with the releases of this partition, as sentences; empty when every file and row is as recorded.

    Checks the pointer, each kept release's manifest and files, and the rows of `predictions`.
    """
    exports = context.exports
    history = context.ledger.releases(context.name, context.key)
    released = [row for row in history if row["state"] == "released"]
    problems = _pointer_problems(context, exports, released[-1] if released else None)
    # A release without folder was removed by retention, which is fine unless readers should see it.
    kept = {row["release_id"]: row for row in history if _is_kept(context, exports, row)}
    for release_id in sorted(kept):
        problems += _file_problems(context, exports, kept[release_id])
    return problems + _table_problems(context, released[-1] if released else None)


def verify(context: Context) -> dict[str, Any]:
    """Recomputes releases, row counts and row accounting of all partitions of the pipeline; see `problems`."""
    releases = {row["partition"] for row in context.ledger.releases(context.name)}
    problems = [f"{key}: {text}" for key in sorted(releases) for text in verify_release(_partition_of(context, key))]
    accounting = context.ledger.accounting(context.name)
    for row in accounting:
        problems += [f"{row['partition']}: {text}" for text in _balance_problems(context, row)]
    counted = 0
    for table in _tables(context):
        found, partitions = _count_problems(context, table)
        problems, counted = problems + found, counted + partitions
    return {
        "pipeline": context.name,
        "released_partitions": len(releases),
        "balanced_partitions": len(accounting),
        "counted_partitions": counted,
        "problems": problems,
    }


def require_sound(context: Context) -> None:
    """Raises DataError E-DATA-HASH when the releases of this partition are not as recorded."""
    problems = verify_release(context)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise DataError(
            "E-DATA-HASH",
            context.where,
            problems[0] + more,
            f"Do not use it. Run the partition again to rebuild it: nightshift run {context.name} "
            f"--from {context.key} --to {context.key}",
        )


def _pointer_problems(context: Context, exports: Exports, released: Row | None) -> list[str]:
    seen, wanted = exports.current(context.key), released["release_id"] if released else None
    if seen == wanted:
        return []
    return [f"readers of partition {context.key} must see {wanted or 'nothing'}, but see {seen or 'nothing'}"]


def _is_kept(context: Context, exports: Exports, row: Row) -> bool:
    return row["state"] == "released" or exports.is_kept(context.key, row["release_id"])


def _file_problems(context: Context, exports: Exports, row: Row) -> list[str]:
    release_id = row["release_id"]
    problems = exports.problems(context.key, release_id)
    manifest = exports.manifest(context.key, release_id)
    digest = exports.manifest_digest(context.key, release_id)
    if manifest is None or digest is None:
        return problems
    if digest != row["digest"]:
        what = f"the manifest of release {release_id} must have sha256 {row['digest'][:16]}..., got {digest[:16]}..."
        return [*problems, what]
    listed = sum(entry["rows"] for entry in manifest["files"])
    if listed != row["row_count"]:
        problems.append(f"release {release_id} must have {row['row_count']} rows, its manifest lists {listed}")
    return problems


def _table_problems(context: Context, released: Row | None) -> list[str]:
    """Compares the rows of `predictions`, as they are now, with the publication and with the release."""
    publication = context.ledger.publication(context.name, "predictions", context.key)
    if publication is None:
        return ["the ledger has a release but no publication of 'predictions'"] if released else []
    wanted = released["row_count"] if released else 0
    problems = []
    if publication["row_count"] != wanted:
        problems.append(f"'predictions' must hold {wanted} rows of this partition, got {publication['row_count']}")
    digest, rows = _table_digest(context, publication["facts"].get("columns"))
    if rows and digest != publication["content_digest"]:
        problems.append(
            f"the rows of 'predictions' must have digest {publication['content_digest'][:16]}..., got {digest[:16]}..."
        )
    if rows != publication["row_count"]:
        problems.append(f"'predictions' must hold {publication['row_count']} rows, got {rows}")
    return problems


def _partition_of(context: Context, key: str) -> Context:
    return replace(context, partition=context.pipeline.parse(key))


def _tables(context: Context) -> list[str]:
    kinds = ["raw", "quarantine", "duplicates", "clean", "features", "predictions"]
    kinds += [f"dimension_{name}" for name in context.pipeline.dimensions]
    return kinds + [f"labels_{name}" for name in context.pipeline.label_sources]


def _publications(context: Context, table: str) -> list[Row]:
    """The newest publication per partition (and stage)."""
    names = [f"{table}/ingest", f"{table}/validate"] if table == "quarantine" else [table]
    return [row for name in names for row in context.ledger.publications(context.name, name)]


def _count_problems(context: Context, table: str) -> tuple[list[str], int]:
    """Compares the rows that the ledger has per partition with those in the Parquet files of the newest version."""
    wanted: Counter[str] = Counter()
    for row in _publications(context, table):
        wanted[row["partition"]] += row["row_count"]
    snapshot = context.snapshot(table)
    problems = []
    for key in sorted(wanted):
        rows = snapshot.count([key])
        if rows != wanted[key]:
            problems.append(f"{key}: '{table}' must hold {wanted[key]} rows, its files have {rows}")
    return problems, len(wanted)


def _balance_problems(context: Context, row: Row) -> list[str]:
    """read = clean + quarantined + duplicate, and `clean` as published."""
    parts = row["clean"] + row["quarantined"] + row["duplicate"]
    problems = []
    if row["read"] != parts:
        problems.append(f"{row['read']} rows were read, but {parts} are clean, quarantined or duplicate")
    clean = context.ledger.publication(context.name, "clean", row["partition"])
    if row["state"] == "clean" and (clean is None or clean["row_count"] != row["clean"]):
        problems.append(f"'clean' must hold {row['clean']} rows, got {clean['row_count'] if clean else 'none'}")
    return problems


def _table_digest(context: Context, columns: list[str] | None) -> tuple[str, int]:
    """Digest and count of this partition's rows, with the columns and in the order in which they were published.

    The table may have more columns by now, or the same in another order.
    """
    snapshot = context.snapshot("predictions")
    with context.engine("release") as engine:
        table = engine.scan(snapshot, [context.key])
        reader = engine.reader(table.select(*columns) if columns else table, order_by=["row_id"])
        digest = RowDigest(reader.schema)
        for batch in reader:
            digest.update(batch)
    return digest.hexdigest(), digest.rows
