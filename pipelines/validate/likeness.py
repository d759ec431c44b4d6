"""What becomes of a partition that looks unlike the accepted ones before it, in words that name the statistic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from pipelines.context import Context
from pipelines.ledger import Row
from pipelines.storage.digests import combined
from pipelines.validate.anomaly import Finding, Judgement, Past, judge
from pipelines.validate.checks import Problem
from pipelines.validate.profiles import accepted_before, profile_of, season_of
from pipelines.validate.texts import masked

CODE = "E-DQ-ANOMALY"
_FIX = (
    "Fix the file and run the partition again. If the data are right, name the partition in 'validate.accept' (of a "
    "change that stays, its first one in 'validate.history_start' too), then run it again."
)
_MOST_SAID = 3
_PHRASES = {
    "rows": "the number of rows",
    "missing": "the share of missing values",
    "distinct": "the share of distinct values",
    "distinct_count": "the number of distinct values",
    "most_frequent": "the share of the most frequent value",
    "largest_rare": "the share of one value that used to be rare",
    "new": "the share of values never seen before",
    "new_pattern": "the share of texts of a form never seen before",
    "mixture": "the difference to the most similar mixture of its values so far",
    "outside": "the share of rows that other partitions have before its first or after its last time",
    "zero": "the share of zeros",
    "negative": "the share of negative numbers",
    "whole": "the share of whole numbers",
    "blank": "the share of blank texts",
    "min": "the smallest value",
    "max": "the largest value",
    "std": "the standard deviation",
    "peculiarity": "how unusually letters follow each other",
    **{f"q{share:02d}": f"the value that {share} % of the rows stay below" for share in (5, 25, 75, 95)},
    "q50": "the median",
    "length_std": "the standard deviation of the length",
    **{f"length_{name}": f"the {word} length" for name, word in (("min", "smallest"), ("max", "largest"))},
    "length_mean": "the mean length",
    **{name: f"the share of {name} among the characters" for name in ("digits", "spaces")},
    "upper": "the share of capitals among the characters",
    "lower": "the share of small letters among the characters",
    "other": "the share of signs among the characters",
}


@dataclass(frozen=True)
class Likeness:
    """What is said of a partition's likeness: warnings, or the reason to refuse it, and the numbers for the ledger."""

    warnings: tuple[str, ...] = ()
    problem: Problem | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def likeness(context: Context, raw: Row, read: Callable[[], pa.Table]) -> Likeness:
    """Compares the partition of `raw` with the accepted ones before it, and keeps its profile.

    Says nothing with `validate.anomaly: ignore`, of a partition without rows, and with fewer accepted partitions than
    `validate.min_history`. Reads nothing later than the partition.
    """
    settings = context.pipeline.validate_
    if settings.anomaly == "ignore" or not raw["row_count"]:
        return Likeness()
    found = profile_of(context, context.partition, raw, read)
    history = accepted_before(context)
    if len(history) < settings.min_history:
        return Likeness(facts={"partitions": len(history)})
    judgement = judge(found, season_of(context.partition), history)
    return _outcome(context, judgement, history)


def _outcome(context: Context, judgement: Judgement, history: list[Past]) -> Likeness:
    settings = context.pipeline.validate_
    facts = _facts(judgement, history)
    if not judgement.is_anomalous:
        return Likeness(facts=facts)
    sentences = [sentence(finding, judgement.partitions) for finding in judgement.findings]
    if context.key in settings.accept:
        return Likeness((f"accepted by 'validate.accept' although {sentences[0]}",), facts=facts)
    if settings.anomaly == "warn":
        return Likeness(tuple(f"unlike before: {text}" for text in sentences), facts=facts)
    told = "; ".join(sentences[:_MOST_SAID])
    rest = len(sentences) - _MOST_SAID
    told += f"; and {rest} more" if rest > 0 else ""
    return Likeness(problem=Problem(CODE, f"the partition looks unlike those before it: {told}", _FIX), facts=facts)


def sentence(finding: Finding, partitions: int) -> str:
    """`hum: the mean was 0.2 to 0.9 in the last 180 accepted partitions and should be about 0.6, but is 43`."""
    subject = f"{finding.column}: " if finding.column else ""
    return (
        f"{subject}{_phrase(finding.statistic)} was {finding.low:.4g} to {finding.high:.4g} in the last {partitions} "
        f"accepted partitions and should be about {finding.expected:.4g}, but is {finding.found:.4g}"
    )


def _phrase(statistic: str) -> str:
    name, _, of = statistic.partition(":")
    if name == "below":
        return f"the share of rows in which it is less than {of}"
    if name == "differs":
        return f"the share of rows in which it is not what most rows with the same {of} have"
    if name == "follows":
        return f"how far it rises and falls with {of} (rank correlation)"
    if name == "value":
        return f"the share of the value {of if _is_number(of) else masked(of)}"
    if name == "pattern":
        return f"the share of texts of the form '{of}'"
    return _PHRASES.get(name, f"the {name}")


def _is_number(text: str) -> bool:
    return text.lstrip("-").replace(".", "", 1).isdigit()


def _facts(judgement: Judgement, history: list[Past]) -> dict[str, Any]:
    return {
        "score": judgement.score,
        "limit": judgement.limit,
        "statistics": judgement.statistics,
        "partitions": judgement.partitions,
        "first": history[0].key,
        "last": history[-1].key,
        "history": combined(*(f"{one.key} {one.raw_digest}" for one in history)),
        "findings": [asdict(finding) for finding in judgement.findings],
    }
