"""Which buttons a page shows, and what it says after one was pressed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipelines.home import Home
from pipelines.pages import addresses
from pipelines.pages.known import settings_of
from pipelines.pages.proposals import ACTIONS

MayStart = Callable[[str], bool]  # of a DAG id: whether Airflow lets this person start it
PAUSED = "paused"
_NO_RIGHT = "Your role in Airflow may look, but not start DAGs. An administrator can change that."
_STARTED = {
    "run": "Airflow has taken the run in.",
    "retract": "The scores are being taken back.",
    "retrain": "The retrain was started.",
    "backfill": "The backfill was started.",
    "replay": "The replay was started.",
    "rollback": "The rollback was started.",
}


@dataclass(frozen=True)
class Offer:
    """A button; `why_not`: it is shown, but leads nowhere, for this reason."""

    text: str
    address: str
    why_not: str = ""


@dataclass(frozen=True)
class Notice:
    text: str
    link: str
    address: str
    is_paused: bool = False


def of_pipeline(home: Home, name: str, may_start: MayStart) -> list[Offer]:
    found = []
    if _trains(home, name):
        found.append(_offer("Retrain now", name, "retrain", "retrain", may_start))
    if settings_of(home, name)[0]:
        found.append(_offer("Start a backfill", name, "backfill", "daily", may_start))
    return found


def of_partition(home: Home, name: str, key: str, has_run: bool, is_released: bool, may_start: MayStart) -> list[Offer]:
    if not settings_of(home, name)[0]:
        return []
    text = "Run this partition again" if has_run else "Run this partition"
    found = [_offer(text, name, "run", "daily", may_start, partition=key)]
    if is_released:
        found.append(_offer("Take these scores back", name, "retract", "retract", may_start, partition=key))
    return found


def of_version(home: Home, name: str, version: int, champions: list[int], may_start: MayStart) -> list[Offer]:
    """`champions`: the versions that were champion, the present one last."""
    if not _trains(home, name):
        return []
    found = [_offer("Replay this version", name, "replay", "replay", may_start, version=str(version))]
    if version in champions[:-1] and version != champions[-1]:
        text = "Make this version the champion again"
        found.append(_offer(text, name, "rollback", "rollback", may_start, version=str(version)))
    return found


def notice(name: str, query: Mapping[str, str]) -> Notice | None:
    """What the page says to whoever comes from a button. The words are ours: an address cannot put others here.

    `query` holds PAUSED where Airflow, and not the address, says that the DAG is paused.
    """
    dag_id = started(name, query)
    if dag_id is None:
        return None
    action, run = query["started"], query.get("run", "")
    is_paused = PAUSED in query
    text = f"{_STARTED[action]} {paused(dag_id)}" if is_paused else _STARTED[action]
    if action == "backfill":
        return Notice(text, "Its progress in Airflow", f"{addresses.airflow_dag(dag_id)}/backfills", is_paused)
    return Notice(text, f"Run {run}", addresses.airflow_run(dag_id, run), is_paused)


def started(name: str, query: Mapping[str, str]) -> str | None:
    """The DAG that a button has just started, as the address says; None where it speaks of none."""
    action, run = query.get("started", ""), query.get("run", "")
    if action not in ACTIONS:
        return None
    if action != "backfill" and not re.fullmatch(rf"page__{action}__[0-9a-f]{{16}}", run):
        return None
    return f"{name}__{'daily' if action in ('run', 'backfill') else action}"


def paused(dag_id: str) -> str:
    also = " From then on it also runs by its schedule again." if dag_id.endswith("__daily") else ""
    return (
        f"{dag_id} is paused in Airflow: its runs wait until somebody turns on the switch beside its name there.{also}"
    )


def _offer(text: str, name: str, action: str, family: str, may_start: MayStart, **given: str) -> Offer:
    why_not = "" if may_start(f"{name}__{family}") else _NO_RIGHT
    return Offer(text, addresses.action(name, action, **given), why_not)


def _trains(home: Home, name: str) -> bool:
    settings, _ = settings_of(home, name)
    return settings is not None and settings.training is not None
