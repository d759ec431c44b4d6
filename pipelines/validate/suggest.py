"""Rules for a suite from the accepted history: proposed on its older part, kept if quiet on the later one."""

from __future__ import annotations

import difflib
import json
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import DataError
from pipelines.validate.anomaly import Past
from pipelines.validate.proposals import Proposal, proposals
from pipelines.validate.suites import load_suite

LEAST_PARTITIONS = 10
_OLDER_SHARE = 0.7
_SEVERITY = "warning"  # what nobody has read yet must not refuse a night


@dataclass(frozen=True)
class Suggested:
    """A rule that was quiet, as an entry of the suite."""

    rule_id: str
    evidence: str
    entry: dict[str, Any]


@dataclass(frozen=True)
class Dropped:
    """A rule that a later accepted partition would have broken."""

    rule_id: str
    evidence: str
    broken: int
    first: str


@dataclass(frozen=True)
class Suggestions:
    """`older` and `later`: first and last partition and their number. `known`: rules that the suite has already."""

    older: tuple[str, str, int]
    later: tuple[str, str, int]
    kept: tuple[Suggested, ...]
    dropped: tuple[Dropped, ...]
    known: tuple[str, ...]


def suggest(
    where: str,
    history: Sequence[Past],
    existing: Sequence[Mapping[str, Any]],
    required: Sequence[str] = (),
    measured: Sequence[str] = (),
) -> Suggestions:
    """Rules for the partitions of `history` (oldest first) beside the `existing` entries of the suite.

    `required` and `measured` columns: see `proposals`.

    Raises:
        DataError: E-SUGGEST-HISTORY when fewer than ten partitions were accepted.
    """
    if len(history) < LEAST_PARTITIONS:
        raise DataError(
            "E-SUGGEST-HISTORY",
            where,
            f"at least {LEAST_PARTITIONS} accepted partitions are needed, got {len(history)}",
            "Run more days, then ask again.",
        )
    cut = round(_OLDER_SHARE * len(history))
    older, later = history[:cut], history[cut:]
    taken = {_identity(entry["type"], entry["kwargs"]) for entry in existing}
    names = {str(entry["meta"]["rule_id"]) for entry in existing}
    kept, dropped, known = [], [], []
    for proposal in proposals(older, required, measured):
        broken = [past.key for past in later if not proposal.holds(past.profile)]
        if _identity(proposal.type, proposal.kwargs) in taken:
            known.append(proposal.rule_id)
        elif broken:
            dropped.append(Dropped(proposal.rule_id, proposal.evidence, len(broken), broken[0]))
        else:
            rule_id = _free(proposal.rule_id, names)
            names.add(rule_id)
            kept.append(Suggested(rule_id, proposal.evidence, _entry(proposal, rule_id, older, later)))
    return Suggestions(_span(older), _span(later), tuple(kept), tuple(dropped), tuple(known))


def with_rules(text: str | None, suite: str, entries: Sequence[Mapping[str, Any]]) -> str:
    """The suite's file with these entries at the end, everything else as it was; a new file for None."""
    written = ",\n".join(_formatted(entry) for entry in entries)
    if text is None:
        return f'{{\n  "name": {json.dumps(suite)},\n  "expectations": [\n{written}\n  ]\n}}\n'
    document = json.loads(text)
    wanted = document | {"expectations": [*document["expectations"], *entries]}
    for found in re.finditer(r'"expectations"\s*:\s*', text):
        if not text.startswith("[", found.end()):
            continue
        listed, end = json.JSONDecoder().raw_decode(text, found.end())
        joined = ",\n" if listed else "\n"
        changed = f"{text[: end - 1].rstrip()}{joined}{written}\n  ]{text[end:]}"
        if json.loads(changed) == wanted:
            return changed
    return json.dumps(wanted, indent=2, ensure_ascii=False) + "\n"


def difference(before: str | None, after: str, path: str) -> str:
    """A unified diff that `git apply` and `patch -p1` take."""
    old = [] if before is None else before.splitlines(keepends=True)
    source = "/dev/null" if before is None else f"a/{path}"
    return "".join(difflib.unified_diff(old, after.splitlines(keepends=True), source, f"b/{path}"))


def prove(text: str, suite: str, columns: Iterable[str]) -> None:
    """Raises ConfigError E-SUITE-* unless Great Expectations builds every rule of the file."""
    with tempfile.TemporaryDirectory(prefix="nightshift-suggest-") as folder:
        path = Path(folder) / f"{suite}.json"
        path.write_text(text, encoding="utf-8")
        load_suite(path, columns)


def _identity(kind: str, kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    return (kind, *(str(kwargs[name]) for name in ("column", "column_A", "column_B") if name in kwargs))


def _free(rule_id: str, names: set[str]) -> str:
    return next(one for one in (rule_id, *(f"{rule_id[:60]}_{n}" for n in range(2, 999))) if one not in names)


def _entry(proposal: Proposal, rule_id: str, older: Sequence[Past], later: Sequence[Past]) -> dict[str, Any]:
    note = (
        f"suggested from {len(older)} accepted partitions {older[0].key} to {older[-1].key}: {proposal.evidence}; "
        f"quiet on the {len(later)} after them"
    )
    meta = {"rule_id": rule_id, "note": note}
    return {"type": proposal.type, "kwargs": proposal.kwargs, "severity": _SEVERITY, "meta": meta}


def _formatted(entry: Mapping[str, Any]) -> str:
    """An entry as the suites here are written: a line per key, values on one line."""
    lines = [f"      {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items()]
    return "    {\n" + ",\n".join(lines) + "\n    }"


def _span(partitions: Sequence[Past]) -> tuple[str, str, int]:
    return partitions[0].key, partitions[-1].key, len(partitions)
