"""The rollback drill: proof that the champion before this one could take over now, without changing anything."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from pipelines.context import Context
from pipelines.errors import DataError, ModelError, names
from pipelines.features import feature_types
from pipelines.ledger import Row

KIND = "drill"
_RUN = "maintenance"  # one row per pipeline and month: a later drill of the month replaces the earlier one
PASS, FAIL = "PASS", "FAIL"


def drill(context: Context, again: bool = False, is_recorded: bool = True) -> dict[str, Any]:
    """Loads the previous champion as scoring does and lets it score the rows that were kept at its registration.

    Once per month and version; `again` repeats one that has passed. A failed one is repeated each time. The result is
    a decision of kind 'drill' in the ledger.
    """
    from pipelines.training.promotion import previous_champion

    version = previous_champion(context.ledger.champions(context.name))
    if version is None:
        return {"state": "skipped", "reason": "there is no earlier champion to go back to"}
    month = f"{datetime.now(UTC):%Y-%m}"
    done = last_drill(context, month)
    if done and not again and (done["model_version"], done["outcome"]) == (version, PASS):
        return {"state": "unchanged", "version": version, "outcome": PASS, "month": month, "reasons": done["reasons"]}
    problems, numbers = _problems(context, version)
    rows, apart = numbers.get("rows"), numbers.get("largest_difference")
    outcome, reasons = FAIL if problems else PASS, problems or [f"it scores {rows} rows as recorded (within {apart})"]
    if is_recorded:
        context.ledger.record_decision(
            context.name,
            KIND,
            month,
            run_id=_RUN,
            outcome=outcome,
            model_version=version,
            reasons=reasons,
            numbers=numbers,
        )
    return {"state": "done", "version": version, "outcome": outcome, "month": month, "reasons": reasons}


def last_drill(context: Context, month: str | None = None) -> Row | None:
    rows = context.ledger.decisions(context.name, KIND, month)
    return rows[-1] if rows else None


def _problems(context: Context, version: int) -> tuple[list[str], dict[str, Any]]:
    """Why a rollback to this version would not work now, and what was measured."""
    from pipelines.models import load_model
    from pipelines.training.sample import TOLERANCE, compare_sample

    sample = context.ledger.model(context.name, version)["record"].get("sample") or {}
    try:
        model = load_model(context, version)
        made = feature_types(context.pipeline)
        lost = [name for name, kind in model.types.items() if made.get(name) != kind]
        if lost:
            return [f"it needs the features {names(lost)}, which the settings do not make any more"], {}
        if not sample.get("scores"):
            return ["nothing can be compared: no scores were kept when it was registered"], {}
        apart = compare_sample(model, sample)
    except (ModelError, DataError) as error:
        return [str(error)], {}
    numbers = {"rows": len(sample["scores"]), "largest_difference": apart if math.isfinite(apart) else None}
    if not apart <= TOLERANCE:
        return [f"its scores of kept rows differ from the recorded ones by up to {apart:.3g}"], numbers
    return [], numbers
