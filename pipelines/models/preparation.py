"""Learns from training rows how features become the numbers of a model. No other row is ever looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.errors import ModelError
from pipelines.models.categories import CategoryEncoder, fit_frequency, fit_target
from pipelines.models.column_fitting import fit_category, fit_imputers, fit_number, fit_words, spread
from pipelines.models.estimators import estimator_of
from pipelines.models.folds import folds
from pipelines.models.images import fit_pixels, masked_images
from pipelines.models.inflation import MOST_ROWS as MOST_INFLATION_ROWS
from pipelines.models.inflation import inflation
from pipelines.models.prepared_column import Column, number, out_of_fold_names
from pipelines.models.preprocess import Preprocess
from pipelines.models.projection import fit_projection
from pipelines.models.recipe import Recipe, Rows
from pipelines.models.selection import MOST_ROWS as MOST_SELECTION_ROWS
from pipelines.models.selection import Rows as PreparedRows
from pipelines.models.selection import select
from pipelines.models.sequences import masked_features
from pipelines.settings.families import SklearnEstimator, TorchMLP, TorchSequence
from pipelines.settings.missing import Native
from pipelines.settings.preparation import Frequency, Hashing, Target, Tfidf
from pipelines.settings.tasks import CLASS_TASKS

# A seeded sample of this size says where the components lie, and bounds memory and time.
_MOST_PROJECTION_ROWS = {"pca": 100_000, "random": 100_000, "autoencoder": 10_000}


@dataclass(frozen=True)
class _Needs:
    """What a family of models takes: see `Preprocess`. `masked`: features whose gaps mean something and always stay."""

    one_hot: bool
    scaled: bool
    takes_missing: bool
    masked: frozenset[str]


def prepare(recipe: Recipe, rows: Rows) -> tuple[Preprocess, Rows]:
    """What turns features into the numbers that this family of models takes, and the rows to be learnt from.

    These rows hold columns besides, which stand for features that their own labels would otherwise be part of:
    transforming the rows as they were given would leak the labels.

    Raises:
        ModelError: E-TRAIN-MISSING names a feature whose gaps nobody handles; E-TRAIN-TEXT, E-TRAIN-SELECT and
            E-TRAIN-PROJECT when what the settings ask for cannot be learnt from these rows.
    """
    needs = _needs(recipe)
    draft, rows = _with_columns(recipe, needs, rows)
    scale = recipe.training.scale
    if needs.scaled or scale:
        draft = _with_scales(replace(draft, scaled=True, scale=scale or "standard"), rows.table)
    fitted, facts = _narrowed(recipe, draft, rows)
    return replace(fitted, facts=_told(recipe, fitted) | facts), rows


def _needs(recipe: Recipe) -> _Needs:
    """A gap, or a number that stands for a category, can be part of no component and of no correlation."""
    model, training = recipe.training.model, recipe.training
    own = estimator_of(model) if isinstance(model, SklearnEstimator) else None
    is_network = isinstance(model, TorchMLP)
    return _Needs(
        one_hot=own is not None
        or training.task == "anomaly"  # what is reconstructed is numbers
        or bool(training.select or training.project or training.vif),
        scaled=is_network or (own is not None and own.scaled),
        takes_missing=not training.project and (own.takes_missing if own else not is_network),
        masked=masked_features(recipe.types) if isinstance(model, TorchSequence) else masked_images(recipe),
    )


def _with_columns(recipe: Recipe, needs: _Needs, rows: Rows) -> tuple[Preprocess, Rows]:
    """Fills and encodes, without scales."""
    missing, table = recipe.training.missing, rows.table
    settings = {name: missing.get(name) or missing.get("default") or Native() for name in recipe.types}
    settings |= {name: Native() for name in needs.masked if recipe.types[name] == "number"}
    usable = {name: number(table.column(name)) for name, kind in recipe.types.items() if kind == "number"}
    columns: list[Column] = []
    for name, kind in recipe.types.items():
        encoder = recipe.training.encode.get(name)
        if kind == "text":
            words = encoder if isinstance(encoder, Tfidf | Hashing) else Tfidf()
            column = fit_words(name, table.column(name), settings[name], words)
        elif kind == "image":
            column = fit_pixels(name, table.column(name), settings[name], needs.takes_missing or name in needs.masked)
        elif kind == "category":
            column = fit_category(name, table.column(name), settings[name], needs.one_hot)
            if isinstance(encoder, Target | Frequency):
                column, rows = _encoded(recipe, rows, column, encoder)
        else:
            column = fit_number(name, usable[name], settings[name], needs.takes_missing or name in needs.masked)
        columns.append(column)
    imputers = fit_imputers(usable, settings, recipe.training.seed)
    return Preprocess(tuple(columns), needs.one_hot, scaled=False, imputers=imputers), rows


def _encoded(recipe: Recipe, rows: Rows, column: Column, settings: Target | Frequency) -> tuple[Column, Rows]:
    """The column with its encoder; with the labels' means the rows get theirs from the other folds."""
    texts = column.filled(rows.table.column(column.name))
    if isinstance(settings, Frequency):
        return column.with_encoder(fit_frequency(settings, texts)), rows
    fold = folds(recipe.training.group, rows.table, settings.folds)
    if len(np.unique(fold)) < 2:
        what = f"{len(rows):,} rows cannot be divided into {settings.folds} folds"
        raise ModelError("E-TRAIN-FIT", f"training.encode.{column.name}", what)
    classes = list(recipe.classes) if recipe.training.task == "multiclass" else []
    encoder, unseen = fit_target(settings, texts, rows.target, rows.weight, fold, classes)
    column = column.with_encoder(encoder)
    table = rows.table
    for name, values in zip(out_of_fold_names(column), unseen.T, strict=True):
        table = table.append_column(name, pa.array(values))
    return column, replace(rows, table=table)


def _with_scales(draft: Preprocess, table: pa.Table) -> Preprocess:
    """Numbers by their filled training values, labels' means by those of the training rows."""
    usable = {column.name: number(table.column(column.name)) for column in draft.columns if column.type == "number"}
    filled = draft.imputed(usable)
    columns = []
    for column in draft.columns:
        if column.type == "number":
            values = filled[column.name]
            if isinstance(column.fill, float):
                values = np.where(np.isnan(values), column.fill, values)
            mean, scale = spread(values, draft.scale)
            column = replace(column, mean=mean, scale=scale)
        elif isinstance(column.encoder, CategoryEncoder):
            parts = column.encoded(table)
            centers, scales = zip(*(spread(part, draft.scale) for part in parts.T), strict=True)
            column = column.with_encoder(column.encoder.with_scale(np.array(centers), np.array(scales)))
        columns.append(column)
    return replace(draft, columns=tuple(columns))


def _narrowed(recipe: Recipe, draft: Preprocess, rows: Rows) -> tuple[Preprocess, dict[str, Any]]:
    """With the selection and the projection that the settings ask for, and what to tell of them."""
    training, facts = recipe.training, {}
    if training.select:
        sample = _sample(rows, MOST_SELECTION_ROWS, training.seed)
        is_class = training.task in CLASS_TASKS
        target = sample.target.astype(np.int64) if is_class else sample.target
        prepared = PreparedRows(draft.transform(sample.table), target, draft.output_names, is_class, training.seed)
        kept, steps = select(prepared, training.select)
        draft = replace(draft, kept=kept)
        facts["selection"] = {"rows": len(sample), "steps": steps}
    if training.vif:
        sample = _sample(rows, MOST_INFLATION_ROWS, training.seed)
        facts["vif"] = {"rows_read": len(sample), **inflation(draft.transform(sample.table), draft.output_names)}
    if training.project:
        sample = _sample(rows, _MOST_PROJECTION_ROWS[training.project.method], training.seed)
        projection, found = fit_projection(training.project, draft.transform(sample.table), training.seed)
        draft = replace(draft, projection=projection)
        facts["projection"] = {"rows": len(sample), "keep_inputs": training.project.keep_inputs, **found}
    return draft, facts


def _told(recipe: Recipe, fitted: Preprocess) -> dict[str, Any]:
    """How features were encoded and scaled, where the settings said so; empty where nothing was asked for."""
    encoders: Mapping[str, Any] = {
        column.name: {
            **column.encoder.settings.model_dump(mode="json"),
            "columns": len(column.encoder.names(column.name)),
            **({"categories": len(column.encoder.categories)} if isinstance(column.encoder, CategoryEncoder) else {}),
        }
        for column in fitted.columns
        if column.encoder is not None
    }
    scale = recipe.training.scale
    return ({"encoders": encoders} if encoders else {}) | ({"scale": scale} if scale else {})


def _sample(rows: Rows, most: int, seed: int) -> Rows:
    """At most so many of the rows, in their order."""
    if len(rows) <= most:
        return rows
    chosen = np.zeros(len(rows), dtype=bool)
    chosen[np.random.default_rng(seed).choice(len(rows), most, replace=False)] = True
    return rows.take(chosen)
