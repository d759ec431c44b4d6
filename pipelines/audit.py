"""Audit: whether staged scores may be released. Nothing is readable before it passed, and each verdict is recorded."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Any

import ibis.expr.types as ir
import pyarrow.parquet as pq

from pipelines.context import Context
from pipelines.engine import Engine
from pipelines.errors import DataError, shapes
from pipelines.score import open_model
from pipelines.settings.tasks import VALUE_TASKS
from pipelines.staged import Pin, Scores, champion_for, close_pin, pinned, staged_scores, why_nothing

Summary = dict[str, Any]
_BINS = 10
_ROWS_FOR_CONSTANT = 10  # fewer equal scores can be chance, e.g. three alike rows in one leaf
_ROOM = 1e-9  # of the edge
_ROWS_FOR_SHIFT = 100  # below it PSI measures noise: its expectation without drift is about bins / rows
_RELEASES_FOR_SHIFT = 3
_LARGEST = 1.7976931348623157e308  # NaN and infinity compare above it on DuckDB and on Spark


@dataclass
class Findings:
    """Numbers and problems as they are found."""

    numbers: dict[str, Any] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def require(self, holds: bool, check: str, what: str) -> None:
        # `holds` of a NaN comparison is False, so a broken number fails.
        if not holds:
            self.problems.append((f"E-AUDIT-{check}", what))


def audit(context: Context) -> Summary:
    """Judges the staged scores of this run, records PASS or FAIL with all numbers, and refuses when one check fails.

    Raises:
        DataError: E-AUDIT-<CHECK>: SHARDS, ROWS, KEYS, FINITE, RANGE, INTERVAL, CONSTANT, REFUSED, SHIFT, AGE, MODEL.
        ModelError: E-MODEL-HASH when the artifact does not verify.
    """
    pin = pinned(context)
    if pin is None:
        return _without_scores(context)
    with context.scratch("audit") as scratch:
        findings = _judge(context, pin, staged_scores(context, pin, scratch))
    _record(context, pin, findings)
    if findings.problems:
        close_pin(context)
        raise _refusal(context, findings)
    return {"state": "done", "outcome": "PASS", "notes": findings.notes, **findings.numbers}


def _judge(context: Context, pin: Pin, scores: Scores) -> Findings:
    findings = Findings({"staged": scores.digest, "model_version": pin.model_version, "rows": scores.rows})
    open_model(context, pin)
    _check_model(context, pin, scores, findings)
    _check_rows(context, pin, scores, findings)
    with context.engine("audit") as engine:
        table = engine.read_parquet(scores.scored_files)
        _check_keys(engine, table, pin, findings)
        _check_values(context, engine, table, findings)
        _check_certainty(engine, table, pin, findings)
        _check_shift(context, pin, engine, table, findings)
    return findings


def _without_scores(context: Context) -> Summary:
    """Skips when there was nothing to score; anything else is a hole in the chain."""
    published = context.ledger.publication(context.name, "features", context.key)
    if champion_for(context) is None or published is None:
        return {"state": "skipped", "reason": why_nothing(context)}
    raise DataError(
        "E-AUDIT-UNSCORED", context.where, "this run has not scored the features as they are now", "Run 'score' first."
    )


def _check_model(context: Context, pin: Pin, scores: Scores, findings: Findings) -> None:
    used = {(record["model_version"], record["artifact_sha256"]) for record in scores.records}
    findings.require(
        used == {(pin.model_version, pin.artifact_sha256)},
        "MODEL",
        f"all shards must come from version {pin.model_version}, got versions {sorted(version for version, _ in used)}",
    )
    as_of = context.ledger.model(context.name, pin.model_version)["as_of"]
    age = (context.partition.start - as_of) / timedelta(days=1)
    findings.numbers["model_age_days"] = round(age, 3)
    limit = context.pipeline.audit.max_model_age_days
    findings.require(limit is None or age <= limit, "AGE", f"the model must be at most {limit} days old, got {age:.1f}")


def _check_rows(context: Context, pin: Pin, scores: Scores, findings: Findings) -> None:
    """Rows in = scored + refused, the input counted twice: by its publication and by its Parquet files."""
    in_files = pin.features(context).count([context.key])
    scored = sum(pq.read_metadata(path).num_rows for path in scores.scored_files)
    refused = sum(pq.read_metadata(shard.refused).num_rows for shard in scores.shards)
    clean = context.ledger.publication(context.name, "clean", context.key)
    counts = {"features": pin.features_rows, "in_files": in_files, "scored": scored, "refused": refused}
    findings.numbers.update(counts)
    findings.require(
        pin.features_rows == in_files == scored + refused,
        "ROWS",
        f"published features = rows in their files = scored + refused must hold, got {pin.features_rows}, {in_files} "
        f"and {scored} + {refused}",
    )
    findings.require(
        clean is None or clean["row_count"] == pin.features_rows,
        "ROWS",
        f"features must have one row per clean row, got {pin.features_rows} for {clean and clean['row_count']}",
    )
    share = refused / in_files if in_files else 0.0
    findings.numbers["refused_share"] = share
    limit = context.pipeline.audit.max_refused_share
    findings.require(
        share <= limit, "REFUSED", f"at most {limit:.2%} of rows may go without a score, got {share:.2%} ({refused})"
    )


def _check_keys(engine: Engine, table: ir.Table, pin: Pin, findings: Findings) -> None:
    """One row per row id, and per business key where there is one."""
    for columns in dict.fromkeys([("row_id",), pin.key or ("row_id",)]):
        doubled = table.group_by(list(columns)).aggregate(times=table.count()).filter(lambda counted: counted.times > 1)
        count = engine.count(doubled)
        findings.numbers["doubled_" + "_".join(columns)] = count
        if count:
            first = engine.table(doubled.limit(5, offset=0), order_by=columns).to_pylist()
            shown = shapes(",".join(str(row[column]) for column in columns) for row in first)
            what = f"each {', '.join(columns)} must occur once, but {count} do not; they look like {shown}"
            findings.require(False, "KEYS", what)


def _check_values(context: Context, engine: Engine, table: ir.Table, findings: Findings) -> None:
    columns = [name for name in table.columns if name == "score" or name.startswith("score_")]
    for name in columns:
        value = table[name]
        finite = value.notnull() & (value.abs() <= _LARGEST)
        row = engine.table(
            table.aggregate(rows=table.count(), finite=finite.sum(), low=value.min(), high=value.max())
        ).to_pylist()[0]
        low, high, bad = row["low"], row["high"], row["rows"] - (row["finite"] or 0)
        findings.numbers[name] = {"min": _finite(low), "max": _finite(high), "not_finite": bad}
        findings.require(bad == 0, "FINITE", f"'{name}' must be finite, but {bad} values are not")
        if row["rows"] and _is_probability(context):
            inside = low >= 0 and high <= 1
            findings.require(inside, "RANGE", f"'{name}' must lie in [0, 1], got {low:.6g} to {high:.6g}")
        if name == "score" and row["rows"] >= _ROWS_FOR_CONSTANT and not context.pipeline.audit.allow_constant:
            what = f"scores must differ, but all {row['rows']} are {low:.6g} (audit.allow_constant permits it)"
            findings.require(low < high, "CONSTANT", what)


def _check_certainty(engine: Engine, table: ir.Table, pin: Pin, findings: Findings) -> None:
    """What stands beside the score fits it; of a model that cannot say it, in no row."""
    rules = {
        "confidence": lambda: table.confidence.between(0, 1) & (table.confidence <= _LARGEST),
        "prediction_set": lambda: table.prediction_set.length() > 0,
        "prediction_low": lambda: (table.prediction_low <= table.score) & (table.prediction_low >= -_LARGEST),
        "prediction_high": lambda: (table.prediction_high >= table.score) & (table.prediction_high <= _LARGEST),
    }
    for name in pin.certainty:
        counts = table.aggregate(rows=table.count(), known=table[name].notnull().sum(), fitting=rules[name]().sum())
        row = engine.table(counts).to_pylist()[0]
        known, fitting = int(row["known"] or 0), int(row["fitting"] or 0)
        findings.numbers[name] = {"known": known, "fitting": fitting}
        is_empty = known == 0 and name != "confidence"
        if is_empty and row["rows"]:
            findings.notes.append(f"'{name}' is empty: the model was trained without training.intervals")
        findings.require(
            is_empty or fitting == row["rows"],
            "INTERVAL",
            f"'{name}' must fit the score in all {row['rows']} rows, but is missing or does not in "
            f"{row['rows'] - fitting}",
        )


def _is_probability(context: Context) -> bool:
    return context.pipeline.training is None or context.pipeline.training.task not in VALUE_TASKS


def _check_shift(context: Context, pin: Pin, engine: Engine, table: ir.Table, findings: Findings) -> None:
    """PSI of the scores against what the same model gave before, over deciles of that."""
    findings.numbers["shift"] = None
    reference = _reference(context, pin, engine)
    rows = min(sum(reference.counts), engine.count(table))
    if rows < _ROWS_FOR_SHIFT:
        findings.notes.append(f"shift not judged: {rows} rows, {_ROWS_FOR_SHIFT} are needed")
        return
    shift = stability_index(reference.counts, _counts(engine, table, reference.edges))
    findings.numbers |= {"shift": shift, "shift_against": reference.source}
    limit = context.pipeline.audit.max_shift
    findings.require(
        shift <= limit,
        "SHIFT",
        f"the score distribution must stay within PSI {limit} of {reference.source}, got {shift:.3f}",
    )


@dataclass(frozen=True)
class _Usual:
    """Scores that the same model gave before: rows per bin between `edges`."""

    edges: list[float]
    counts: list[int]
    source: str


def _reference(context: Context, pin: Pin, engine: Engine) -> _Usual:
    """The model's last releases before this partition; while there are few of them, its scores on its holdout.

    Another model's releases say nothing: a new champion scores differently by right.
    """
    history = _released_before(context, pin.model_version)[-context.pipeline.audit.history_partitions :]
    snapshot = context.snapshot("predictions")
    if len(history) < _RELEASES_FOR_SHIFT or not snapshot.exists:
        own = context.ledger.model(context.name, pin.model_version)["record"].get("score_reference") or {}
        return _Usual(own.get("edges", []), own.get("counts", []), "its holdout")
    scores = engine.materialize(engine.scan(snapshot, history).select("score"))
    edges = _deciles(engine, scores)
    return _Usual(edges, _counts(engine, scores, edges), f"the last {len(history)} releases")


def _released_before(context: Context, version: int) -> list[str]:
    """Keys of partitions that start before this one and whose release is of this model version, oldest first."""
    released = [
        row["partition"]
        for row in context.ledger.releases(context.name)
        if row["state"] == "released" and row["model_version"] == version
    ]
    return sorted(key for key in set(released) if context.pipeline.parse(key).start < context.partition.start)


def _deciles(engine: Engine, reference: ir.Table) -> list[float]:
    """Exact inner edges of ten equally full bins; fewer where many scores are equal."""
    cuts = {f"q{number}": reference.score.quantile(number / _BINS) for number in range(1, _BINS)}
    return sorted(set(engine.table(reference.aggregate(**cuts)).to_pylist()[0].values()))


def _counts(engine: Engine, table: ir.Table, edges: list[float]) -> list[int]:
    """Rows per bin `(-inf, e1], (e1, e2], ... (ek, inf)`.

    An edge is the score of many rows where a model has few scores, and DuckDB reads a number as a decimal, which may be
    another double in its last digit: without some room all those rows would fall on the wrong side.
    """
    sums = {f"c{number}": (table.score <= edge + _ROOM * abs(edge)).sum() for number, edge in enumerate(edges)}
    below = [int(value) for value in engine.table(table.aggregate(**sums)).to_pylist()[0].values()]
    cumulative = [0, *below, engine.count(table)]
    return [after - before for before, after in pairwise(cumulative)]


def stability_index(reference: list[int], current: list[int]) -> float:
    """Population stability index over bins: sum of (p - q) ln(p / q).

    Half a row is added to each bin, so that an empty bin counts but does not make the index infinite.
    """
    before = [(count + 0.5) / (sum(reference) + 0.5 * len(reference)) for count in reference]
    after = [(count + 0.5) / (sum(current) + 0.5 * len(current)) for count in current]
    return sum((p - q) * math.log(p / q) for p, q in zip(after, before, strict=True))


def _finite(value: float | None) -> float | None:
    """A number that JSON can hold."""
    return value if value is not None and math.isfinite(value) else None


def _record(context: Context, pin: Pin, findings: Findings) -> None:
    context.ledger.record_decision(
        context.name,
        "audit",
        context.key,
        run_id=context.run_id,
        outcome="FAIL" if findings.problems else "PASS",
        model_version=pin.model_version,
        reasons=[f"{code}: {what}" for code, what in findings.problems] + findings.notes,
        numbers=findings.numbers,
    )


def _refusal(context: Context, findings: Findings) -> DataError:
    code, what = findings.problems[0]
    others = "".join(f"; {other} {text}" for other, text in findings.problems[1:4])
    return DataError(
        code,
        context.where,
        what + others,
        "Nothing was released; an earlier release of this partition stays readable.",
    )
