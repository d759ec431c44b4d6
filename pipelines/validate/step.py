"""The step `validate`: raw rows in; bad rows to quarantine, or the whole partition when it cannot be trusted."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from typing import Any

import pyarrow as pa

from pipelines.context import Context
from pipelines.errors import ConfigError, DataError
from pipelines.failpoints import reach
from pipelines.ingest.columns import raw_schema
from pipelines.ledger import Row
from pipelines.storage.digests import combined
from pipelines.validate import checks, docs
from pipelines.validate.checks import Problem
from pipelines.validate.docs import Verdict
from pipelines.validate.likeness import Likeness, likeness
from pipelines.validate.outcome import problems_of, refusal_text, warnings_of
from pipelines.validate.quarantine import STAGE, quarantine_reader, reasons_by_row, rule_counts
from pipelines.validate.rules import run_suite
from pipelines.validate.suites import Suite, load_suite

Summary = dict[str, Any]
TABLE = f"quarantine/{STAGE}"
_VERSION = "validate/2"
# Settings whose whole effect is the verdict on likeness: accepting one day must not touch the others.
_IN_VERDICT = {"anomaly", "min_history", "history_partitions", "history_start", "accept"}


def validate(context: Context) -> Summary:
    """Judges the partition of `raw` by its suite and by the checks that always hold.

    Publishes the stage `validate` of `quarantine` (one row per bad row, or per row when the partition is refused)
    and writes the Data Docs page. The same inputs change nothing; a refused partition is refused again.

    Raises:
        DataError: E-DQ-*: the partition is refused and all its rows are in quarantine.
        ConfigError: E-SUITE-*, E-DQ-ROW-LIMIT.
    """
    raw = context.ledger.publication(context.name, "raw", context.key)
    if _is_absent(context, raw):
        return {"state": "skipped", "reason": "the partition is absent"}
    if raw is None:
        raise DataError("E-DQ-INPUT", context.where, "nothing was ingested for this partition", "Run 'ingest' first.")
    base, source = context.snapshot("quarantine"), context.snapshot("raw")
    suite = load_suite(context.home.expectations / f"{context.pipeline.suite}.json", context.pipeline.source.columns)
    refused_by_ingest = _ingest_quarantined(context)
    read = int(raw["row_count"]) + refused_by_ingest
    volume = checks.volume(read, _history(context), context.pipeline.validate_.volume)
    _require_row_limit(context, int(raw["row_count"]))
    read_rows = cache(lambda: _read(context, source, int(raw["row_count"])))
    like = likeness(context, raw, read_rows)
    digest = _input_digest(context, raw, suite, volume, like)
    known = context.published(TABLE, digest)
    if known and docs.has_page(context):
        return _conclude(context, known, "unchanged")
    rows = read_rows()
    results = run_suite(suite, rows.select(list(context.pipeline.source.columns))) if rows.num_rows else []
    reasons = reasons_by_row(results, rows)
    problems = problems_of(context, rows, read, refused_by_ingest, reasons, volume, results)
    problems += [like.problem] if like.problem else []
    refusal = refusal_text(problems)
    verdict = Verdict(
        read=read,
        ingest_quarantined=refused_by_ingest,
        quarantined=rows.num_rows if problems else len(reasons),
        problems=tuple(problems),
        warnings=(*warnings_of(rows, context.pipeline, results), *like.warnings),
    )
    reach("validate.mid")
    docs.write_page(context, suite.name, verdict, results, rows)
    published = context.publish(
        "quarantine",
        base,
        quarantine_reader(rows, list(context.pipeline.source.columns), reasons, refusal),
        digest,
        _facts(verdict, suite, rule_counts(reasons), refusal, raw["content_digest"]) | {"anomaly": like.facts},
        stage=STAGE,
    )
    reach("quarantine.after_write")
    return _conclude(context, published, "done")


def _conclude(context: Context, published: Row, state: str) -> Summary:
    """The summary of a publication, or its refusal: also what a retry after a crash gets."""
    facts = published["facts"]
    docs.write_index(context)
    if facts["refused"]:
        context.ledger.set_accounting(
            context.name,
            context.key,
            state="refused",
            read=facts["read"],
            clean=0,
            quarantined=facts["read"],
            duplicate=0,
            reason=f"{facts['error']['code']}: {facts['error']['what']}",
            run_id=context.run_id,
        )
        error = facts["error"]
        raise DataError(
            error["code"],
            context.where,
            f"{error['what']}. All {facts['read']} rows are in quarantine and nothing was published",
            error["fix"],
        )
    return {
        "state": state,
        "rows": facts["rows"],
        "quarantined": facts["quarantined"],
        "warnings": facts["warnings"],
        "refused": False,
        "data_docs": docs.page_address(context),
        "rules": facts["rules"],
    }


def _is_absent(context: Context, raw: Row | None) -> bool:
    """Whether ingest found nothing and says so after (or instead of) any publication of raw rows."""
    found = next((row for row in context.ledger.accounting(context.name) if row["partition"] == context.key), None)
    if found is None or found["state"] != "absent":
        return False
    return raw is None or raw["published_at"] <= found["updated_at"]


def _ingest_quarantined(context: Context) -> int:
    found = context.ledger.publication(context.name, "quarantine/ingest", context.key)
    return int(found["row_count"]) if found else 0


def _history(context: Context) -> list[int]:
    return checks.volume_history(context.ledger.accounting(context.name), context.key)


def _input_digest(context: Context, raw: Row, suite: Suite, volume: Problem | None, like: Likeness) -> str:
    """Everything that decides the outcome. Of the history only its verdicts: a median may move without effect."""
    pipeline = context.pipeline
    settings = pipeline.validate_.model_dump(mode="json", exclude=_IN_VERDICT)
    refused = context.ledger.publication(context.name, "quarantine/ingest", context.key)
    columns = {name: (column.type, column.optional) for name, column in pipeline.source.columns.items()}
    label = pipeline.label.column if pipeline.label and not pipeline.label.source else None
    return combined(
        _VERSION,
        raw["content_digest"],
        refused["content_digest"] if refused else "",
        suite.digest,
        json.dumps([settings, list(columns.items()), pipeline.event_time, label]),
        volume.what if volume else "",
        *like.warnings,
        like.problem.what if like.problem else "",
    )


def _require_row_limit(context: Context, rows: int) -> None:
    limit = context.pipeline.validate_.gx_row_limit
    if rows > limit:
        raise ConfigError(
            "E-DQ-ROW-LIMIT",
            context.where,
            f"'validate.gx_row_limit' must be at least the {rows} rows of the partition, got {limit}",
            "Raise it (about 0.5 GiB of memory per million rows), or use a shorter partition.",
        )


def _read(context: Context, source: Any, expected: int) -> pa.Table:
    """The partition of `raw`, sorted by row id; no row when none was published."""
    schema = raw_schema(context.pipeline.source.columns)
    if not source.files([context.key]):
        rows = schema.empty_table()
    else:
        rows = source.read([context.key], schema.names).cast(schema).sort_by("row_id").combine_chunks()
    if rows.num_rows != expected:
        raise DataError(
            "E-ACC-BALANCE",
            context.where,
            f"'raw' must hold the {expected} rows that the ledger knows, got {rows.num_rows}",
            repeat="ingest",
        )
    return rows


def _facts(verdict: Verdict, suite: Suite, counts: Counter[str], refusal: str, raw_digest: str) -> dict[str, Any]:
    first = verdict.problems[0] if verdict.problems else None
    return {
        "raw_digest": raw_digest,
        "rows": verdict.read - verdict.ingest_quarantined,
        "read": verdict.read,
        "ingest_quarantined": verdict.ingest_quarantined,
        "quarantined": verdict.quarantined,
        "refused": verdict.refused,
        "error": {"code": first.code, "what": refusal, "fix": first.fix} if first else None,
        "warnings": list(verdict.warnings),
        "rules": len(suite.rules),
        "reasons": dict(sorted(counts.items())),
    }
