"""Which searches are of no more use: rows in the ledger, of which every retrain with `tuning` adds some."""

from __future__ import annotations

from datetime import datetime

from pipelines.context import Context
from pipelines.training.tuning_start import newest_judged
from pipelines.training.tuning_study import Studies


def remove_old(context: Context, since: datetime, dry_run: bool) -> list[str]:
    """Removes searches that nobody has worked on since then; a dry run only names them.

    The champion's stays, and the newest that found something: the next search may begin with it. What was found is in
    the versions' records, and the trials are in MLflow.
    """
    studies = Studies(context.home.ledger_url)
    kept, newest = _of_champion(context), newest_judged(studies, context.name)
    if newest:
        kept.add(newest[0]["study"])
    found = [study for study in studies.idle(context.name, since) if study not in kept]
    for study in [] if dry_run else found:
        studies.forget(study)
    return found


def _of_champion(context: Context) -> set[str]:
    champion = context.ledger.champion(context.name)
    if champion is None:
        return set()
    record = context.ledger.model(context.name, champion["version"])["record"]
    return {record["tuning"]["study"]} if record.get("tuning") else set()
