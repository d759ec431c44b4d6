"""Who is champion: changed by compare-and-set in the ledger, then shown in MLflow."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from pipelines.context import Context
from pipelines.errors import ModelError, StorageError
from pipelines.failpoints import reach
from pipelines.ledger import Row
from pipelines.models import load_model
from pipelines.training.registry import champion_alias, point_champion
from pipelines.training.shadow_start import begin_shadow

log = logging.getLogger("nightshift")

_COMPARE_AGAIN = "The challenger must be compared with the new champion first."


def promote(context: Context, version: int, approved_by: str | None = None) -> dict[str, Any]:
    """Makes the challenger champion if this run's gate said PROMOTE; 'unchanged' when a retry finds it done.

    With `gate.shadow` a challenger of a champion begins its shadow instead; see `pipelines.training.shadow_step`.

    `approved_by` is the person who agreed, where the pipeline asks for one; it is kept with the champion.

    Raises:
        ModelError: E-PROMOTE-GATE without that decision, E-MODEL-HASH for changed files, E-PROMOTE-RACE when another
            champion was chosen since the gate decided.
    """
    current = context.ledger.champion(context.name)
    if done := promotion_of(context, version):
        if current:
            show_champion(context, current["version"])
        return {"state": "unchanged", "version": version, "effective_from": done["effective_from"].isoformat()}
    decision = _decision(context, version)
    if (current["version"] if current else None) != decision["numbers"]["champion"]:
        raise _race(context, _COMPARE_AGAIN, repeat="evaluate")
    load_model(context, version)
    since = effective_from(context, context.partition.end, current)
    if context.pipeline.gate.shadow and current:
        return begin_shadow(context, version, current, since, approved_by)
    reach("promote.before_cas")
    actor = f"gate, approved by {approved_by}" if approved_by else "gate"
    if not _change(context, version, current, since, "promote", "; ".join(decision["reasons"][:1]), actor):
        raise _race(context, _COMPARE_AGAIN, repeat="evaluate")
    reach("promote.after_cas")
    show_champion(context, version)
    return {
        "state": "done",
        "version": version,
        "previous": current["version"] if current else None,
        "effective_from": since.isoformat(),
    }


def promote_shadow(
    context: Context, version: int, champion: Row, reason: str, approved_by: str | None = None
) -> datetime:
    """Makes the challenger in shadow champion in the place of the one that it was compared with; since when.

    Raises:
        ModelError: E-MODEL-HASH for changed files, E-PROMOTE-RACE when another champion was chosen meanwhile.
    """
    load_model(context, version)
    since = effective_from(context, context.partition.end, champion)
    actor = f"shadow, approved by {approved_by}" if approved_by else "shadow"
    reach("shadow.before_cas")
    if not _change(context, version, champion, since, "promote", reason, actor):
        raise _race(context, "The champion stays. The next night compares the shadow with the new one.")
    reach("shadow.after_cas")
    show_champion(context, version)
    return since


def promotion_of(context: Context, version: int) -> Row | None:
    """The champion row by which this run promoted `version`, also when another champion came since."""
    mine = [
        row
        for row in context.ledger.champions(context.name)
        if (row["action"], row["run_id"], row["version"]) == ("promote", context.run_id, version)
    ]
    return mine[-1] if mine else None


def rollback(context: Context, version: int | None, actor: str, reason: str) -> dict[str, Any]:
    """Puts an earlier champion back, for partitions that were not scored yet.

    Default: the champion before this one, never one that was itself taken back.

    Raises:
        ModelError: E-ROLLBACK-NONE when there is no earlier champion or `version` never was one; E-MODEL-HASH.
    """
    history = context.ledger.champions(context.name)
    current = history[-1] if history else None
    if current and current["run_id"] == context.run_id:
        return {"state": "unchanged", "version": current["version"]}
    target = _earlier(context, history, version)
    load_model(context, target)
    since = effective_from(context, history[-1]["effective_from"], current)
    if not _change(context, target, current, since, "rollback", reason, actor):
        raise _race(context, "Nothing was rolled back. Look at 'nightshift status', then ask again.")
    show_champion(context, target)
    return {
        "state": "done",
        "version": target,
        "previous": history[-1]["version"],
        "effective_from": since.isoformat(),
        "reason": reason,
    }


def effective_from(context: Context, moment: datetime, current: Row | None) -> datetime:
    """`moment`, but never before what was released or decided already: no past score changes its model."""
    released = [row["partition"] for row in context.ledger.releases(context.name)]
    bounds = [moment]
    if released:
        bounds.append(context.pipeline.parse(max(released)).end)
    if current:
        bounds.append(current["effective_from"])
    return max(bounds)


def reconcile_alias(context: Context) -> str:
    """Points MLflow's alias 'champion' to the ledger's champion; 'agrees', 'repaired: 3 -> 4' or 'no champion'."""
    current = context.ledger.champion(context.name)
    if current is None:
        return "no champion"
    wanted = str(context.ledger.model(context.name, current["version"])["record"]["mlflow_version"])
    found = champion_alias(context)
    if found == wanted:
        return "agrees"
    point_champion(context, current["version"])
    log.warning("E-REG-ALIAS-DRIFT %s: alias 'champion' was %s, is %s now", context.name, found, wanted)
    return f"repaired: {found} -> {wanted}"


def _decision(context: Context, version: int) -> Row:
    mine = [
        row
        for row in context.ledger.decisions(context.name, "gate", context.key)
        if row["run_id"] == context.run_id and row["model_version"] == version
    ]
    if not mine or mine[-1]["outcome"] != "PROMOTE":
        said = mine[-1]["outcome"] if mine else "nothing"
        raise ModelError(
            "E-PROMOTE-GATE",
            f"{context.where} version {version}",
            f"this run's gate must have said PROMOTE, it said {said}",
            "The champion stays.",
        )
    return mine[-1]


def _earlier(context: Context, history: list[Row], version: int | None) -> int:
    current = history[-1]["version"] if history else None
    past = [row["version"] for row in history if row["version"] != current]
    if version is None and (before := previous_champion(history)):
        return before
    if version is not None and version in past:
        return version
    what = "there is no earlier champion" if version is None else f"version {version} is not an earlier champion"
    raise ModelError(
        "E-ROLLBACK-NONE",
        context.name,
        f"{what} (earlier ones: {sorted(set(past)) or 'none'}, now: {current or 'none'})",
        "Nothing changed.",
    )


def previous_champion(history: list[Row]) -> int | None:
    """Where a rollback without a version goes: the champion before this one that was not taken back."""
    standing = _standing(history)
    return standing[-1] if standing else None


def _standing(history: list[Row]) -> list[int]:
    """Champions before the present one that were not taken back, oldest first."""
    stack: list[int] = []
    for row in history:
        if row["version"] in stack:
            del stack[stack.index(row["version"]) :]
        elif row["action"] == "rollback" and stack:
            stack.pop()
        stack.append(int(row["version"]))
    return stack[:-1]


def _change(
    context: Context, version: int, current: Row | None, since: datetime, action: str, reason: str, actor: str
) -> bool:
    return context.ledger.change_champion(
        context.name,
        version,
        expected_seq=current["seq"] if current else 0,
        effective_from=since,
        action=action,
        reason=reason,
        actor=actor,
        run_id=context.run_id,
    )


def _race(context: Context, fix: str, repeat: str = "") -> ModelError:
    return ModelError("E-PROMOTE-RACE", context.where, "another champion was chosen meanwhile", fix, repeat)


def show_champion(context: Context, version: int) -> None:
    """The alias is a projection: MLflow being away must not undo a promotion, maintenance repairs it."""
    try:
        point_champion(context, version)
    except StorageError as error:
        log.warning("%s", error)
