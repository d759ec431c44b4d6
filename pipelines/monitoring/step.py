"""Monitor: one partition against what its champion was trained on, and the decision OK, WATCH or RETRAIN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipelines.context import Context
from pipelines.engine import Engine
from pipelines.failpoints import reach
from pipelines.ledger import Row
from pipelines.monitoring.decision import Decision, Vote, decide
from pipelines.monitoring.evidence import bootstrap_labels, gather
from pipelines.monitoring.history import decisions_before, facts_of, may_trigger, since_last_retrain, votes_before
from pipelines.monitoring.inputs import (
    champion_reference,
    measured_parts,
    monitored_columns,
    reference_digest,
    reference_partitions,
    rows_of,
    weekdays,
)
from pipelines.monitoring.output import Found, compact, write_html, write_no_data, write_numbers
from pipelines.monitoring.reference import Reference, with_profile
from pipelines.monitoring.schema import schema_reasons
from pipelines.monitoring.statistics import Profile, profiles
from pipelines.monitoring.verdict import judge_partition, with_alarms
from pipelines.staged import champion_for
from pipelines.storage.digests import combined
from pipelines.storage.tables import Snapshot

Summary = dict[str, Any]


def monitor(context: Context) -> Summary:
    """Decides for one partition, writes the numbers (Parquet, ledger) and the report (HTML).

    Reads the champion's reference, this partition and earlier ones, never later ones, so the same inputs give the
    same decision whenever it runs. `trigger` in the summary says whether a retrain is to be started now: not for a
    past partition, nor when the champion that scored it has been replaced already.
    """
    features = context.snapshot("features")
    publication = context.ledger.publication(context.name, "features", context.key)
    if publication is None:
        return {"state": "skipped", "reason": "no features were published for this partition"}
    if not publication["row_count"]:
        return _no_data(context)
    chosen = champion_for(context)
    if chosen is None:
        return _bootstrap(context)
    champion, _ = chosen
    model = context.ledger.model(context.name, champion["version"])
    with context.engine("monitor") as engine:
        found = _examine(context, engine, features, champion, model)
        decision = _decide(context, champion, found)
        write_numbers(context, found)
        reach("drift.mid")
        remarks = write_html(context, engine, features, found, decision)
    return _record(context, decision, compact(found) | remarks, champion["version"], found.digest)


def _examine(context: Context, engine: Engine, features: Snapshot, champion: Row, model: Row) -> Found:
    kinds = monitored_columns(context, features, model)
    keys = reference_partitions(context, model)
    digest = reference_digest(context, keys, kinds, champion["version"])
    whole = champion_reference(context, engine, features, keys, kinds, digest)
    reference = with_profile(whole, weekdays(context, keys), context.pipeline.monitor.weekday_profile)
    rows, profile = _profile(engine, features, context.key, reference, kinds)
    importance = model["record"].get("importance") or {}
    today = weekdays(context, [context.key]).get(context.key)
    measured = measured_parts(features, kinds)
    verdict = judge_partition(reference, profile, rows, importance, context.pipeline.monitor, today, measured)
    verdict = with_alarms(verdict, schema_reasons(features.schema(), model["record"].get("features")))
    evidence = gather(context, engine, champion, model, keys)
    return Found(
        champion["version"], kinds, reference, digest, profile, rows, verdict, evidence, _basis(context, digest)
    )


def _profile(
    engine: Engine, features: Snapshot, key: str, reference: Reference, kinds: dict[str, str]
) -> tuple[int, Profile]:
    """Rows of the partition and its statistics in the reference's bins."""
    table = rows_of(engine, features, [key], kinds)
    bins = {name: column.bins for name, column in reference.columns.items()}
    return engine.count(table), profiles(engine, table, bins).get(key, {})


def _decide(context: Context, champion: Row, found: Found) -> Decision:
    earlier = decisions_before(context)
    votes = [*votes_before(earlier, champion["version"]), Vote(context.key, found.grade, found.reasons)]
    decision = decide(votes, context.pipeline.monitor, facts_of(context, champion, earlier, found.evidence))
    return replace(decision, reasons=(*decision.reasons, *found.evidence.notes))


def _bootstrap(context: Context) -> Summary:
    """No champion scored this partition: asks for a first one when the labels suffice and none exists yet."""
    training = context.pipeline.training
    if training is None:
        return _record(context, Decision("OK", ("NO_MODEL this pipeline trains no model.",)), {}, None, "")
    if context.ledger.champion(context.name) is not None:
        reason = "NO_CHAMPION no champion was in force when this partition began, so nothing was scored."
        return _record(context, Decision("OK", (reason,)), {}, None, "")
    with context.engine("monitor") as engine:
        partitions, rows = bootstrap_labels(context, engine)
    needed = max(2 * training.holdout_partitions, context.pipeline.retrain.first_after_partitions)
    what = "rows" if context.pipeline.label is None else "matured labels"
    have = f"{rows:,} {what} in {partitions} partitions"
    waited = since_last_retrain(context, decisions_before(context))
    if partitions < needed or rows < training.min_rows:
        reason = f"BOOTSTRAP no champion yet; {have}, {training.min_rows:,} in {needed} needed to train a first one."
        decision = Decision("OK", (reason,))
    elif waited is not None and waited <= context.pipeline.monitor.cooldown_partitions:
        reason = f"BOOTSTRAP no champion yet; a first one was asked for {waited} partitions ago ({have})."
        decision = Decision("WATCH", (reason,))
    else:
        decision = Decision("RETRAIN", (f"BOOTSTRAP no champion yet, and {have} suffice to train a first one.",))
    return _record(context, decision, {"labels": rows, "labelled_partitions": partitions}, None, f"bootstrap {rows}")


def _no_data(context: Context) -> Summary:
    reason = "NO_DATA no features were published for this partition, so nothing was compared."
    write_no_data(context, reason)
    return _record(context, Decision("OK", (reason,)), {}, None, "", outcome="NO_DATA")


def _basis(context: Context, reference: str) -> str:
    """Digest of what this decision was made from, apart from the history of decisions."""
    return combined(
        "monitor-1",
        context.pipeline.monitor.digest(),
        reference,
        *(sorted(context.content_digests(table, [context.key]).items()) for table in ("features", "predictions")),
    )


def _record(
    context: Context,
    decision: Decision,
    numbers: Mapping[str, Any],
    version: int | None,
    digest: str,
    outcome: str | None = None,
) -> Summary:
    outcome = outcome or decision.outcome
    trigger = outcome == "RETRAIN" and may_trigger(context, digest)
    context.ledger.record_decision(
        context.name,
        "drift",
        context.key,
        run_id=context.run_id,
        outcome=outcome,
        model_version=version,
        reasons=list(decision.reasons),
        numbers={**numbers, "input_digest": digest, "trigger": trigger},
    )
    return {
        "state": "done",
        "decision": outcome,
        "reasons": list(decision.reasons),
        "trigger": trigger,
        "model_version": version,
        "report": numbers.get("report"),
        "warnings": list(numbers.get("warnings", [])),
    }
