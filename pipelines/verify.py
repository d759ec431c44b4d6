"""Verify: recomputes every digest of what was released and compares it with the ledger."""

from __future__ import annotations

from pipelines.context import Context
from pipelines.errors import DataError
from pipelines.ledger import Row
from pipelines.storage.digests import RowDigest
from pipelines.storage.durable import sha256_of
from pipelines.storage.exports import MANIFEST, Exports


def verify_release(context: Context) -> list[str]:
    """What is wrong with the releases of this partition, as sentences; empty when every file and row is as recorded.

    Checks the pointer, each kept release's manifest and files, and the rows of `predictions`.
    """
    exports = Exports(context.home.exports(context.name))
    history = context.ledger.releases(context.name, context.key)
    released = [row for row in history if row["state"] == "released"]
    problems = _pointer_problems(context, exports, released[-1] if released else None)
    # A release without folder was removed by retention, which is fine unless readers should see it.
    kept = {row["release_id"]: row for row in history if _is_kept(context, exports, row)}
    for release_id in sorted(kept):
        problems += _file_problems(context, exports, kept[release_id])
    return problems + _table_problems(context, released[-1] if released else None)


def verify_pipeline(context: Context) -> dict[str, list[str]]:
    """Problems per partition that was ever released; partitions without problems are left out."""
    keys = sorted({row["partition"] for row in context.ledger.releases(context.name)})
    found = {}
    for key in keys:
        run = Context(context.pipeline, context.home, context.ledger, context.pipeline.parse(key), context.run_id)
        found[key] = verify_release(run)
    return {key: problems for key, problems in found.items() if problems}


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
    return row["state"] == "released" or exports.folder(context.key, row["release_id"]).exists()


def _file_problems(context: Context, exports: Exports, row: Row) -> list[str]:
    release_id = row["release_id"]
    problems = exports.problems(context.key, release_id)
    manifest = exports.manifest(context.key, release_id)
    if manifest is None:
        return problems
    digest = sha256_of(exports.folder(context.key, release_id) / MANIFEST)
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
    digest, rows = _table_digest(context)
    if rows and digest != publication["content_digest"]:
        problems.append(
            f"the rows of 'predictions' must have digest {publication['content_digest'][:16]}..., got {digest[:16]}..."
        )
    if rows != publication["row_count"]:
        problems.append(f"'predictions' must hold {publication['row_count']} rows, got {rows}")
    return problems


def _table_digest(context: Context) -> tuple[str, int]:
    """Digest and count of this partition's rows, in the order in which they were published."""
    snapshot = context.snapshot("predictions")
    with context.engine("release") as engine:
        reader = engine.reader(engine.scan(snapshot, [context.key]), order_by=["row_id"])
        digest = RowDigest(reader.schema)
        for batch in reader:
            digest.update(batch)
    return digest.hexdigest(), digest.rows
