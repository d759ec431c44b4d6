"""Data Docs: one page per partition and an index; no script, no network, one file each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipelines.context import Context
from pipelines.validate.checks import Problem
from pipelines.validate.rules import RuleResult
from pipelines.validate.texts import masked, observed_text, rule_text

_MOST_SAMPLES = 20


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


def has_page(context: Context) -> bool:
    return context.reports.read(page_name(context.key)) is not None


def page_address(context: Context) -> str:
    return context.reports.address(page_name(context.key))


def write_page(context: Context, suite: str, verdict: Verdict, results: Sequence[RuleResult], rows: pa.Table) -> None:
    """Writes the page of this partition. It holds no value of a text column, only its shape."""
    page = _templates().get_template("partition.html.j2")
    html = page.render(
        pipeline=context.name,
        partition=context.key,
        suite=suite,
        verdict=verdict,
        rules=[_entry(result, rows) for result in results],
    )
    context.reports.write(page_name(context.key), html.encode())


def write_index(context: Context) -> None:
    """Writes the list of all validated partitions, newest first, from the ledger."""
    rows = context.ledger.publications(context.name, "quarantine/validate")
    written = {entry.name for entry in context.reports.entries("data_docs/")}
    entries = [
        {"partition": row["partition"], **row["facts"]}
        for row in reversed(rows)
        if page_name(row["partition"]) in written
    ]
    html = _templates().get_template("index.html.j2").render(pipeline=context.name, entries=entries)
    context.reports.write(page_name("index"), html.encode())


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
        "error": result.error,
        "observed": observed_text(result.observed),
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
