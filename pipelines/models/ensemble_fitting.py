"""Fits an ensemble: how members are combined is learnt from scores of rows that the scoring member has not seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from pipelines.errors import ModelError
from pipelines.models.checkpoints import Checkpoints
from pipelines.models.committee import Committee, meta_inputs
from pipelines.models.fitting import fit
from pipelines.models.folds import folds, latest
from pipelines.models.fusion import Fused
from pipelines.models.model import Model
from pipelines.models.recipe import Recipe, Rows
from pipelines.settings.families import Ensemble
from pipelines.settings.tasks import VALUE_TASKS

_SELECTIONS = 100
_SMALLEST_PROBABILITY = 1e-15


def fit_ensemble(recipe: Recipe, rows: Rows, validation: np.ndarray | None, checkpoints: Checkpoints | None) -> Model:
    """Members learn from all rows; `weighted` and `stacking` learn from out-of-fold scores of the same rows.

    Raises:
        ModelError: E-TRAIN-FIT when a member cannot be fitted, or cannot score rows of another fold.
    """
    combine = _settings(recipe).combine
    if combine == "fusion":
        from pipelines.models.fusion_fitting import fuse

        return _model(recipe, fuse(recipe, rows, folds_of(recipe, rows), validation, checkpoints))
    if combine == "bagging":
        return _model(recipe, _equals(_bagged(recipe, rows, validation, checkpoints)))
    members = {
        name: fit(own, rows, validation, checkpoints.at(name) if checkpoints else None)
        for name, own in _recipes(recipe).items()
    }
    if combine == "voting":
        return _model(recipe, _equals(members))
    unseen = out_of_fold(recipe, rows, checkpoints)
    if combine == "weighted":
        return _model(recipe, Committee(members, greedy_weights(recipe, unseen, rows)))
    meta = _meta(recipe, unseen, rows)
    return _model(recipe, Committee(members, _influence(meta, unseen, recipe.training.task), meta))


def out_of_fold(recipe: Recipe, rows: Rows, checkpoints: Checkpoints | None = None) -> list[np.ndarray]:
    """Per member `(n_rows,)` or `(n_rows, k)`: each row scored by a fit that has not seen its fold.

    Folds are blocks of time, or whole groups where `training.group` is set.
    """
    fold = folds_of(recipe, rows)
    found = []
    for name, own in _recipes(recipe).items():
        parts = []
        for number in np.unique(fold).tolist():
            others = rows.take(fold != number)
            place = checkpoints.at(name, f"fold_{number}") if checkpoints else None
            parts.append((fold == number, fit(own, others, latest(others), place)))
        found.append(_scored(parts, rows, name))
    return found


def folds_of(recipe: Recipe, rows: Rows) -> np.ndarray:
    """`(n_rows,)` fold numbers."""
    count = _settings(recipe).folds
    fold = folds(recipe.training.group, rows.table, count)
    if len(np.unique(fold)) < 2:
        raise ModelError("E-TRAIN-FIT", "'ensemble'", f"{len(rows):,} rows cannot be divided into {count} folds")
    return fold


def greedy_weights(recipe: Recipe, scores: list[np.ndarray], rows: Rows) -> tuple[float, ...]:
    """Weights of the members by selection with replacement: each time the one that lowers the loss of the mean most.

    Source: Caruana et al. 2004, "Ensemble Selection from Libraries of Models". Members that do not help get 0.
    """
    counts, total = np.zeros(len(scores)), np.zeros_like(scores[0])
    for step in range(1, _SELECTIONS + 1):
        losses = [_loss(recipe, (total + one) / step, rows) for one in scores]
        best = int(np.argmin(losses))
        counts[best] += 1
        total = total + scores[best]
    return tuple((counts / counts.sum()).tolist())


def _loss(recipe: Recipe, scores: np.ndarray, rows: Rows) -> float:
    """Weighted mean of the log loss, the pinball loss or the squared error."""
    target, quantile = rows.target, recipe.training.quantile
    if quantile is not None:
        each = np.maximum(quantile * (target - scores), (quantile - 1) * (target - scores))
    elif recipe.training.task in VALUE_TASKS:
        each = (target - scores) ** 2
    else:
        chance = (
            scores[np.arange(len(target)), target.astype(int)]
            if scores.ndim == 2
            else np.where(target == 1, scores, 1 - scores)
        )
        each = -np.log(np.clip(chance, _SMALLEST_PROBABILITY, 1))
    return float(np.average(each, weights=rows.weight))


def _meta(recipe: Recipe, scores: list[np.ndarray], rows: Rows) -> Any:
    """The second level. Values are combined without negative weights (Breiman 1996, "Stacked Regressions")."""
    from sklearn.linear_model import LinearRegression, LogisticRegression

    is_value = recipe.training.task in VALUE_TASKS
    meta = LinearRegression(positive=True) if is_value else LogisticRegression(max_iter=1000)
    target = rows.target if is_value else rows.target.astype(np.int64)
    with threadpool_limits(recipe.threads):
        return meta.fit(meta_inputs(scores, recipe.training.task), target, sample_weight=rows.weight)


def _influence(meta: Any, scores: list[np.ndarray], task: str) -> tuple[float, ...]:
    """Share of each member: coefficient times the spread of what it multiplies. Equal shares where all are 0."""
    moved = np.abs(np.atleast_2d(meta.coef_)).mean(axis=0) * meta_inputs(scores, task).std(axis=0)
    each = moved.reshape(len(scores), -1).sum(axis=1)
    return tuple((each / each.sum()).tolist()) if each.sum() > 0 else (1 / len(scores),) * len(scores)


def _bagged(
    recipe: Recipe, rows: Rows, validation: np.ndarray | None, checkpoints: Checkpoints | None
) -> dict[str, Model]:
    """Copies of the members, each with a seed and a sample (with replacement) of rows or of whole groups."""
    found = {}
    for number in range(_settings(recipe).copies):
        drawn = _drawn(recipe, rows, recipe.training.seed + number)
        sample = Rows(rows.table.take(pa.array(drawn)), rows.target[drawn], _of(rows.weight, drawn))
        for name, own in _recipes(recipe).items():
            seeded = replace(own, training=own.training.model_copy(update={"seed": own.training.seed + number}))
            copy = f"{name}_{number}"
            found[copy] = fit(seeded, sample, _of(validation, drawn), checkpoints.at(copy) if checkpoints else None)
    return found


def _drawn(recipe: Recipe, rows: Rows, seed: int) -> np.ndarray:
    """Row numbers, in the order of time."""
    random = np.random.default_rng(seed)
    if not recipe.training.group:
        return np.sort(random.integers(0, len(rows), len(rows)))
    keys = list(zip(*(rows.table[column].to_pylist() for column in recipe.training.group), strict=True))
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    times = np.bincount(random.integers(0, len(numbers), len(numbers)), minlength=len(numbers))
    return np.repeat(np.arange(len(rows)), times[[numbers[key] for key in keys]])


def _scored(parts: list[tuple[np.ndarray, Model]], rows: Rows, name: str) -> np.ndarray:
    scored = [(inside, model.predict(rows.take(inside).table)) for inside, model in parts]
    result = np.full((len(rows), *scored[0][1].shape[1:]), np.nan)
    for inside, scores in scored:
        result[inside] = scores
    bad = int((~np.isfinite(result)).any(axis=tuple(range(1, result.ndim))).sum())
    if bad:
        raise ModelError(
            "E-TRAIN-FIT",
            f"member '{name}'",
            f"it gives no score to {bad:,} of {len(rows):,} rows of folds that it has not seen",
            "Set training.missing so that every member can score every row.",
        )
    return result


def _equals(members: dict[str, Model]) -> Committee:
    return Committee(members, (1 / len(members),) * len(members))


def _of(values: np.ndarray | None, chosen: np.ndarray) -> np.ndarray | None:
    return None if values is None else values[chosen]


def _recipes(recipe: Recipe) -> dict[str, Recipe]:
    return {
        name: replace(recipe, training=recipe.training.model_copy(update={"model": member}))
        for name, member in _settings(recipe).members.items()
    }


def _model(recipe: Recipe, committee: Committee) -> Model:
    settings = _settings(recipe)
    members = committee.members
    facts = {
        "combine": settings.combine,
        "members": {name: member.facts for name, member in members.items()},
        "weights": dict(zip(members, committee.weights, strict=True)),
        "stacked": committee.meta is not None,
        **({"neutral": list(committee.neutral)} if isinstance(committee, Fused) else {}),
        "seed": recipe.training.seed,
        "parameters": settings.model_dump(mode="json"),
        "device": recipe.device.kind,
        "libraries": {name: text for member in members.values() for name, text in member.facts["libraries"].items()},
    }
    first = next(iter(members.values()))
    kind = f"Ensemble({settings.combine})"
    return Model(
        "ensemble",
        kind,
        recipe.training.task,
        dict(recipe.types),
        recipe.classes,
        first.preprocess,
        committee,
        facts,
    )


def _settings(recipe: Recipe) -> Ensemble:
    if not isinstance(recipe.training.model, Ensemble):
        raise TypeError("not an ensemble")
    return recipe.training.model
