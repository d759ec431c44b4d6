"""The message of one night: facts that differ from the night before, then what stayed, what to do, where to look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.ledger import Row
from pipelines.notify.message import Message, Mood, first_reason, links
from pipelines.notify.safe import Safe

# A quarantine share jumps when it at least doubles and one more row in a hundred is refused.
_JUMP_SHARE, _JUMP_FACTOR = 0.01, 2.0
# Twice the rows of the night before, or half of them, are worth a line.
_VOLUME_FACTOR = 2.0
# What a night came to, in words. 'clean': accepted, and nothing was released.
_STATES = {
    "released": "released",
    "clean": "accepted, no scores",
    "absent": "no data",
    "refused": "refused",
    "held": "scores held back",
    "failed": "failed",
    "retracted": "scores taken back",
    "running": "still running",
}
_BAD = ("refused", "held", "failed")


@dataclass(frozen=True)
class Night:
    """`now` and `before`: the partition and the one before it, as `pipelines.report.status` describes them.

    `champion`: the champion row in force for this partition; `promotions`: of this night, that is effective after the
    start of the partition before and up to the start of this one. `gates` and `shadows`: decisions since the night
    before; `waiting`: an approval that somebody can still give.
    """

    pipeline: str
    now: dict[str, Any]
    before: dict[str, Any] | None = None
    champion: Row | None = None
    promotions: Sequence[Row] = ()
    gates: Sequence[Row] = ()
    shadows: Sequence[Row] = ()
    waiting: Row | None = None


def night_message(night: Night, safe: Safe, base_url: str) -> Message:
    """The same ledger gives the same message, but for what may be waiting for an answer."""
    now = night.now
    facts = list(_facts(night, safe))
    todo = tuple(_todo(night))
    word = _STATES.get(now["state"], now["state"])
    versions = sorted({row["version"] for row in night.promotions} | {row["model_version"] for row in _judged(night)})
    return Message(
        kind="night",
        topic=f"night {now['state']} {now['release_id'] or ''}".strip(),
        pipeline=night.pipeline,
        partition=now["partition"],
        mood=_mood(night, bool(todo)),
        title=f"{night.pipeline} {now['partition']}: {word}{_besides(night)}",
        changed=tuple(text for is_new, text in facts if is_new),
        same=tuple(text for is_new, text in facts if not is_new),
        todo=todo,
        links=links(base_url, night.pipeline, now["partition"], versions),
    )


def _besides(night: Night) -> str:
    """What a reader of the title alone must not miss."""
    words = []
    if night.promotions:
        words.append(f"new champion v{night.promotions[-1]['version']}")
    if night.now["drift"] == "RETRAIN":
        words.append("drift asks for a retrain")
    if night.waiting:
        words.append("an approval is waited for")
    return "".join(f", {word}" for word in words)


def _mood(night: Night, has_todo: bool) -> Mood:
    if night.now["state"] in _BAD:
        return "bad"
    return "look" if has_todo or night.now["drift"] in ("WATCH", "RETRAIN") or night.promotions else "good"


def _facts(night: Night, safe: Safe) -> Iterator[tuple[bool, str]]:
    """Each fact with whether it is news; in the order of their weight."""
    yield _state(night, safe)
    yield from _champion(night, safe)
    yield from _drift(night, safe)
    yield from _rows(night)
    told = {row["version"] for row in night.promotions}
    for row in (*night.gates, *night.shadows):
        if row["outcome"] != "PROMOTE" or row["model_version"] not in told:
            yield True, _decided(row, safe)
    if night.waiting:
        yield True, f"version {night.waiting['model_version']} {first_reason(night.waiting)}"


def _state(night: Night, safe: Safe) -> tuple[bool, str]:
    now = night.now
    state = now["state"]
    if state in _BAD:
        where = f" at {now['step']}" if now["step"] else ""
        return True, f"{_STATES[state]}{where}: {safe.error(now['error'] or '')}{_since(night)}"
    if state == "released":
        by = f"version {now['model']}" + (", with hindsight" if now["is_hindsight"] else "")
        repaired = "; it had stopped before and went well now" if now["repaired"] else ""
        return True, f"released: {now['scored']:,} rows, scored by {by}{repaired}{_since(night)}"
    reason = now["release_reason"] if state == "retracted" else now["accounting_reason"]
    text = _STATES.get(state, state) + (f": {safe.text(reason)}" if reason else "")
    return night.before is None or night.before["state"] != state, text + _since(night)


def _since(night: Night) -> str:
    """The night before where it came to something else."""
    before = night.before
    if before is None or before["state"] == night.now["state"]:
        return ""
    return f" (the night before: {_STATES.get(before['state'], before['state'])})"


def _champion(night: Night, safe: Safe) -> Iterator[tuple[bool, str]]:
    for row in night.promotions:
        what = "was put back" if row["action"] == "rollback" else "is the champion"
        yield True, f"version {row['version']} {what} since this night, by {row['actor']}: {safe.text(row['reason'])}"
    if night.champion is None:
        yield False, "there is no champion yet, so nothing is scored"
    elif not night.promotions:
        since = f"{night.champion['effective_from']:%Y-%m-%d}"
        yield False, f"champion: version {night.champion['version']}, since {since}"


def _drift(night: Night, safe: Safe) -> Iterator[tuple[bool, str]]:
    now, before = night.now["drift"], night.before["drift"] if night.before else None
    if now is None:
        return
    why = f": {safe.text(night.now['drift_reasons'][0])}" if now != "OK" and night.now["drift_reasons"] else ""
    was = f", it was {before}" if before and before != now else ""
    yield now != before and (before is not None or now != "OK"), f"drift: {now}{was}{why}"


def _rows(night: Night) -> Iterator[tuple[bool, str]]:
    now, before = night.now, night.before
    if not now["read"]:
        return
    share, earlier = _share(now), _share(before) if before else None
    text = f"quarantine: {now['quarantined']:,} of {now['read']:,} rows ({share:.1%})"
    jumped = earlier is not None and share - earlier >= _JUMP_SHARE and share >= _JUMP_FACTOR * earlier
    yield jumped, text + (f", {earlier:.1%} the night before" if jumped and earlier is not None else "")
    parts = f"{now['clean']:,} clean + {now['quarantined']:,} quarantined + {now['duplicate']:,} duplicate"
    read_before = (before or {}).get("read") or 0
    factor = max(now["read"], read_before) / min(now["read"], read_before) if read_before else 1.0
    unusual = factor >= _VOLUME_FACTOR
    told = f"; {read_before:,} the night before" if unusual else ""
    yield unusual, f"rows: {now['read']:,} read = {parts}{told}"


def _share(row: dict[str, Any]) -> float:
    return float(row["quarantined"] or 0) / row["read"] if row["read"] else 0.0


def _decided(row: Row, safe: Safe) -> str:
    if row["kind"] != "gate":
        return f"version {row['model_version']} in shadow, {row['outcome']}: {safe.text(first_reason(row))}"
    verdict = {"PROMOTE": "passed the gate", "HOLD": "was held back by the gate", "REJECT": "was rejected by the gate"}
    word = verdict.get(row["outcome"], "was judged by the gate")
    return f"version {row['model_version']} {word}: {safe.text(first_reason(row))}"


def _judged(night: Night) -> list[Row]:
    """Decisions about versions that are worth a look."""
    passed = [row for row in night.gates if row["outcome"] == "PROMOTE"]
    return [*passed, *([night.waiting] if night.waiting else [])]


def _todo(night: Night) -> Iterator[str]:
    now, name = night.now, night.pipeline
    again = f"nightshift run {name} --from {now['partition']} --to {now['partition']}"
    if now["state"] == "refused":
        yield f"repair the input and clear task 'ingest' of the run, or: {again}"  # which reads the repaired input
    elif now["state"] == "held":
        yield "look at the scores; release nothing before the reason is known"
    elif now["state"] == "failed":
        yield f"read the log of task '{now['step']}', remove the cause and clear the task"
    if night.waiting:
        yield "answer the question about the promotion (Browse > Required Actions)"
    if now["is_stale"]:
        yield f"inputs changed since this partition was built: {again}"
