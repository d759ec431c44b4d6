"""What was out of the ordinary, as dated sentences, newest first."""

from __future__ import annotations

from typing import Any

MOST_EVENTS = 12


def story(one: dict[str, Any]) -> list[dict[str, str]]:
    """At most twelve events: `date` (the partition), `kind` (a badge) and `text`.

    Refusals and failures, withdrawn scores, drift that asked for a look or a retrain, gate decisions and rollbacks.
    A promotion is told by its gate decision.
    """
    events = [event for row in one["partitions"] for event in _of_partition(row)]
    events += [_event(gate["partition"], gate["outcome"], _of_gate(gate)) for gate in one["gates"]]
    events += [
        _event(change["since"][:10], "rollback", f"version {change['version']} is back ({change['actor']}): {reason}")
        for change in one["champions"]
        if change["action"] != "promote"
        for reason in [change["reason"]]
    ]
    return sorted(events, key=lambda event: event["date"], reverse=True)[:MOST_EVENTS]


def _of_partition(row: dict[str, Any]) -> list[dict[str, str]]:
    key, found = row["partition"], []
    if row["error"]:
        found.append(_event(key, row["state"], f"stopped at {row['step']}: {_what(row['error'])}"))
    if row["release"] == "retracted":
        found.append(_event(key, "retracted", f"scores withdrawn: {row['release_reason'] or 'no reason given'}"))
    if row["drift"] in ("WATCH", "RETRAIN") and row["drift_reasons"]:
        rest = len(row["drift_reasons"]) - 1
        more = f" ({rest} more reason{'s' if rest > 1 else ''} below)" if rest else ""
        found.append(_event(key, row["drift"], row["drift_reasons"][0] + more))
    return found


def _of_gate(gate: dict[str, Any]) -> str:
    verdict = {
        "PROMOTE": "becomes the champion",
        "HOLD": "was held back, the champion stays",
        "REJECT": "was rejected, the champion stays",
    }.get(gate["outcome"], "was judged")
    return f"version {gate['version']} {verdict}: {gate['reasons'][0] if gate['reasons'] else 'no reason recorded'}"


def _what(error: str) -> str:
    """An error without its code and place, cut at 200 characters; the table below holds all of it."""
    code, _, rest = error.partition(" ")
    text = rest.partition(": ")[2] if code.startswith("E-") and ": " in rest else error
    return text if len(text) <= 200 else text[:197] + "..."


def _event(date: str, kind: str, text: str) -> dict[str, str]:
    return {"date": date, "kind": kind, "text": text}
