"""Fits a late fusion: each member on its own columns, and on the rows that have any; how to join them out of fold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from pipelines.errors import ModelError
from pipelines.models.checkpoints import Checkpoints
from pipelines.models.fitting import fit
from pipelines.models.folds import latest
from pipelines.models.fusion import Fused, fused_inputs, is_silent, neutral_of, present, scores_where_present
from pipelines.models.recipe import Recipe, Rows
from pipelines.settings.families import Ensemble
from pipelines.settings.tasks import VALUE_TASKS


def fuse(
    recipe: Recipe, rows: Rows, fold: np.ndarray, validation: np.ndarray | None, checkpoints: Checkpoints | None
) -> Fused:
    """`fold`: `(n_rows,)` numbers; no row is part of the scores that the second level learns from it.

    Raises:
        ModelError: E-TRAIN-FIT when a member finds too few rows with any of its columns.
    """
    members, unseen = {}, []
    for name, own in member_recipes(recipe).items():
        place = checkpoints.at(name) if checkpoints else None
        here = present(rows.table, own.types)
        _require_rows(name, rows, here, fold)
        late = None if validation is None else _usable(rows, here, validation)
        members[name] = fit(own, rows.take(here), late, place)
        unseen.append(_out_of_fold(name, own, rows, here, fold, checkpoints))
    meta, neutral = _meta(recipe, unseen, rows)
    return Fused(members, _influence(meta, unseen, recipe.training.task, neutral), meta, neutral)


def member_recipes(recipe: Recipe) -> dict[str, Recipe]:
    """Each with the features that it sees, in the order of all features."""
    model = recipe.training.model
    if not isinstance(model, Ensemble):
        raise TypeError("not an ensemble")
    return {
        name: replace(
            recipe,
            training=recipe.training.model_copy(update={"model": member}),
            types={column: kind for column, kind in recipe.types.items() if column in model.columns[name]},
        )
        for name, member in model.members.items()
    }


def _out_of_fold(
    name: str, own: Recipe, rows: Rows, here: np.ndarray, fold: np.ndarray, checkpoints: Checkpoints | None
) -> np.ndarray:
    """`(n_rows,)` or `(n_rows, k)`: each row scored by a fit that has not seen its fold; NaN without the columns."""
    result: np.ndarray | None = None
    for number in np.unique(fold).tolist():
        others, inside = rows.take(here & (fold != number)), fold == number
        place = checkpoints.at(name, f"fold_{number}") if checkpoints else None
        model = fit(own, others, latest(others), place)
        scores = scores_where_present(own.types, model.predict, rows.take(inside).table)
        if result is None:
            result = np.full((len(rows), *scores.shape[1:]), np.nan)
        result[inside] = scores
    return np.empty(0) if result is None else result


def _usable(rows: Rows, here: np.ndarray, validation: np.ndarray) -> np.ndarray | None:
    """The mask of the later rows among those that the member sees; None unless both sides tell labels apart."""
    late = validation[here]
    sides = (rows.target[here][late], rows.target[here][~late])
    return late if all(len(np.unique(side)) > 1 for side in sides) else None


def _require_rows(name: str, rows: Rows, here: np.ndarray, fold: np.ndarray) -> None:
    for number in np.unique(fold).tolist():
        if len(np.unique(rows.target[here & (fold != number)])) < 2:
            what = (
                f"{int(here.sum()):,} of {len(rows):,} training rows have any of its columns, in too few of the folds"
            )
            fix = "Train on more rows, or leave the member out until there are enough."
            raise ModelError("E-TRAIN-FIT", f"member '{name}'", what, fix)


def _meta(recipe: Recipe, unseen: list[np.ndarray], rows: Rows) -> tuple[Any, tuple[float, ...]]:
    """The second level, learnt from the rows of which any member says something."""
    from sklearn.linear_model import LinearRegression, LogisticRegression

    task = recipe.training.task
    usable = ~np.all([is_silent(one) for one in unseen], axis=0)
    told = [one[usable] for one in unseen]
    neutral = neutral_of(told, task)
    meta = LinearRegression() if task in VALUE_TASKS else LogisticRegression(max_iter=1000)
    target = rows.target[usable] if task in VALUE_TASKS else rows.target[usable].astype(np.int64)
    weight = None if rows.weight is None else rows.weight[usable]
    with threadpool_limits(recipe.threads):
        return meta.fit(fused_inputs(told, task, neutral), target, sample_weight=weight), neutral


def _influence(meta: Any, unseen: list[np.ndarray], task: str, neutral: tuple[float, ...]) -> tuple[float, ...]:
    """Share of each member: coefficient times the spread of what it multiplies. Equal shares where all are 0."""
    inputs = fused_inputs(unseen, task, neutral)[:, : len(neutral)]
    moved = np.abs(np.atleast_2d(meta.coef_))[:, : len(neutral)].mean(axis=0) * inputs.std(axis=0)
    each = moved.reshape(len(unseen), -1).sum(axis=1)
    return tuple((each / each.sum()).tolist()) if each.sum() > 0 else (1 / len(unseen),) * len(unseen)
