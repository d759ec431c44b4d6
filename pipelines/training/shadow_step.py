"""Shadow: a challenger that passed the gate scores beside the champion, and is judged on realised labels.

Its scores lie in a table of their own, `shadow_predictions`: never staged, audited, released or exported. The judge is
the gate's own, `decide`, on rows that neither model has learnt from or been chosen by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from pipelines.context import Context
from pipelines.errors import DataError, ModelError, names
from pipelines.failpoints import reach
from pipelines.ledger import Row
from pipelines.models.device import resolve
from pipelines.monitoring.label_shares import judgeable
from pipelines.monitoring.labels import matured
from pipelines.score import write_scores
from pipelines.shadows import KIND, TABLE, Shadow, current_shadow, scored_beside
from pipelines.staged import Pin, shadow_pin
from pipelines.storage.digests import combined
from pipelines.training.dataset import required
from pipelines.training.decision import Decision, decide
from pipelines.training.policy import Policy, policy_of
from pipelines.training.promotion import promote_shadow, show_champion
from pipelines.training.shadow_start import decisions, record, told

Summary = dict[str, Any]


def shadow(context: Context) -> Summary:
    """Scores this partition with the challenger in shadow; once its nights are labelled, judges, promotes or drops it.

    Runs after the monitor and holds nothing up. A past partition is scored only if it was one of the shadow's, and
    judges nothing. The same inputs give the same bytes and the same decision.
    """
    running = current_shadow(context.ledger, context.name)
    if running is None:
        return _ended(context)
    champion = context.ledger.champion(context.name)
    if context.partition.start < running.since or champion is None:
        return _skipped(f"version {running.version} is in shadow from {running.since:%Y-%m-%d} on: no hindsight")
    released = _released(context, running, champion["version"])
    problem = None
    if context.key in released:
        try:
            _score_beside(context, running, released)
        except (DataError, ModelError) as error:
            problem = f"it cannot score {context.key}, which the champion scored: {error}"
    if not _is_newest(context):
        return _state(running, "done", "a past partition: nothing is judged by it")
    if problem:
        return _drop(context, running, [problem], {"champion": champion["version"]})
    beside = set(scored_beside(context.ledger, context.name, running.version))
    nights = [key for key in released if key in beside][: running.partitions]
    return _judge(context, running, champion, nights)


def _released(context: Context, shadow: Shadow, champion: int) -> list[str]:
    """The shadow's partitions up to this one that the champion now in force scored and released, oldest first.

    After a rollback these are other partitions than before: what counts is the champion that would be replaced.
    """
    training, _ = required(context)
    return [
        row["partition"]
        for row in context.ledger.releases(context.name)
        if row["state"] == "released"
        and row["model_version"] == champion
        and not row["is_hindsight"]
        and row["partition"] <= context.key
        and context.pipeline.parse(row["partition"]).start >= shadow.since
        and row["partition"] not in training.exclude_partitions
    ]


def _is_newest(context: Context) -> bool:
    return not any(row["partition"] > context.key for row in context.ledger.releases(context.name))


def _score_beside(context: Context, shadow: Shadow, released: Sequence[str]) -> None:
    """Publishes this partition's shadow scores, unless there are enough or just these are there."""
    scored = set(scored_beside(context.ledger, context.name, shadow.version))
    enough = [key for key in released if key in scored][: shadow.partitions]
    pin = shadow_pin(context, shadow.version)
    if pin is None or (len(enough) == shadow.partitions and context.key not in enough):
        return
    digest = combined(KIND, pin.digest)
    if context.published(TABLE, digest):
        return
    resolve(context.pipeline.resources_of("shadow"), context.where)
    base = context.snapshot(TABLE)
    with context.scratch("shadow") as folder, context.engine("shadow") as engine:
        paths = folder / "scored.parquet", folder / "refused.parquet"
        (rows, refused), device = write_scores(context, pin, 0, paths, "shadow")
        reach("shadow.scored")
        reader = engine.reader(engine.read_parquet([paths[0]]), order_by=["row_id"])
        facts = {"model_version": shadow.version, "rows": rows, "refused": refused, **device}
        context.publish(TABLE, base, _marked(context, pin, reader), digest, facts)


def _marked(context: Context, pin: Pin, reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """With the partition and the version that every row shares."""
    constants = {"partition": pa.scalar(context.key), "model_version": pa.scalar(pin.model_version, pa.int64())}
    schema = pa.schema([*reader.schema, *((name, value.type) for name, value in constants.items())])
    batches = (
        pa.record_batch([*batch.columns, *(pa.repeat(one, batch.num_rows) for one in constants.values())], schema)
        for batch in reader
    )
    return pa.RecordBatchReader.from_batches(schema, batches)


def _judge(context: Context, shadow: Shadow, champion: Row, nights: list[str]) -> Summary:
    """PROMOTE or DROP once all nights are labelled; until then it waits, but not for ever."""
    waiting = _why_waiting(context, shadow, nights)
    if waiting and context.partition.end < shadow.until:
        return _state(shadow, "done", waiting) | {"scored": len(nights)}
    if waiting:
        reason = f"by {shadow.until:%Y-%m-%d} it could not be judged: {waiting}"
        return _drop(context, shadow, [reason], {"champion": champion["version"], "partitions": nights})
    decision, numbers = _decided(context, shadow, champion, nights)
    if decision.outcome != "PROMOTE":
        return _drop(context, shadow, decision.reasons, numbers)
    record(context, "PROMOTE", shadow.version, decision.reasons, numbers)
    return _promote(context, shadow, champion, decision, nights)


def _why_waiting(context: Context, shadow: Shadow, nights: list[str]) -> str:
    if len(nights) < shadow.partitions:
        return f"{len(nights)} of {shadow.partitions} partitions are scored by both"
    due = matured(context, nights)
    if len(due) < len(nights):
        return f"the labels of {names([key for key in nights if key not in due])} have not matured"
    with context.engine("shadow") as engine:
        found = judgeable(context, engine, nights)
    return found.sentence if found.waiting else ""


def _decided(context: Context, shadow: Shadow, champion: Row, nights: list[str]) -> tuple[Decision, dict[str, Any]]:
    from pipelines.training.gating import plain
    from pipelines.training.shadow_rows import shadow_evaluation

    training, _ = required(context)
    evaluation = shadow_evaluation(context, shadow.version, champion["version"], nights)
    # One test, at the policy's confidence: the year's budget of false promotions was spent when the gate let it in, and
    # these are other rows.
    decision = decide(evaluation, _policy(context), training.seed, tests_per_year=1)
    return decision, plain(
        {
            **decision.numbers(),
            "gate": decision.outcome,
            "policy": context.pipeline.gate.policy,
            "metric": evaluation.metric,
            "champion": champion["version"],
            "since": shadow.since.isoformat(),
            "holdout": {
                "digest": evaluation.holdout_digest,
                "rows": len(evaluation.labels),
                "partitions": evaluation.partitions,
            },
        }
    )


def _policy(context: Context) -> Policy:
    """The gate's, without what it judged already and nights cannot tell: speed, size, a linear model's scores."""
    limits = {"max_seconds_per_1000_rows": None, "max_megabytes": None, "must_beat_linear": False}
    return replace(policy_of(context.pipeline.gate), **limits)  # type: ignore[arg-type]


def _promote(context: Context, shadow: Shadow, champion: Row, decision: Decision, nights: list[str]) -> Summary:
    reason = f"shadow of {len(nights)} partitions ({nights[0]} to {nights[-1]}): {'; '.join(decision.reasons[:1])}"
    since = promote_shadow(context, shadow.version, champion, reason, shadow.approved_by)
    return {
        **_state(shadow, "done", reason),
        "outcome": "PROMOTE",
        "scored": len(nights),
        "reasons": decision.reasons,
        "effective_from": since.isoformat(),
    }


def _drop(context: Context, shadow: Shadow, reasons: Sequence[str], numbers: dict[str, Any]) -> Summary:
    record(context, "DROP", shadow.version, list(reasons), numbers)
    return told(decisions(context)[-1], "done")


def _ended(context: Context) -> Summary:
    """A retry of the run that ended the shadow finds its own word; others find nothing to do."""
    mine = [
        row for row in decisions(context) if row["run_id"] == context.run_id and row["outcome"] in ("PROMOTE", "DROP")
    ]
    if not mine:
        return _skipped("no challenger is in shadow")
    if mine[-1]["outcome"] == "PROMOTE" and (champion := context.ledger.champion(context.name)):
        show_champion(context, champion["version"])
    return told(mine[-1], "unchanged")


def _state(shadow: Shadow, state: str, why: str) -> Summary:
    return {"state": state, "version": shadow.version, "champion": shadow.champion, "why": why}


def _skipped(reason: str) -> Summary:
    return {"state": "skipped", "reason": reason}
