"""What somebody should do about a pipeline now, most urgent first, in words that need no training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Facts = Mapping[str, Any]
STOPPED = ("refused", "failed", "held")
_LONGEST = 420
_VERBS = {"refused": "was refused", "failed": "failed", "held": "was held back"}


def needs(one: Facts) -> list[dict[str, str]]:
    """At most one entry per kind of trouble: `kind`, `short` (ends "card_payments ..."), `text`, and, each perhaps
    empty, `command` to type, `partition` and `run_id` (of a retrain) to look at.

    Args:
        one: `pipeline`, `nights` (newest first), `missing` and `stale` (keys, oldest first), `waiting` (a decision
            about an approval, or None), `retrain` (its newest attempt, or None), `champion` (its version, or None),
            `problem` (of the settings, or "").
    """
    found = [_settings(one), _stopped(one), _missing(one), _waiting(one), _stale(one), _retrain(one), _worn(one)]
    return [entry for entry in found if entry]


def plain(error: str) -> str:
    """An error without its code and place: what is wrong and what to do."""
    code, _, rest = error.partition(" ")
    text = rest.partition(": ")[2] if code.startswith("E-") and ": " in rest else error
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def span(keys: Sequence[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{keys[0]} to {keys[-1]}"


def _need(kind: str, short: str, text: str, **more: str) -> dict[str, str]:
    return {"kind": kind, "short": short, "text": text, "command": "", "partition": "", "run_id": ""} | more


def _settings(one: Facts) -> dict[str, str] | None:
    if not one["problem"]:
        return None
    text = f"Its settings cannot be used, so no night runs: {plain(one['problem'])}"
    return _need("settings", "has settings that cannot be used", text, command=f"nightshift check {one['pipeline']}")


def _stopped(one: Facts) -> dict[str, str] | None:
    """The newest night that stopped and was not repaired; how many more there are."""
    stopped = [night for night in one["nights"] if night["state"] in STOPPED]
    if not stopped:
        return None
    newest = stopped[0]
    where = f" at {newest['step']}" if newest["step"] else ""
    short = f"{_VERBS[newest['state']]}{where} on {newest['partition']}"
    more = len(stopped) - 1
    beside = f" {more} earlier night{'s' if more > 1 else ''} stopped, too." if more else ""
    text = f"The night {newest['partition']} {_VERBS[newest['state']]}{where}: {plain(newest['error'] or '')}{beside}"
    return _need(newest["state"], short, text, partition=newest["partition"])


def _missing(one: Facts) -> dict[str, str] | None:
    keys = one["missing"]
    if not keys:
        return None
    count = f"{len(keys)} nights have" if len(keys) > 1 else "One night has"
    text = f"{count} not come although the schedule says so: {span(keys)}. Is the scheduler running and the DAG on?"
    short = f"is late: {span(keys)} {'have' if len(keys) > 1 else 'has'} not come"
    return _need("late", short, text, command=_run(one["pipeline"], keys))


def _waiting(one: Facts) -> dict[str, str] | None:
    asked = one["waiting"]
    if asked is None:
        return None
    version = asked["model_version"]
    text = f"Version {version} may become the champion and {asked['reasons'][0]}."
    return _need("approval", f"asks whether version {version} may become champion", text, run_id=asked["run_id"])


def _stale(one: Facts) -> dict[str, str] | None:
    keys = one["stale"]
    if not keys:
        return None
    what = f"{len(keys)} nights were" if len(keys) > 1 else "One night was"
    text = f"{what} built from inputs that changed since: {span(keys)}. Run again what follows from them."
    return _need("stale", "has nights built from inputs that changed", text, command=_run(one["pipeline"], keys))


def _retrain(one: Facts) -> dict[str, str] | None:
    run = one["retrain"]
    if run is None or run["state"] not in STOPPED:
        return None
    text = f"The last retrain stopped at {run['step']}: {plain(run['error'] or '')}"
    return _need("retrain", f"could not retrain ({run['step']} stopped)", text, run_id=run["run_id"])


def _worn(one: Facts) -> dict[str, str] | None:
    """A retrain was asked for because of the very version that is the champion: the gate held what came of it, or
    somebody put the version back."""
    version = one["champion"]
    asked = (night for night in one["nights"] if night["drift"] == "RETRAIN" and night["model"] == version)
    night = next(asked, None) if version is not None else None
    if night is None:
        return None
    key, reasons = night["partition"], night["drift_reasons"]
    why = f": {plain(reasons[0])}" if reasons else "."
    text = f"The monitor asked for a new model on {key}, and version {version} is still the champion{why}"
    return _need("drift", f"keeps version {version} although drift asked for a new model", text, partition=key)


def _run(pipeline: str, keys: Sequence[str]) -> str:
    return f"nightshift run {pipeline} --from {keys[0]} --to {keys[-1]}"
