"""What was out of the ordinary, as dated sentences, newest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
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


def without_repeats(events: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Events that say the same of several partitions as one, told at its newest, with the others' count."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    first: dict[tuple[str, str], str] = {}
    times: Counter[tuple[str, str]] = Counter()
    for event in events:
        said = (event["kind"], event["text"].partition(" (")[0])
        found.setdefault(said, dict(event))
        first[said] = event["date"]
        times[said] += 1
    for said, event in found.items():
        if times[said] > 1:
            event["text"] += f"; {times[said]} times since {first[said]}"
    return list(found.values())


def notes(one: Mapping[str, Any]) -> list[str]:
    """What explains the state without asking for anything."""
    if one["partitions"] and one["champion"] is None:
        return ["There is no champion yet: the monitor asks for a first model once enough labels have matured."]
    found = [f"In shadow: {one['shadow']['text']}."] if one["shadow"] else []
    return found + _watched(one["partitions"])


def _watched(partitions: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the monitor thinks of the newest partition that it has seen, unless that is nothing."""
    newest = next((row for row in partitions if row["drift"]), None)
    if newest is None or newest["drift"] not in ("WATCH", "RETRAIN") or not newest["drift_reasons"]:
        return []
    return [f"The monitor says {newest['drift']} of {newest['partition']}: {newest['drift_reasons'][0]}"]


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
        more = f" ({rest} more reason{'s' if rest > 1 else ''})" if rest else ""
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
