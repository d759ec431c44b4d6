"""The daily clean-up: drifted registry aliases, attempts of dead runs, leftovers, old searches; a monthly drill."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pipelines.context import Context, remove_folder
from pipelines.errors import ModelError, NightshiftError, StorageError
from pipelines.home import Home
from pipelines.ledger import Ledger
from pipelines.settings import Pipeline, load_pipeline, pipeline_names

log = logging.getLogger("nightshift")
_FAILED = "FAILED"


def reconcile_aliases(home: Home | None = None) -> dict[str, str]:
    """Points each registered model's alias `champion` to the ledger's champion; the ledger always wins.

    Returns:
        Per pipeline with a champion: `agrees`, `repaired: 3 -> 4`, or `not repaired: ...` when MLflow does not answer
        (scoring does not need it).
    """
    from pipelines.training.promotion import reconcile_alias

    found = {}
    for context in _contexts(home or Home.resolve()):
        if context.ledger.champion(context.name) is None:
            continue
        try:
            found[context.name] = reconcile_alias(context)
        except StorageError as error:
            found[context.name] = f"not repaired: {error}"
            log.warning("%s", found[context.name])
    return found


def reap_attempts(dead_after_hours: int, home: Home | None = None) -> dict[str, int]:
    """Ends attempts that are 'running' for longer than this (their process was killed); how many, per pipeline."""
    home = home or Home.resolve()
    ledger = Ledger(home.ledger_url)
    before = datetime.now(UTC) - timedelta(hours=dead_after_hours)
    reaped = {}
    for pipeline in _pipelines(home):
        dead = [
            row for row in ledger.attempts(pipeline.name) if row["state"] == "running" and row["started_at"] < before
        ]
        for row in dead:
            error = (
                f"E-RUN-DEAD {pipeline.name} {row['partition']}: '{row['step']}' never ended; its process was killed"
            )
            ledger.end_attempt(row["id"], "failed", None, error, None)
        reaped[pipeline.name] = len(dead)
    return reaped


def sweep_staging(staging_days: int, dry_run: bool = True, home: Home | None = None) -> dict[str, list[str]]:
    """Removes unpublished work that nothing touched for this many days; a dry run only names it, per pipeline."""
    from pipelines.retract import sweep

    home = home or Home.resolve()
    found = {"scratch": _sweep_scratch(home, time.time() - 86_400 * staging_days, dry_run)}
    for context in _contexts(home):
        found[context.name] = list(sweep(context, older_than_hours=24 * staging_days, dry_run=dry_run)["removed"])
        log.info(
            "%s: %d leftover(s)%s", context.name, len(found[context.name]), " (dry run)" if dry_run else " removed"
        )
    return found


def sweep_studies(study_days: int, dry_run: bool = True, home: Home | None = None) -> dict[str, list[str]]:
    """Removes searches for parameters that nobody worked on for this many days; a dry run only names them."""
    from pipelines.training.tuning_retention import remove_old

    since = datetime.now(UTC) - timedelta(days=study_days)
    found = {context.name: remove_old(context, since, dry_run) for context in _contexts(home or Home.resolve())}
    for name, studies in found.items():
        log.info("%s: %d old search(es)%s", name, len(studies), " (dry run)" if dry_run else " removed")
    return found


def rollback_drill(home: Home | None = None, again: bool = False, is_recorded: bool = True) -> dict[str, str]:
    """Per pipeline with a champion, in words, whether the champion before it could take over now; see pipelines.drill.

    Failed ones begin with 'FAILED'. Nothing but the drill's own result is written.
    """
    from pipelines.drill import drill

    found = {}
    for context in _contexts(home or Home.resolve()):
        if context.ledger.champion(context.name) is None:
            continue
        try:
            found[context.name] = _in_words(drill(context, again, is_recorded))
        except StorageError as error:  # tomorrow is another day, and this month not over
            found[context.name] = f"not done: {error}"
        log.info("%s: rollback drill: %s", context.name, found[context.name])
    return found


def require_passed(drills: Mapping[str, str]) -> None:
    """Raises ModelError E-ROLLBACK-DRILL when a pipeline's drill failed: somebody must know before it is needed."""
    failed = {name: text for name, text in drills.items() if text.startswith(_FAILED)}
    if failed:
        raise ModelError(
            "E-ROLLBACK-DRILL",
            ", ".join(failed),
            "; ".join(failed.values()),
            "Nothing changed. A rollback would fail now: restore the model's files, or retrain.",
        )


def _in_words(result: Mapping[str, Any]) -> str:
    if result["state"] == "skipped":
        return str(result["reason"])
    told = f"v{result['version']}: {'; '.join(result['reasons'])}"
    if result["outcome"] != "PASS":
        return f"{_FAILED} {told}"
    return f"{told}, already this month" if result["state"] == "unchanged" else told


def _sweep_scratch(home: Home, before: float, dry_run: bool) -> list[str]:
    """Folders in which killed processes of this machine worked; those of live ones are younger."""
    found = [path for path in sorted(home.scratch.glob("*")) if path.is_dir() and path.lstat().st_mtime < before]
    for folder in [] if dry_run else found:
        remove_folder(folder)
    return [path.name for path in found]


def _contexts(home: Home) -> Iterator[Context]:
    ledger = Ledger(home.ledger_url)
    for pipeline in _pipelines(home):
        yield Context(pipeline, home, ledger, pipeline.first_partition(), "maintenance")


def _pipelines(home: Home) -> list[Pipeline]:
    """Pipelines whose settings load; a broken one is reported elsewhere and must not stop the clean-up of others."""
    loaded: list[Any] = []
    for name in pipeline_names(home.config):
        try:
            loaded.append(load_pipeline(name, home.config))
        except (NightshiftError, ValueError) as error:
            log.warning("%s is left out: %s", name, error)
    return loaded
