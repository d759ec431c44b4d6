"""Who agreed to a promotion: decisions of kind 'approval' in the ledger, and what a person is asked.

One decision per retrain run that asked: WAITING while nobody answered, then YES, NO, TIMEOUT, or BY RULE where
`retrain.approve: on_risk` found nothing to ask about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pipelines.ledger import Ledger, Row
from pipelines.pages import addresses

KIND = "approval"
WAITING, YES, NO, TIMEOUT, BY_RULE = "WAITING", "YES", "NO", "TIMEOUT", "BY RULE"
RULE = "rule: no risk found"


def record(
    ledger: Ledger,
    pipeline: str,
    partition: str,
    run_id: str,
    version: int | None,
    outcome: str,
    numbers: Mapping[str, Any],
) -> None:
    """Writes what became of the question of one run; asked or answered again (a retry), it replaces its own."""
    ledger.record_decision(
        pipeline,
        KIND,
        partition,
        run_id=run_id,
        outcome=outcome,
        model_version=version,
        reasons=[sentence(outcome, numbers)],
        numbers=dict(numbers),
    )


def sentence(outcome: str, numbers: Mapping[str, Any]) -> str:
    """What the history says. `numbers`: `until` of the question; `by` and `answered_at` of an answer."""
    if outcome == WAITING:
        return f"waits for a person until {moment(numbers['until'])}; without an answer the champion stays"
    if outcome == BY_RULE:
        return f"approved by {RULE}"
    if outcome == TIMEOUT:
        return f"nobody answered by {moment(numbers.get('until') or numbers['answered_at'])}: the champion stays"
    who = f"{numbers.get('by') or 'somebody'} at {moment(numbers['answered_at'])}"
    return f"approved by {who}" if outcome == YES else f"refused by {who}: the champion stays"


def waiting(ledger: Ledger, pipeline: str, now: datetime | None = None) -> Row | None:
    """The newest question that somebody can still answer; one whose time is up has kept the champion."""
    asked = [row for row in ledger.decisions(pipeline, KIND) if row["outcome"] == WAITING]
    open_ones = [row for row in asked if datetime.fromisoformat(row["numbers"]["until"]) > (now or datetime.now(UTC))]
    return open_ones[-1] if open_ones else None


def question(
    pipeline: str, gate: Mapping[str, Any], numbers: Mapping[str, Any], until: str, after: str, asks_always: bool
) -> str:
    """What Airflow's form shows, as Markdown: the outcome, what is risky, the numbers, the page of the version.

    `gate`: the summary of the gate's task; `numbers`: of its decision in the ledger (empty where there is none);
    `after`: what a yes leads to where that is not a promotion at once.
    """
    version, champion = gate.get("version"), gate.get("champion")
    place = f"take the place of version {champion}" if champion is not None else "become the first champion"
    lines = [f"The gate says **{gate.get('outcome')}**: version {version} may {place}."]
    lines += ["", f"Asked for: {gate['trigger']}"] if gate.get("trigger") else []
    lines += ["", *_risks(gate.get("risks"), asks_always), "", *_table(numbers)]
    lines += [f"* {_plain(reason)}" for reason in gate.get("reasons") or []]
    lines += ["", f"[Everything about version {version}]({addresses.version(pipeline, version)})"] if version else []
    return "\n".join([*lines, "", f"Without an answer until {moment(until)} the champion stays. {after}".rstrip()])


def _risks(found: Sequence[str] | None, asks_always: bool) -> list[str]:
    if found:
        return ["**What is risky**", "", *(f"* {_plain(risk)}" for risk in found)]
    if found is None:
        return ["**What is risky** is not in the gate's record; clear the task 'gate' to have it told."]
    return ["**What is risky**: nothing was found." + (" This pipeline always asks." if asks_always else "")]


def _table(numbers: Mapping[str, Any]) -> list[str]:
    rows = [row for check in numbers.get("checks") or [] if (row := _row(check["name"], check["numbers"]))]
    if not rows:
        return []
    head = ["| | challenger | compared with | limit |", "|---|---|---|---|"]
    return [*head, *("| " + " | ".join(_plain(cell) for cell in row) + " |" for row in rows), ""]


def _row(name: str, found: Mapping[str, Any]) -> tuple[str, str, str, str] | None:
    """One line of the table, of the checks that compare two numbers."""
    if "gain" in found and "lower" in found:
        against = "champion" if name == "champion" else f"{name.removeprefix('baseline ')} baseline"
        gain = f"gain {_number(found['gain'], '+')}, at least {_number(found['lower'], '+')}"
        # A linear model need not be beaten; see docs/gate.md.
        needed = "" if name == "baseline linear" else f" (over {_number(found.get('margin') or 0.0)} needed)"
        what = f"{found['metric']} against the {against}"
        return what, _number(found["challenger"]), _number(found["other"]), gain + needed
    if name.startswith("slice "):
        allowed = f"loss of {_number(found['allowed_loss'])} allowed"
        return f"{name} ({found['rows']:,} rows)", _number(found["challenger"]), _number(found["champion"]), allowed
    if name in ("calibration", "coverage") or " gap " in name:
        mine = found.get("error", found.get("challenger"))
        shown = {"calibration": "calibration error", "coverage": "error of the quantile"}.get(name, name)
        return shown, _number(mine), _number(found.get("champion")), f"at most {_number(found['limit'])}"
    return None


def _number(value: Any, sign: str = "") -> str:
    return format(value, f"{sign}.4f") if isinstance(value, int | float) else "not known"


def _plain(text: Any) -> str:
    """Text that neither ends a table's cell nor becomes a link or a picture."""
    escaped = str(text)
    for mark in ("\\", "|", "[", "]", "<", "*", "`", "_"):
        escaped = escaped.replace(mark, f"\\{mark}")
    return " ".join(escaped.split())


def moment(at: str | datetime) -> str:
    """`2026-03-02 05:30 UTC`"""
    found = datetime.fromisoformat(at) if isinstance(at, str) else at
    return f"{found.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
