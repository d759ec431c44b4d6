"""What is known of one model version, as plain data: its card, what was decided about it, what it scored, its past."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from pipelines.drill import KIND as DRILL
from pipelines.errors import NightshiftError
from pipelines.home import Home
from pipelines.ledger import Ledger, Row
from pipelines.pages import addresses
from pipelines.pages.known import ledger_of, settings_of
from pipelines.pages.made import Task, mlflow_run, mlflow_version
from pipelines.pages.partition_facts import is_of_airflow
from pipelines.report.card_facts import FOLDER, card_facts
from pipelines.settings import Pipeline
from pipelines.shadows import KIND as SHADOW
from pipelines.shadows import current_shadow
from pipelines.storage.files import Files

_DECIDED = ("gate", "approval", SHADOW, DRILL)
_MOST_REPLAYS = 200


@dataclass(frozen=True)
class _Place:
    """What the card needs; see `pipelines.report.card_facts.Place`."""

    home: Home
    pipeline: Pipeline
    ledger: Ledger

    @property
    def name(self) -> str:
        return self.pipeline.name

    @property
    def reports(self) -> Files:
        return self.home.files("reports", self.name)

    def staged(self, *parts: str) -> Files:
        return self.home.files("staging", self.name, *parts)


def version_facts(home: Home, name: str, version: int) -> dict[str, Any]:
    """`card` is None, with the reason in `no_card`, where the settings of the pipeline cannot be read.

    Raises:
        ModelError: E-MODEL-UNKNOWN when it was never registered.
    """
    ledger = ledger_of(home)
    row = ledger.model(name, version)
    champions = ledger.champions(name)
    decided = ledger.decisions_about(name, version, _DECIDED)
    card, no_card = _card(home, ledger, name, version)
    shadow = current_shadow(ledger, name)
    is_shadow = shadow is not None and shadow.version == version
    reign = [one for one in reigns(champions) if one["version"] == version]
    return {
        "pipeline": name,
        "version": version,
        "row": {key: row[key] for key in ("run_id", "as_of", "created_at", "artifact_uri", "artifact_sha256")},
        "record": row["record"],
        "state": state(version, champions, is_shadow, decided),
        "reigns": reign,
        "champions": [one["version"] for one in champions],
        "card": card,
        "no_card": no_card,
        "card_page": _card_page(home, name, version),
        "gate": next((one for one in reversed(decided) if one["kind"] == "gate"), None),
        "decisions": [_decision(one) for one in reversed(decided)],
        "scored": dict(ledger.scored_by(name, version)),
        "replays": _replays(ledger.attempts_of_step(name, "replay", _MOST_REPLAYS), version),
        "links": _mlflow_links(home, name, row),
        "run": row["run_id"] if is_of_airflow(row["run_id"]) else None,
        "known": ledger.version_numbers(name),
    }


def reigns(champions: Sequence[Row]) -> list[dict[str, Any]]:
    """Each change of champion with its end, oldest first; `until` is None for the present one."""
    return [
        {
            "version": row["version"],
            "action": row["action"],
            "reason": row["reason"],
            "actor": row["actor"],
            "from": row["effective_from"],
            "until": later["effective_from"] if later else None,
        }
        for row, later in zip_longest(champions, champions[1:])
    ]


def state(version: int, champions: Sequence[Row], is_shadow: bool, decided: Sequence[Row]) -> str:
    """In words: what this version is now."""
    held = [row["version"] for row in champions]
    if held and held[-1] == version:
        return "champion"
    if is_shadow:
        return "in shadow"
    if version in held:
        return "former champion"
    outcomes = [row["outcome"] for row in decided if row["kind"] == "gate"]
    return {"HOLD": "held back", "REJECT": "rejected"}.get(outcomes[-1], "challenger") if outcomes else "not judged"


def _card(home: Home, ledger: Ledger, name: str, version: int) -> tuple[dict[str, Any] | None, str]:
    pipeline, wrong = settings_of(home, name)
    if pipeline is None:
        return None, wrong or f"'{name}' is not configured any more."
    try:
        return card_facts(_Place(home, pipeline, ledger), version), ""
    except NightshiftError as error:
        return None, str(error)


def _card_page(home: Home, name: str, version: int) -> str | None:
    """Address of the full card, where it was written."""
    path = f"{FOLDER}/{version}.html"
    written = any(entry.name == path for entry in home.files("reports", name).entries(path))
    return addresses.report(f"{name}/{path}") if written else None


def _decision(row: Row) -> dict[str, Any]:
    names = ("kind", "outcome", "partition", "decided_at")
    return {name: row[name] for name in names} | {"reasons": list(row["reasons"])}


def _replays(rows: Sequence[Row], version: int) -> list[dict[str, Any]]:
    """Newest first. One that was killed has no summary and cannot be told to be of this version."""
    mine = [row for row in rows if (row["summary"] or {}).get("version") == version]
    return [
        {
            "state": row["state"],
            "verdict": row["summary"].get("verdict"),
            "differences": list(row["summary"].get("differences") or []),
            "inputs": row["summary"].get("inputs"),
            "settings": row["summary"].get("settings"),
            "started_at": row["started_at"],
            "run_id": row["run_id"],
            "is_of_airflow": is_of_airflow(row["run_id"]),
        }
        for row in mine
    ]


def _mlflow_links(home: Home, name: str, row: Row) -> list[tuple[str, str]]:
    task = Task(home, name, row["run_id"], known={"version": row["version"], "mlflow_run_id": row["mlflow_run_id"]})
    found = (("MLflow run", mlflow_run(task)), ("MLflow version", mlflow_version(task)))
    return [(text, address) for text, address in found if address]
