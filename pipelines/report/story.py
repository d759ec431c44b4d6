"""What was out of the ordinary, as dated sentences, newest first."""

from __future__ import annotations

from typing import Any

MOST_EVENTS = 12
_NOTABLE_SHARE = 0.01  # of the rows read: below, a quarantine is an ordinary night


def story(one: dict[str, Any]) -> list[dict[str, str]]:
    """At most twelve events: `date` (the partition), `kind` (a badge) and `text`.

    Refusals and failures (repaired ones too), notable quarantines, withdrawn scores, drift that asked for a look or a
    retrain, decisions of the gate and about shadows, and rollbacks. A promotion is told by such a decision. Decisions
    about one partition come in the order in which they fell, so that the uppermost one is what holds.
    """
    events = [(event["date"], "", event) for row in one["partitions"] for event in _of_partition(row)]
    beside = {row["version"] for row in one["shadows"] if row["outcome"] in ("START", "HOLD")}
    events += [
        (gate["partition"], gate["decided_at"], _event(gate["partition"], gate["outcome"], _of_gate(gate, beside)))
        for gate in one["gates"]
    ]
    events += [
        (row["partition"], row["decided_at"], _event(row["partition"], f"shadow {row['outcome']}", row["reasons"][0]))
        for row in one["shadows"]
    ]
    for change in one["champions"]:
        if change["action"] != "promote":
            date = _last_before(change["since"], one["partitions"])
            text = f"version {change['version']} is back ({change['actor']}): {change['reason']}"
            events.append((date, change["decided_at"], _event(date, "rollback", text)))
    return [event for _, _, event in sorted(events, key=lambda entry: entry[:2], reverse=True)][:MOST_EVENTS]


def _last_before(since: str, partitions: list[dict[str, Any]]) -> str:
    """The partition after which a champion took over: its gate decision carries the same date."""
    keys = [row["partition"] for row in partitions]
    return max((key for key in keys if key < since[: len(key)]), default=since[:10])


def _of_partition(row: dict[str, Any]) -> list[dict[str, str]]:
    key, found = row["partition"], []
    if row["error"]:
        found.append(_event(key, row["state"], f"stopped at {row['step']}: {_what(row['error'])}"))
    elif row["repaired"]:
        found.append(_event(key, "repaired", f"had stopped, a later run went well: {_what(row['repaired'])}"))
    if row["state"] != "refused" and (row["quarantined"] or 0) > _NOTABLE_SHARE * (row["read"] or 0):
        found.append(_event(key, "quarantined", f"{row['quarantined']:,} of {row['read']:,} rows, see 'checks' below"))
    if row["release"] == "retracted":
        found.append(_event(key, "retracted", f"scores withdrawn: {row['release_reason'] or 'no reason given'}"))
    if row["drift"] in ("WATCH", "RETRAIN") and row["drift_reasons"]:
        rest = len(row["drift_reasons"]) - 1
        more = f" ({rest} more reason{'s' if rest > 1 else ''} below)" if rest else ""
        found.append(_event(key, row["drift"], row["drift_reasons"][0] + more))
    return found


def _of_gate(gate: dict[str, Any], beside: set[int]) -> str:
    """`beside`: versions that passed the gate to be put in shadow."""
    verdict = {
        "PROMOTE": "passed the gate" if gate["version"] in beside else "becomes the champion",
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
