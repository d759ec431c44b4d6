"""Takes a release back, and sweeps up what killed runs left behind. History and ledger keep every release."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from pipelines.context import Context, remove_folder
from pipelines.errors import DataError
from pipelines.failpoints import reach
from pipelines.ledger import Row
from pipelines.storage.digests import combined
from pipelines.storage.durable import sha256_of
from pipelines.storage.exports import MANIFEST, Exports

Summary = dict[str, Any]


def retract(context: Context, reason: str, actor: str) -> Summary:
    """Makes this partition's scores unreadable: pointer first, then tombstone, `predictions` and ledger.

    Again, or after a kill in the middle, it finishes what is left and else reports 'unchanged'.

    Raises:
        DataError: E-RETRACT-NOTHING when this partition was never released.
    """
    exports = Exports(context.home.exports(context.name))
    with exports.lock(context.key):
        taken = _current(context, exports)
        if taken is None:
            return _nothing_left(context)
        exports.unpoint(context.key)
        reach("retract.after_pointer")
        tombstone = {"release_id": taken["release_id"], "model_version": taken["model_version"]}
        exports.bury(context.key, {**tombstone, "reason": reason, "actor": actor})
        _empty_predictions(context, str(taken["release_id"]), reason)
        context.ledger.retract_release(context.name, context.key, f"{reason} (by {actor})")
    return {"state": "done", "reason": reason, "rows": taken["row_count"], **tombstone}


def sweep(context: Context, older_than_hours: float = 24, dry_run: bool = False) -> Summary:
    """Removes leftovers of killed runs and staged scores that nothing touched for `older_than_hours`.

    Never touches what a pointer or the ledger names. The age keeps it away from runs that are still at work.
    """
    exports = Exports(context.home.exports(context.name))
    before = time.time() - older_than_hours * 3600
    known = {(row["partition"], row["release_id"]) for row in context.ledger.releases(context.name)}
    leftovers = exports.leftovers(known, before)
    staged = [folder for folder in context.staging("scores").glob("*/*") if _newest_change(folder) < before]
    if not dry_run:
        for path in leftovers:
            exports.remove(path)
            reach("gc.mid")
        for folder in staged:
            remove_folder(folder)
    removed = sorted(str(path.relative_to(context.home.root)) for path in [*leftovers, *staged])
    return {"state": "done", "dry_run": dry_run, "removed": removed}


def _current(context: Context, exports: Exports) -> Row | None:
    """The released row; one whose run was killed between pointer and ledger is recorded first."""
    pointed = exports.current(context.key)
    released = [row for row in context.ledger.releases(context.name, context.key) if row["state"] == "released"]
    newest = released[-1] if released else None
    if pointed and (newest is None or newest["release_id"] != pointed):
        _record_from_manifest(context, exports, pointed)
        return context.ledger.releases(context.name, context.key)[-1]
    return newest


def _record_from_manifest(context: Context, exports: Exports, release_id: str) -> None:
    manifest = exports.manifest(context.key, release_id)
    if manifest is None:
        raise DataError(
            "E-DATA-HASH", context.where, f"the release '{release_id}' that readers see has no readable manifest"
        )
    folder = exports.folder(context.key, release_id)
    context.ledger.record_release(
        context.name,
        context.key,
        release_id=release_id,
        model_version=manifest["model_version"],
        row_count=manifest["rows"]["scored"],
        digest=sha256_of(folder / MANIFEST),
        path=str(folder.relative_to(context.home.root)),
        is_hindsight=manifest["is_hindsight"],
        run_id=context.run_id,
    )


def _nothing_left(context: Context) -> Summary:
    history = context.ledger.releases(context.name, context.key)
    if not history:
        raise DataError(
            "E-RETRACT-NOTHING",
            context.where,
            "there is no release to take back",
            f"`nightshift status {context.name}` lists the released partitions.",
        )
    return {"state": "unchanged", "reason": history[-1]["reason"], "release_id": history[-1]["release_id"]}


def _empty_predictions(context: Context, release_id: str, reason: str) -> None:
    base = context.snapshot("predictions")
    input_digest = combined("retracted", release_id)
    if base.exists and context.published("predictions", input_digest) is None:
        facts = {"retracted": release_id, "reason": reason}
        context.publish("predictions", base, base.schema().empty_table(), input_digest, facts)


def _newest_change(folder: Path) -> float:
    """Seconds since 1970."""
    return max([folder.stat().st_mtime, *(os.lstat(path).st_mtime for path in folder.rglob("*"))])
