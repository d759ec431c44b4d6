"""Why a partition is refused, and what is only noticed: from the standing checks and the results of the rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pyarrow as pa

from pipelines.context import Context
from pipelines.settings.pipeline import Pipeline
from pipelines.validate import checks
from pipelines.validate.checks import Problem
from pipelines.validate.quarantine import rule_counts
from pipelines.validate.rules import RuleResult
from pipelines.validate.texts import observed_text, rule_text

_MOST_NAMED = 3


def problems_of(
    context: Context,
    rows: pa.Table,
    read: int,
    refused_by_ingest: int,
    reasons: Mapping[int, list[str]],
    volume: Problem | None,
    results: Sequence[RuleResult],
) -> list[Problem]:
    """All reasons to refuse the partition, the most telling first."""
    pipeline = context.pipeline
    nothing = checks.empty(read)
    if nothing:
        return [nothing]
    counts = rule_counts(reasons)
    share = checks.quarantine_share(
        read, refused_by_ingest + len(reasons), counts, pipeline.validate_.max_quarantine_share
    )
    if share and refused_by_ingest:
        counts += _ingest_reasons(context)
        share = checks.quarantine_share(
            read, refused_by_ingest + len(reasons), counts, pipeline.validate_.max_quarantine_share
        )
    found = [volume, checks.nulls(rows, pipeline), checks.freshness(rows, pipeline, context.partition), share]
    return [problem for problem in found if problem] + _rule_problems(results)


def _ingest_reasons(context: Context) -> Counter[str]:
    """How often ingest gave each reason; read only when a partition is about to be refused."""
    snapshot = context.snapshot("quarantine")
    table = snapshot.read([context.key], ["reasons", "stage"])
    return Counter(
        reason.partition(":")[0] for row in table.to_pylist() if row["stage"] == "ingest" for reason in row["reasons"]
    )


def _rule_problems(results: Sequence[RuleResult]) -> list[Problem]:
    broken = [result for result in results if result.error is not None]
    failed = [result for result in results if result.status == "failed"]
    found = []
    if broken:
        texts = [f"{result.rule.rule_id} could not be judged: {result.error}" for result in broken]
        found.append(
            Problem("E-DQ-RULE-ERROR", _cut(texts), "Fix the rule in the suite, then run the partition again.")
        )
    if failed:
        found.append(
            Problem(
                "E-DQ-RULE",
                _cut([_failure(result) for result in failed]),
                "Fix the file and run the partition again, or make the rule 'warning' or wider in the suite.",
            )
        )
    return found


def _failure(result: RuleResult) -> str:
    text = f"{result.rule.rule_id}: {rule_text(result.rule.type, result.rule.kwargs)}"
    if result.rule.is_row_level:
        return f"{text}, got {result.unexpected_count} bad rows ({result.unexpected_percent or 0:.3g} %)"
    observed = observed_text(result.observed)
    return f"{text}, got {observed}" if observed is not None else text


def _cut(texts: list[str]) -> str:
    rest = len(texts) - _MOST_NAMED
    return "; ".join(texts[:_MOST_NAMED]) + (f"; and {rest} more" if rest > 0 else "")


def refusal_text(problems: list[Problem]) -> str:
    """All problems in one text: the first one's code is that of the error, so it is left out."""
    return "; ".join(
        problem.what if not index else f"{problem.code} {problem.what}" for index, problem in enumerate(problems)
    )


def warnings_of(rows: pa.Table, pipeline: Pipeline, results: Sequence[RuleResult]) -> list[str]:
    noticed = [
        f"{result.rule.rule_id}: {rule_text(result.rule.type, result.rule.kwargs)}"
        + (f" ({result.unexpected_count} rows are not)" if result.unexpected_count else "")
        for result in results
        if result.status == "warning"
    ]
    return noticed + checks.oddities(rows, pipeline)
