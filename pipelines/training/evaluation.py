"""Challenger, champion and simple baselines, scored by one task on one frozen holdout."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.context import Context
from pipelines.errors import DataError, ModelError, StorageError, names
from pipelines.explanations.heatmaps import picture_files
from pipelines.models import load_model
from pipelines.models.model import Model
from pipelines.settings.tasks import TWO_VALUED_TASKS
from pipelines.settings.training import Training
from pipelines.storage.durable import canonical_json
from pipelines.training.baselines import baselines
from pipelines.training.candidates import CHALLENGER, CHAMPION, Candidate, Evaluation
from pipelines.training.dataset import TARGET, Frozen, read_frozen, required
from pipelines.training.fit_step import rounded
from pipelines.training.metrics import metrics, wanted_metric
from pipelines.training.policy import policy_of
from pipelines.training.uncertainty import covered
from pipelines.training.unlabelled import (
    AGREEMENT,
    SILHOUETTE,
    Measured,
    gate_facts,
    measure_anomalies,
    measure_segments,
    own_question,
    score_facts,
)
from pipelines.training.warm_start import seen_by

_TIMED_ROWS = 20_000


def evaluate(context: Context, snapshot_id: str, version: int) -> dict[str, Any]:
    """Metrics of all candidates on the holdout and why the challenger scores as it does, for people and for the gate.

    Both are written beside the snapshot and into MLflow, and the model card says them.
    """
    from pipelines.report.model_card import write_card
    from pipelines.training.judged import judged
    from pipelines.training.registry import annotate, attach

    training, _ = required(context)
    evaluation = evaluate_candidates(context, snapshot_id, version)
    found = {name: _metrics(evaluation, candidate) for name, candidate in evaluation.candidates.items()}
    frozen = read_frozen(context, snapshot_id)
    facts = {
        "snapshot_id": snapshot_id,
        "version": version,
        "champion": _version(evaluation),
        "metric": evaluation.metric,
        "rows": len(evaluation.labels),
        "holdout_digest": evaluation.holdout_digest,
        "champion_overlap": evaluation.champion_overlap,
        "metrics": found,
        "problems": {name: one.problem for name, one in evaluation.candidates.items() if one.problem},
        **judged(evaluation, list(found[CHALLENGER]), training.seed),
    }
    explanation = explained(context, frozen, evaluation, version)
    written = {"evaluation.json": canonical_json(facts), "explanation.json": canonical_json(explanation)}
    frozen.files(context).write(f"evaluation-{version}.json", written["evaluation.json"])
    frozen.files(context).write(f"explanation-{version}.json", written["explanation.json"])
    flat = {
        f"holdout.{name}.{key}": value for name, row in found.items() for key, value in row.items() if value is not None
    }
    annotate(context, version, {}, flat | _permutation_metrics(explanation))
    attach(context, version, written)
    if pictures := picture_files(explanation):
        attach(context, version, pictures, "plots")
    write_card(context, version)
    main = {name: row.get(evaluation.metric) for name, row in found.items()}
    return {"state": "done", "version": version, "metric": evaluation.metric, "rows": len(evaluation.labels), **main}


def explained(context: Context, frozen: Frozen, evaluation: Evaluation, version: int) -> dict[str, Any]:
    """What `explain_model` finds on the holdout, or a `problem`: a model that cannot score cannot be explained."""
    from pipelines.explanations.explain_model import explain_model

    challenger = evaluation.candidates[CHALLENGER]
    if challenger.scores is None:
        return {"problem": challenger.problem}
    training, _ = required(context)
    model = load_model(context, version, "evaluate")
    try:
        holdout = frozen.table(context, "holdout")
        metric, labels = evaluation.metric, evaluation.labels
        if not evaluation.is_labelled:
            metric, labels = own_question(evaluation.task, challenger.scores)
        return explain_model(model, metric, holdout, labels, training.seed)
    except (ModelError, DataError) as error:
        return {"problem": str(error)}


def _permutation_metrics(explanation: Mapping[str, Any]) -> dict[str, float]:
    rows = explanation.get("permutation", {}).get("features", [])
    return {f"permutation.{row['feature']}": row["loss"] for row in rows if row["loss"] is not None}


def evaluate_candidates(context: Context, snapshot_id: str, version: int) -> Evaluation:
    """Scores every candidate on the frozen holdout; what cannot score is a candidate with a problem, not an error."""
    training, _ = required(context)
    frozen = read_frozen(context, snapshot_id)
    holdout = frozen.table(context, "holdout")
    digest = frozen.digests["holdout"]
    champion = context.ledger.champion(context.name)
    candidates = {CHALLENGER: _registered(context, CHALLENGER, version, holdout, frozen)}
    if champion:
        candidates[CHAMPION] = _registered(context, CHAMPION, champion["version"], holdout, frozen)
    if context.pipeline.label is not None:
        candidates |= {one.name: one for one in baselines(context, frozen, holdout, digest)}
    return Evaluation(
        task=training.task,
        metric=_metric(context, training),
        labels=holdout[TARGET].to_numpy(),
        candidates=candidates,
        holdout_digest=digest,
        partitions=frozen.holdout_partitions,
        groups=_codes(holdout, training.group),
        slices=_columns(holdout, context.pipeline.gate.slices),
        sensitive=_columns(holdout, context.pipeline.gate.sensitive),
        champion_age_days=_age(context, champion["version"]) if champion else None,
        champion_overlap=_overlap(context, frozen, champion["version"]) if champion else 0.0,
        quantile=training.quantile,
        is_labelled=context.pipeline.label is not None,
        unlabelled=_measured(context, frozen, holdout, candidates),
    )


def _columns(holdout: pa.Table, names: Sequence[str]) -> dict[str, np.ndarray]:
    return {name: np.asarray(holdout[name].to_pylist(), dtype=object) for name in names}


def _age(context: Context, champion: int) -> float:
    """Days between the moments up to which champion and challenger may have seen data."""
    seen_up_to = context.ledger.model(context.name, champion)["as_of"]
    return float((context.partition.end - seen_up_to).total_seconds() / 86_400)


def _metric(context: Context, training: Training) -> str:
    if context.pipeline.label is not None:
        return wanted_metric(training)
    return SILHOUETTE if training.task == "segments" else AGREEMENT


def _measured(
    context: Context, frozen: Frozen, holdout: pa.Table, candidates: Mapping[str, Candidate]
) -> dict[str, Measured]:
    """What the gate looks at without labels, of the candidates that scored every row."""
    if context.pipeline.label is not None:
        return {}
    versions = {name: one.version for name, one in candidates.items() if _is_whole(one)}
    models = {name: load_model(context, version, "evaluate") for name, version in versions.items() if version}
    if CHALLENGER not in models:
        return {}
    if models[CHALLENGER].task == "segments":
        scores = {name: np.asarray(candidates[name].scores) for name in models}
        return measure_segments(scores, models[CHALLENGER], holdout)
    return measure_anomalies(models, frozen.table(context, "train"), policy_of(context.pipeline.gate).flagged_share)


def _is_whole(candidate: Candidate) -> bool:
    return candidate.scores is not None and bool(np.isfinite(candidate.scores).all())


def _registered(context: Context, name: str, version: int, holdout: pa.Table, frozen: Frozen) -> Candidate:
    """A model of the ledger, loaded as scoring loads it: verified files, features by name."""
    digest = frozen.digests["holdout"]
    try:
        model = load_model(context, version, "evaluate")
        if problem := _other_question(context, model, frozen):
            return Candidate(name, None, version, problem=problem, holdout_digest=digest)
        scores = model.predict(holdout)
        if context.pipeline.label is not None:
            scores = aligned(scores, model.classes, frozen.classes)
        sample = holdout.slice(0, _TIMED_ROWS)
        started = time.perf_counter()
        model.predict(sample)
        seconds = time.perf_counter() - started
        promise = covered(model, holdout, holdout[TARGET].to_numpy()) if name == CHALLENGER else None
    except (ModelError, DataError) as error:
        return Candidate(name, None, version, problem=str(error), holdout_digest=digest)
    except OSError as error:
        raise StorageError("E-MODEL-READ", f"{context.name} version {version}", str(error)[:300]) from error
    size = sum(len(content) for content in model.to_files().values()) / 1e6
    per_1000 = 1000 * seconds / max(sample.num_rows, 1)
    return Candidate(name, scores, version, None, per_1000, size, digest, promise)


def _other_question(context: Context, model: Model, frozen: Frozen) -> str | None:
    """Why the model's scores mean something else than the holdout's labels, or None."""
    training, _ = required(context)
    if model.task != training.task:
        return f"it was trained for task '{model.task}', the pipeline's is '{training.task}'"
    if model.facts.get("quantile") != training.quantile:
        return f"it was trained for quantile {model.facts.get('quantile')}, the pipeline's is {training.quantile}"
    if training.task in TWO_VALUED_TASKS and model.classes[-1:] != frozen.classes[-1:]:
        return f"its positive class is {names(model.classes[-1:])}, the holdout's {names(frozen.classes[-1:])}"
    return None


def aligned(scores: np.ndarray, own: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """Multiclass scores with one column per wanted class, by name: a class that the model does not know has score 0.

    Class sets of champion and challenger differ when a class is new or has died out; by position, scores would be
    read as those of another class.
    """
    if scores.ndim == 1 or list(own) == list(wanted):
        return scores
    result = np.zeros((len(scores), len(wanted)))
    for column, name in enumerate(wanted):
        if name in own:
            result[:, column] = scores[:, list(own).index(name)]
    result[np.isnan(scores).any(axis=1)] = np.nan
    return result


def _overlap(context: Context, frozen: Frozen, champion: int) -> float:
    """Share of the holdout's partitions that the champion was trained on: it flatters the champion, never the other."""
    seen = seen_by(context.ledger.model(context.name, champion)["record"])
    return len(seen & set(frozen.holdout_partitions)) / len(frozen.holdout_partitions)


def _codes(holdout: pa.Table, columns: tuple[str, ...]) -> np.ndarray | None:
    if not columns:
        return None
    keys = list(zip(*(holdout[column].to_pylist() for column in columns), strict=True))
    numbers = {key: index for index, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], dtype=np.int64)


def _metrics(evaluation: Evaluation, candidate: Candidate) -> dict[str, float | None]:
    if candidate.scores is None:
        return {}
    if evaluation.is_labelled:
        found = metrics(evaluation.task, evaluation.labels, candidate.scores, evaluation.quantile)  # type: ignore[arg-type]
    else:
        found = score_facts(evaluation.task, candidate.scores) | gate_facts(evaluation, candidate.name)
    return {name: rounded(value) for name, value in found.items()}


def _version(evaluation: Evaluation) -> int | None:
    champion = evaluation.candidates.get(CHAMPION)
    return champion.version if champion else None
