"""Two versions side by side: how good, made of what, by which settings, and what the gate said of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.home import Home
from pipelines.ledger import Ledger
from pipelines.pages import addresses
from pipelines.pages.known import ledger_of
from pipelines.pages.rendering import render
from pipelines.report.comparison import comparison

_MOST_IMPORTANT = 15


def page(home: Home, name: str, left: int | None, right: int | None) -> str:
    """Without a choice: the newest version and the champion, or the one before it.

    Raises:
        ModelError: E-MODEL-UNKNOWN when one was never registered.
    """
    ledger = ledger_of(home)
    known = ledger.version_numbers(name)
    champions = [row["version"] for row in ledger.champions(name)]
    chosen = pair(known, champions[-1] if champions else None, left, right)
    return render(
        "compare",
        way=[(name, addresses.pipeline(name))],
        pipeline=name,
        known=known,
        champion=champions[-1] if champions else None,
        chosen=chosen,
        one=comparison(home, name, *chosen, ledger) | sides(ledger, name, chosen) if chosen else None,
    )


def pair(known: list[int], champion: int | None, left: int | None, right: int | None) -> tuple[int, int] | None:
    """Which two are shown; `known`: newest first. None where there are not two, or one was chosen twice."""
    right = right if right is not None else next((one for one in known if one != left), None)
    others = [one for one in (champion, *known) if one is not None and one != right]
    left = left if left is not None else next(iter(others), None)
    return None if left is None or right is None or left == right else (left, right)


def sides(ledger: Ledger, name: str, chosen: tuple[int, int]) -> dict[str, Any]:
    """What the comparison in a terminal does not hold: rows, features of one side alone, importances, gates."""
    records = [ledger.model(name, version)["record"] for version in chosen]
    features = [set(record.get("features") or {}) for record in records]
    gates = [ledger.decisions_about(name, version, ["gate"]) for version in chosen]
    return {
        "sides": [_side(record) for record in records],
        "only": [sorted(features[0] - features[1]), sorted(features[1] - features[0])],
        "shared": len(features[0] & features[1]),
        "importance": importances(*records),
        "gates": [found[-1] if found else None for found in gates],
    }


def _side(record: Mapping[str, Any]) -> dict[str, Any]:
    rows = record.get("rows") or {}
    return {
        part: {"rows": rows.get(name), "partitions": list(record.get(f"{part}_partitions") or [])}
        for part, name in (("training", "train"), ("holdout", "holdout"))
    }


def importances(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The models' own shares per feature, those with the largest share on either side; None: not a feature there."""
    left, right = then.get("importance") or {}, now.get("importance") or {}
    rows = [{"feature": name, "left": left.get(name), "right": right.get(name)} for name in {*left, *right}]
    rows.sort(key=lambda row: (-max(row["left"] or 0, row["right"] or 0), row["feature"]))
    return rows[:_MOST_IMPORTANT]
