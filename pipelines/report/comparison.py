"""Two versions side by side: what differs in data, settings, code, parameters and metrics, from their records."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from pipelines.home import Home
from pipelines.ledger import Ledger
from pipelines.report.experiments import direction_of, judged, version_row
from pipelines.training.provenance import flat
from pipelines.training.replay_differences import changed, partition_lines, surrounding_lines

_UNKNOWN = "not recorded: one of them was registered by an earlier release"


def comparison(home: Home, pipeline: str, first: int, second: int, ledger: Ledger | None = None) -> dict[str, Any]:
    """`versions` (both, as `experiments` lists them), sentences per subject, and `metrics`, one row each.

    Raises:
        ModelError: E-MODEL-UNKNOWN when one was never registered.
    """
    ledger = ledger or Ledger(home.ledger_url)
    versions = [version_row(ledger, pipeline, version) for version in (first, second)]
    then, now = (ledger.model(pipeline, version)["record"] for version in (first, second))
    return {
        "pipeline": pipeline,
        "versions": versions,
        "data": _data(then, now),
        "settings": _settings(then, now),
        "code": _code(then, now),
        "parameters": changed(dict(flat(then["parameters"])), dict(flat(now["parameters"]))),
        "metrics": _metrics(then, now),
        "same_holdout": _holdout(then) == _holdout(now),
        "judged": _judged(ledger, pipeline, first, second),
    }


def _data(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    sides = [
        {"training": one.get("training_partitions") or [], "holdout": one.get("holdout_partitions") or []}
        for one in (then, now)
    ]
    lines = together(partition_lines(*sides))
    old, new = (one.get("row_digests") or {} for one in (then, now))
    lines += [f"input: partition {key} has other rows" for key in sorted(old) if key in new and old[key] != new[key]]
    return lines + [f"feature: {line}" for line in changed(then.get("features") or {}, now.get("features") or {})]


def together(lines: Sequence[str]) -> list[str]:
    """Neighbouring partitions that moved alike in one line."""
    moves = [re.fullmatch(r"input: partition (\S+) (.+)", line) for line in lines]
    found = []
    for move, several in groupby((one for one in moves if one), lambda one: one[2]):
        keys = [one[1] for one in several]
        which = f"partition {keys[0]}" if len(keys) == 1 else f"{len(keys)} partitions {keys[0]} to {keys[-1]}"
        found.append(f"input: {which} {move}")
    return found


def _settings(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    made = [one.get("made_from") for one in (then, now)]
    if not made[0] or not made[1]:
        return [_UNKNOWN]
    old, new = (dict(flat(one["settings"])) for one in made if one)
    return changed(old, new)


def _code(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    if not then.get("made_from") or not now.get("made_from"):
        return [_UNKNOWN]
    commits = str(then["code_version"]), str(now["code_version"])
    return surrounding_lines(then["made_from"], now["made_from"], commits)


def _metrics(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`better`: which of the two (1 or 2), None for equal values, where one has none, and for mere descriptions."""
    old, new = then.get("holdout_metrics") or {}, now.get("holdout_metrics") or {}
    return [_metric(name, old.get(name), new.get(name)) for name in sorted({*old, *new})]


def _judged(ledger: Ledger, pipeline: str, first: int, second: int) -> list[str]:
    """What the gate said when one of the two was the champion and the other its challenger."""
    found = judged([row for one in (first, second) for row in ledger.decisions_about(pipeline, one, ["gate"])])
    pairs = [(first, second), (second, first)]
    return [found[one]["text"] for one, other in pairs if one in found and found[one]["over"] == other]


def _metric(name: str, first: float | None, second: float | None) -> dict[str, Any]:
    difference = None if first is None or second is None else second - first
    better = None
    if difference and direction_of(name):
        better = 2 if (difference > 0) == (direction_of(name) == "higher") else 1
    return {"metric": name, "first": first, "second": second, "difference": difference, "better": better}


def _holdout(record: Mapping[str, Any]) -> Any:
    return (record.get("digests") or {}).get("holdout")
