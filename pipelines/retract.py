"""Takes a release back, and sweeps up what killed runs left behind. History and ledger keep every release."""

from __future__ import annotations

import time
from typing import Any

from pipelines.context import Context
from pipelines.errors import DataError, StorageError
from pipelines.failpoints import reach
from pipelines.ledger import Row
from pipelines.storage.digests import combined
from pipelines.storage.exports import Exports

Summary = dict[str, Any]


def retract(context: Context, reason: str, actor: str) -> Summary:
    """Makes this partition's scores unreadable: pointer first, then tombstone, `predictions` and ledger.

    Again, or after a kill in the middle, it finishes what is left and else reports 'unchanged'.

    Raises:
        DataError: E-RETRACT-NOTHING when this partition was never released.
    """
    exports = context.exports
    with context.only_release():
        seen = exports.seen(context.key)
        taken = _current(context, exports, seen.release_id)
        if taken is None:
            return _nothing_left(context)
        if not exports.unpoint(seen):
            what = "another run switched what readers see meanwhile"
            raise StorageError("E-PUB-FENCED", f"{context.name}.exports {context.key}", what, "Retract it again.")
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
    before = time.time() - older_than_hours * 3600
    known = {(row["partition"], row["release_id"]) for row in context.ledger.releases(context.name)}
    scores, replays = context.staged("scores").folders(2), context.staged("replays").folders(1)
    # Of a snapshot whose training was given up; a registered model has forgotten its own.
    checkpoints = context.staged("checkpoints").folders(1)
    old = {
        context.exports.files: context.exports.leftovers(known, before),
        context.staged("scores"): sorted(folder for folder, changed in scores.items() if changed < before),
        context.staged("replays"): sorted(folder for folder, changed in replays.items() if changed < before),
        context.staged("checkpoints"): sorted(folder for folder, changed in checkpoints.items() if changed < before),
    }
    removed = []
    for place in ("exports", "staging", "models", "reports", "tables"):
        unfinished = context.home.files(place, context.name).unfinished(before, remove=not dry_run)
        removed += [f"{place}/{context.name}/{name}" for name in unfinished]
    for files, folders in old.items():
        where = files.root.removeprefix(f"{context.home.storage}/")
        removed += [f"{where}/{name}" for name in folders]
        for folder in [] if dry_run else folders:
            files.remove_folder(folder)
            reach("gc.mid")
    return {"state": "done", "dry_run": dry_run, "removed": sorted(removed)}


def _current(context: Context, exports: Exports, pointed: str | None) -> Row | None:
    """The released row; one whose run was killed between pointer and ledger is recorded first."""
    released = [row for row in context.ledger.releases(context.name, context.key) if row["state"] == "released"]
    newest = released[-1] if released else None
    if pointed and (newest is None or newest["release_id"] != pointed):
        _record_from_manifest(context, exports, pointed)
        return context.ledger.releases(context.name, context.key)[-1]
    return newest


def _record_from_manifest(context: Context, exports: Exports, release_id: str) -> None:
    manifest = exports.manifest(context.key, release_id)
    digest = exports.manifest_digest(context.key, release_id)
    if manifest is None or digest is None:
        raise DataError(
            "E-DATA-HASH", context.where, f"the release '{release_id}' that readers see has no readable manifest"
        )
    context.ledger.record_release(
        context.name,
        context.key,
        release_id=release_id,
        model_version=manifest["model_version"],
        row_count=manifest["rows"]["scored"],
        digest=digest,
        path=context.release_path(release_id),
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
