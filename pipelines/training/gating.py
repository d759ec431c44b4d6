"""The gate's step: judges the challenger and writes the decision into the ledger and MLflow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pipelines.context import Context
from pipelines.ledger import Row
from pipelines.report.model_card import write_card
from pipelines.storage.durable import canonical_json
from pipelines.training.budget import tests_per_year
from pipelines.training.candidates import CHALLENGER, CHAMPION
from pipelines.training.dataset import Frozen, read_frozen, required
from pipelines.training.decision import Decision, decide
from pipelines.training.evaluation import evaluate_candidates
from pipelines.training.leakage import Sides, leakage_checks
from pipelines.training.policy import Check, Policy, policy_of
from pipelines.training.promotion import promotion_of
from pipelines.training.registry import annotate, attach
from pipelines.training.risk import Promotion, risks


def gate(context: Context, snapshot_id: str, version: int) -> dict[str, Any]:
    """`outcome`, `reasons` and the champion it was compared with. A retry decides again on the same holdout.

    Once its promotion is done the decision stands: judged again, the model would be compared with itself.
    """
    if promoted := promotion_of(context, version):
        return _as_decided(context, version, promoted)
    frozen = read_frozen(context, snapshot_id)
    training, _ = required(context)
    evaluation = evaluate_candidates(context, snapshot_id, version)
    policy = policy_of(context.pipeline.gate)
    tests = tests_per_year(context)
    before = [*_run_checks(context, frozen), *_leakage_checks(context, frozen, policy)]
    decision = decide(evaluation, policy, training.seed, before, tests)
    champion = evaluation.candidates.get(CHAMPION)
    numbers = {
        **decision.numbers(),
        "policy": context.pipeline.gate.policy,
        "tests_per_year": tests,
        "alpha": policy.alpha(tests),
        "champion_age_days": evaluation.champion_age_days,
        "metric": evaluation.metric,
        "champion": champion.version if champion else None,
        "champion_overlap": evaluation.champion_overlap,
        "holdout": {
            "digest": evaluation.holdout_digest,
            "rows": len(evaluation.labels),
            "partitions": evaluation.partitions,
        },
        "snapshot_id": snapshot_id,
    }
    numbers = plain(numbers)
    risky = _risks(context, frozen, version, numbers) if decision.outcome == "PROMOTE" else []
    numbers |= {"risks": risky}
    context.ledger.record_decision(
        context.name,
        "gate",
        context.key,
        run_id=context.run_id,
        outcome=decision.outcome,
        model_version=version,
        reasons=decision.reasons,
        numbers=numbers,
    )
    _tell_mlflow(context, version, decision, numbers)
    write_card(context, version)
    return {
        "state": "done",
        "outcome": decision.outcome,
        "version": version,
        "champion": numbers["champion"],
        "reasons": decision.reasons,
        "risks": risky,
        "holdout_digest": evaluation.candidates[CHALLENGER].holdout_digest,
    }


def _as_decided(context: Context, version: int, promoted: Row) -> dict[str, Any]:
    mine = [
        row
        for row in context.ledger.decisions(context.name, "gate", context.key)
        if row["run_id"] == context.run_id and row["model_version"] == version
    ]
    return {
        "state": "unchanged",
        "outcome": mine[-1]["outcome"] if mine else "PROMOTE",
        "version": version,
        "champion": mine[-1]["numbers"]["champion"] if mine else None,
        "reasons": mine[-1]["reasons"] if mine else [promoted["reason"]],
        "risks": mine[-1]["numbers"].get("risks") if mine else None,
        "holdout_digest": mine[-1]["numbers"]["holdout"]["digest"] if mine else None,
    }


def _risks(context: Context, frozen: Frozen, version: int, numbers: dict[str, Any]) -> list[str]:
    """What a person should know before this promotion; see `pipelines.training.risk`."""
    ledger, name, champion = context.ledger, context.name, numbers["champion"]
    used = [*frozen.training_partitions, *frozen.holdout_partitions]
    decided = {row["partition"]: row["outcome"] for row in ledger.decisions(name, "drift")}
    promotion = Promotion(
        numbers=numbers,
        mine=ledger.model(name, version)["record"],
        theirs=ledger.model(name, champion)["record"] if champion is not None else None,
        warned=_warned(context, used),
        drifted=[key for key in used if decided.get(key) == "RETRAIN"],
    )
    return risks(promotion)


def _warned(context: Context, used: list[str]) -> list[str] | None:
    """Partitions whose newest validation left warnings; None when one of them has none recorded."""
    said = {
        row["partition"]: row["summary"]["warnings"]
        for row in context.ledger.attempts(context.name)
        if row["step"] == "validate" and "warnings" in (row["summary"] or {})
    }
    return [key for key in used if said[key]] if said.keys() >= set(used) else None


def _run_checks(context: Context, frozen: Frozen) -> list[Check]:
    """What must hold whatever the scores say: accepted training days, and no promotion by hindsight."""
    accepted = {row["partition"] for row in context.ledger.accounting(context.name) if row["state"] == "clean"}
    used = [*frozen.training_partitions, *frozen.holdout_partitions]
    refused = [key for key in used if key not in accepted]
    data = Check(
        "training data",
        not refused,
        f"{len(used)} training and holdout partitions passed their data gate"
        if not refused
        else f"partitions {refused[:5]} were refused after the snapshot was taken",
    )
    champion = context.ledger.champion(context.name)
    late = champion is not None and context.partition.end < champion["effective_from"]
    hindsight = Check(
        "hindsight",
        not late,
        "BACKFILL: the champion in force was chosen for later days; a past date registers models but never promotes"
        if late
        else "no later champion exists",
    )
    return [data, hindsight]


def _leakage_checks(context: Context, frozen: Frozen, policy: Policy) -> Iterator[Check]:
    training, label = required(context)
    if policy.leakage is None:
        return
    train, holdout = (frozen.table(context, part) for part in ("train", "holdout"))
    sides = Sides(train, holdout, training.task, frozen.types, context.pipeline.key, training.group)
    yield from leakage_checks(sides, policy.leakage, label is not None)


def _tell_mlflow(context: Context, version: int, decision: Decision, numbers: dict[str, Any]) -> None:
    """The outcome as tags, each check as a metric, and `gate.json` with every number and the exact holdout."""
    tags = {
        "gate.outcome": decision.outcome,
        "gate.reasons": "; ".join(decision.reasons),
        "gate.holdout": numbers["holdout"]["digest"],
    }
    annotate(context, version, tags, {f"gate.{check.name}.passed": float(check.passed) for check in decision.checks})
    facts = {"outcome": decision.outcome, "reasons": decision.reasons, **numbers}
    attach(context, version, {"gate.json": canonical_json(facts)})


def plain(value: Any) -> Any:
    """Numbers that JSON can hold: NaN and infinity become None, numpy scalars Python's."""
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
