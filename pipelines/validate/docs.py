"""Data Docs: one page per partition and an index, below 5 MB; no script, no network, one file each.

Beside each page the same results as JSON, without sample rows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipelines.context import Context
from pipelines.validate.checks import Problem
from pipelines.validate.rules import RuleResult
from pipelines.validate.texts import masked, observed_text, rule_text

MOST_BYTES = 5_000_000
_MOST_SAMPLES = 20
_FEW_SAMPLES = 3
_MOST_LISTED = 1_000  # partitions in the index; `nightshift status NAME --json` knows all of them
_LONGEST = 2_000  # characters of an observed value, an error or a warning on a page


@dataclass(frozen=True)
class Verdict:
    """How a partition fared: row counts, what refused it, what was only noticed."""

    read: int
    ingest_quarantined: int
    quarantined: int
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]

    @property
    def refused(self) -> bool:
        return bool(self.problems)

    @property
    def passed(self) -> int:
        return self.read - self.ingest_quarantined - self.quarantined


def page_name(key: str) -> str:
    """Below the pipeline's reports."""
    return f"data_docs/{key}.html"


def data_name(key: str) -> str:
    """The same results as data."""
    return f"data_docs/{key}.json"


def has_page(context: Context) -> bool:
    return context.reports.read(page_name(context.key)) is not None


def page_address(context: Context) -> str:
    return context.reports.address(page_name(context.key))


def write_page(context: Context, suite: str, verdict: Verdict, results: Sequence[RuleResult], rows: pa.Table) -> None:
    """Writes the page of this partition and its JSON. They hold no value of a text column, only its shape."""
    entries = [_entry(result, rows) for result in results]
    facts = {"pipeline": context.name, "partition": context.key, "suite": suite}
    html = fitting_page(facts, verdict, entries)
    bare = [{name: value for name, value in entry.items() if name != "samples"} for entry in entries]
    told = {**facts, **asdict(verdict), "refused": verdict.refused, "passed": verdict.passed, "rules": bare}
    context.reports.write(data_name(context.key), json.dumps(told, indent=1, ensure_ascii=False, default=str).encode())
    context.reports.write(page_name(context.key), html.encode())


def fitting_page(facts: dict[str, Any], verdict: Verdict, entries: list[dict[str, Any]]) -> str:
    """The HTML with as much as fits into 5 MB, and a note of what was cut: first samples, then rules that passed."""
    failed = [entry for entry in entries if entry["status"] != "passed"]
    bare = [entry | {"samples": [], "more": 0} for entry in failed]
    attempts: list[tuple[str, list[dict[str, Any]]]] = [
        ("", entries),
        (f"only {_FEW_SAMPLES} examples per rule are shown", [_with_fewer_samples(entry) for entry in entries]),
        ("only rules that did not pass are shown, without examples", bare),
    ]
    attempts.append(("only the first rules that did not pass are shown, without examples", bare[:_MOST_LISTED]))
    for cut, shown in attempts:
        html = (
            _templates()
            .get_template("partition.html.j2")
            .render(**facts, verdict=verdict, rules=shown, judged=len(entries), cut=cut)
        )
        if len(html.encode()) <= MOST_BYTES:
            break
    return html


def _with_fewer_samples(entry: dict[str, Any]) -> dict[str, Any]:
    left_out = max(0, len(entry["samples"]) - _FEW_SAMPLES)
    return entry | {"samples": entry["samples"][:_FEW_SAMPLES], "more": entry["more"] + left_out}


def write_index(context: Context) -> None:
    """Writes the list of all validated partitions, newest first, from the ledger."""
    rows = context.ledger.publications(context.name, "quarantine/validate")
    written = {entry.name for entry in context.reports.entries("data_docs/")}
    entries = [
        {"partition": row["partition"], **row["facts"]}
        for row in reversed(rows)
        if page_name(row["partition"]) in written
    ]
    context.reports.write(page_name("index"), index_page(context.name, entries).encode())


def index_page(pipeline: str, entries: Sequence[dict[str, Any]]) -> str:
    """The HTML of the newest thousand of these partitions (facts of their publications, newest first)."""
    shown, left_out = entries[:_MOST_LISTED], max(0, len(entries) - _MOST_LISTED)
    page = _templates().get_template("index.html.j2")
    return page.render(pipeline=pipeline, entries=shown, left_out=left_out, longest=_LONGEST)


def _entry(result: RuleResult, rows: pa.Table) -> dict[str, Any]:
    """What the page shows of one rule."""
    rule = result.rule
    chosen = pa.array(result.rows[:_MOST_SAMPLES], pa.int64())
    values = rows.select([*rule.columns, "row_id"]).take(chosen).to_pylist() if result.rows else []
    return {
        "rule_id": rule.rule_id,
        "text": rule_text(rule.type, rule.kwargs),
        "type": rule.type,
        "note": rule.note,
        "severity": rule.severity,
        "status": result.status,
        "error": _cut(result.error),
        "observed": _cut(observed_text(result.observed)),
        "count": result.unexpected_count,
        "percent": result.unexpected_percent,
        "more": max(0, len(result.rows) - _MOST_SAMPLES),
        "samples": [
            {
                "row_id": row["row_id"],
                "values": ", ".join(f"{name} {masked(row[name])}" for name in dict.fromkeys(rule.columns)),
            }
            for row in values
        ],
    }


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


@lru_cache(maxsize=1)
def _templates() -> Environment:
    """Every value is escaped, and a name that a template misspells is an error."""
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
