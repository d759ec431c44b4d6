"""What a model card says, as data: from the ledger, from what `evaluate` wrote, and from the pipeline's file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from pipelines.ledger import Ledger, Row
from pipelines.report.card_preparation import preparation_facts
from pipelines.report.card_uncertainty import uncertainty_facts
from pipelines.settings import Pipeline
from pipelines.storage.files import Files

FOLDER = "models"
_MOST_FEATURES = 20
_OF_ONE_ANSWER = 0.5  # balanced accuracy where every row is called the same


class Place(Protocol):
    """What a card needs of a run's context; a page has no run."""

    @property
    def name(self) -> str: ...
    @property
    def pipeline(self) -> Pipeline: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def reports(self) -> Files: ...
    def staged(self, *parts: str) -> Files: ...


def card_facts(context: Place, version: int) -> dict[str, Any]:
    """What both forms of the card say. A value that nobody filled in or computed is None or empty."""
    row = context.ledger.model(context.name, version)
    record = row["record"]
    evaluation = _measured(context, record, version, "evaluation")
    explanation = _measured(context, record, version, "explanation")
    gate = _gate(context, version)
    return {
        "pipeline": context.name,
        "version": version,
        "owner": context.pipeline.owner,
        "description": context.pipeline.description,
        "as_of": row["as_of"].isoformat(),
        "words": context.pipeline.card.model_dump(mode="json"),
        "record": record,
        "model": _model(row),
        "label": context.pipeline.label.model_dump(mode="json") if context.pipeline.label else None,
        "data": _data(record),
        "evaluation": evaluation,
        "metrics": _metrics(record, evaluation),
        "explanation": explanation,
        "preparation": preparation_facts(record),
        "uncertainty": uncertainty_facts(record),
        **_importance(record, explanation),
        "gate": gate,
        "unsaid": unsaid(record, evaluation, explanation, context.pipeline.gate.slice_min_rows),
    }


def unsaid(
    record: Mapping[str, Any],
    evaluation: Mapping[str, Any] | None,
    explanation: Mapping[str, Any] | None,
    slice_min_rows: int,
) -> list[str]:
    """What the card's numbers do not say, as sentences made from facts."""
    holdout = record.get("holdout_partitions") or []
    found = []
    has_labels = (record.get("settings") or {}).get("label", "some") is not None
    rows = "labelled rows" if has_labels else "rows"
    if not has_labels:
        found.append("There are no labels: nobody knows how good the model is. The gate looked for degeneration alone.")
    elif holdout:
        found.append(f"Quality is known for {_span(holdout)} only; other seasons and later changes were not seen.")
    for count, what in (
        ("unlabelled", "matured rows had no label and were neither learnt from nor judged"),
        ("incomplete", f"{rows} lacked a feature that must be there and were left out"),
    ):
        if record.get(count):
            found.append(f"{record[count]:,} {what}.")
    found += [f"In training: {warning}" for warning in (record.get("facts") or {}).get("warnings", [])]
    if evaluation:
        found += _unsaid_of_evaluation(evaluation, slice_min_rows)
    permutation = (explanation or {}).get("permutation", {})
    if permutation.get("not_measured"):
        found.append(
            f"The importance of {permutation['not_measured']:,} weaker features was not measured, to bound the cost."
        )
    return found


def _unsaid_of_evaluation(evaluation: Mapping[str, Any], slice_min_rows: int) -> list[str]:
    found = [f"The {name} could not be judged: {problem}" for name, problem in sorted(evaluation["problems"].items())]
    undefined = [name for name, value in evaluation["metrics"].get("challenger", {}).items() if value is None]
    if undefined:
        found.append(f"Undefined on this holdout: {', '.join(sorted(undefined))}.")
    judged = evaluation["metrics"].get("challenger", {})
    if judged.get("f1") == 0 and judged.get("balanced_accuracy") == _OF_ONE_ANSWER:
        found.append(
            "No score of the holdout reaches 0.5: accuracy, balanced_accuracy, f1 and mcc are those of a model that "
            "says no to every row. Whoever uses the scores needs a threshold of their own."
        )
    small = [one for one in evaluation.get("slices", []) if one["rows"] < slice_min_rows]
    if small:
        found.append(f"{len(small)} slice(s) have fewer than {slice_min_rows} rows: too few to be judged.")
    if evaluation["champion_overlap"]:
        share = evaluation["champion_overlap"]
        found.append(f"The champion had learnt from {share:.0%} of the holdout's partitions, which flatters it.")
    return found


def _measured(context: Place, record: Mapping[str, Any], version: int, name: str) -> dict[str, Any] | None:
    """What `evaluate` wrote, or what the last card knew of it once staging was swept; None when it has not run."""
    content = None
    if "snapshot_id" in record:
        content = context.staged("retrain", record["snapshot_id"]).read(f"{name}-{version}.json")
    if content is not None:
        found: dict[str, Any] | None = json.loads(content)
        return found
    kept = context.reports.at(FOLDER).read(f"{version}.json")
    return None if kept is None else json.loads(kept)[name]


def _gate(context: Place, version: int) -> dict[str, Any] | None:
    mine = context.ledger.decisions_about(context.name, version, ["gate"])
    if not mine:
        return None
    numbers = mine[-1]["numbers"]
    return {
        "outcome": mine[-1]["outcome"],
        "partition": mine[-1]["partition"],
        "reasons": list(mine[-1]["reasons"]),
        "policy": numbers.get("policy"),
        "champion": numbers.get("champion"),
        "checks": numbers.get("checks", []),
    }


def _model(row: Row) -> dict[str, Any]:
    """How the version was made, by name."""
    record = row["record"]
    made, settings = record.get("made_from") or {}, record.get("settings") or {}
    facts = {name: value for name, value in (record.get("facts") or {}).items() if name in ("rounds", "early_stopped")}
    libraries = (record.get("facts") or {}).get("libraries") or {}
    others = {name: version for name, version in made.get("libraries", {}).items() if version != "none"}
    return {
        "family": record.get("family"),
        "estimator": record.get("estimator"),
        "task": record.get("task"),
        "parameters": {**(record.get("parameters") or {}), **facts},
        "seed": record.get("seed"),
        **({"warm_start": _told(record["warm_start"])} if record.get("warm_start") else {}),
        "device": record.get("device"),
        "code": record.get("code_version"),
        "settings": settings.get("pipeline"),
        "python": made.get("python"),
        "machine": made.get("machine"),
        "lock": made.get("lock"),
        "libraries": dict(sorted({**others, **libraries}.items())),
        "artifact": row["artifact_sha256"],
        "mlflow_run": row["mlflow_run_id"],
        "snapshot": record.get("snapshot_id"),
    }


def _told(warm_start: Mapping[str, Any]) -> str | None:
    from pipelines.training.warm_start import told  # with all that fits models

    return told(warm_start)


def _data(record: Mapping[str, Any]) -> dict[str, Any]:
    rows = record.get("rows") or {}
    parts = {
        part: {
            "rows": rows.get(name),
            "partitions": len(record.get(f"{part}_partitions") or []),
            "first": (record.get(f"{part}_partitions") or [None])[0],
            "last": (record.get(f"{part}_partitions") or [None])[-1],
        }
        for part, name in (("training", "train"), ("holdout", "holdout"))
    }
    return {**parts, "tables": record.get("tables") or {}, "features": record.get("features") or {}}


def _metrics(record: Mapping[str, Any], evaluation: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """One row per metric: the challenger's value, its interval, the others' values; the gate's metric first."""
    own = evaluation["metrics"].get("challenger", {}) if evaluation else record.get("holdout_metrics") or {}
    others = {name: row for name, row in evaluation["metrics"].items() if name != "challenger"} if evaluation else {}
    ranges = evaluation.get("intervals", {}) if evaluation else {}
    better = evaluation.get("better", {}) if evaluation else {}
    main = evaluation["metric"] if evaluation else None
    return [
        {
            "name": name,
            "value": value,
            "interval": ranges.get(name),
            "is_main": name == main,
            "better": better.get(name),
            **{other: others.get(other, {}).get(name) for other in ("champion", "constant", "linear")},
        }
        for name, value in sorted(own.items(), key=lambda item: item[0] != main)
    ]


def _importance(record: Mapping[str, Any], explanation: Mapping[str, Any] | None) -> dict[str, Any]:
    """`importance`: permutation loss, mean contribution and the model's own share per feature, the strongest first.

    `unused`: names of features without which no score was different.
    """
    own = record.get("importance") or {}
    measured = {row["feature"]: row for row in (explanation or {}).get("permutation", {}).get("features", [])}
    added = {row["feature"]: row["mean"] for row in (explanation or {}).get("contributions", {}).get("features", [])}
    has_own = any(own.values())
    order = [*measured, *sorted((name for name in own if name not in measured), key=lambda name: -(own[name] or 0))]
    rows = [
        {
            "feature": name,
            "loss": measured.get(name, {}).get("loss"),
            "spread": measured.get(name, {}).get("spread"),
            "contribution": added.get(name),
            "share": own.get(name) if has_own else None,
        }
        for name in order
    ]
    unused = [row["feature"] for row in rows if row["loss"] == row["spread"] == 0 and not (row["share"] or 0)]
    used = [row for row in rows if row["feature"] not in unused]
    return {"importance": used[:_MOST_FEATURES], "left_out": max(0, len(used) - _MOST_FEATURES), "unused": unused}


def _span(partitions: list[str]) -> str:
    return partitions[0] if len(partitions) == 1 else f"{partitions[0]} to {partitions[-1]}"
