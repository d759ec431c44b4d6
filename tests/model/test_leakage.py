"""Encoders, imputers, selections, projections and stacking never see a label or a value that they are judged on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from pipelines.context import Context
from pipelines.models.device import CPU
from pipelines.models.fitting import fit, fit_on_part
from pipelines.models.model import Model
from pipelines.models.preparation import prepare
from pipelines.models.recipe import Recipe, Rows
from pipelines.settings.training import Training
from pipelines.training.dataset import read_frozen, snapshot
from pipelines.training.fit_step import fit_frozen
from tests.model.feeds import SMALL, TRAINING, at, learnable

TYPES = {"shop": "category", "amount": "number", "other": "number", "note": "text"}
TARGET = {"shop": {"encoder": "target", "smoothing": 1}}
LOGISTIC = {"family": "sklearn", "estimator": "LogisticRegression", "parameters": {}}
FOREST = {"family": "sklearn", "estimator": "RandomForestClassifier", "parameters": {"n_estimators": 20}}
NETWORK = {
    "family": "torch",
    "hidden_layers": [8],
    "epochs": 15,
    "batch_rows": 32,
    "early_stopping_epochs": None,
    "learning_rate": 0.01,
}
STACK = {"family": "ensemble", "combine": "stacking", "folds": 3, "members": {"trees": SMALL, "linear": LOGISTIC}}
FAMILIES = {"xgboost": SMALL, "linear": LOGISTIC, "forest": FOREST, "network": NETWORK, "stack": STACK}
EVERYTHING: dict[str, Any] = {
    "encode": TARGET | {"note": {"encoder": "tfidf", "max_features": 5, "min_rows": 1}},
    "scale": "robust",
    "select": [{"by": "variance"}, {"by": "correlation", "max": 0.99}, {"by": "mutual_information", "keep": 6}],
    "project": {"method": "pca", "components": 2, "keep_inputs": True},
    "vif": True,
}


def recipe(model: dict[str, Any], missing: dict[str, Any] | None = None, **changes: Any) -> Recipe:
    filled = {"default": {"strategy": "median"}, "shop": {"strategy": "native"}, "note": {"strategy": "native"}}
    training = {"task": "binary", "model": model, "missing": missing or filled, **changes}
    return Recipe(Training.model_validate(training), TYPES, ["0", "1"], threads=1)


def rows(shops: list[str], seed: int = 1, target: np.ndarray | None = None) -> Rows:
    """Labels by a coin; nothing but what a test plants in `shop` tells of them."""
    random = np.random.default_rng(seed)
    count = len(shops)
    amounts = random.normal(size=count)
    table = pa.table(
        {
            "shop": pa.array(shops, pa.string()),
            "amount": pa.array(amounts, mask=random.random(count) < 0.1),
            "other": amounts + random.normal(size=count),
            "note": random.choice(["pay now", "call me", "see you", "pay me"], count),
        }
    )
    return Rows(table, random.integers(0, 2, count).astype(float) if target is None else target)


def judged(model: Model, unseen: Rows) -> float:
    return float(roc_auc_score(unseen.target, model.predict(unseen.table)))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_category_of_its_own_per_row_teaches_nothing(family: str) -> None:
    """Encoded by its own label it would tell every label of the training rows, and the model would trust it alone."""
    random = np.random.default_rng(3)
    amounts = random.normal(size=600)
    target = (amounts + random.normal(size=600) > 0).astype(float)
    known = rows([f"shop-{number}" for number in range(600)], target=target)
    known = Rows(known.table.set_column(1, "amount", pa.array(amounts)), target)
    early, late = known.take(np.arange(600) < 400), known.take(np.arange(600) >= 400)
    encoded = fit(recipe(FAMILIES[family], encode=TARGET), early, None)
    assert judged(encoded, late) > 0.7
    if family != "network":  # whose weights of a column that never moves stay as they were drawn
        assert encoded.importance()["shop"] < 0.01


def test_encoded_by_their_own_labels_the_same_rows_would_be_known_by_heart() -> None:
    """The mistake that the folds are there for, and what the model is given instead."""
    known = rows([f"shop-{number}" for number in range(300)])
    preprocess, prepared = prepare(recipe(LOGISTIC, encode=TARGET), known)
    shop = preprocess.output_names.index("shop (target)")
    assert roc_auc_score(known.target, preprocess.transform(known.table)[:, shop]) == 1.0
    assert roc_auc_score(known.target, preprocess.transform(prepared.table)[:, shop]) == 0.5


@pytest.mark.parametrize("groups", [False, True], ids=["blocks of time", "whole groups"])
def test_few_rows_per_category_teach_nothing_either(groups: bool) -> None:
    """Three rows per shop with labels by a coin: out of fold, the others of the shop say nothing of the row."""
    shops = [f"shop-{number % 400}" for number in range(1200)]
    known = rows(shops, seed=2)
    asked = recipe(LOGISTIC, encode=TARGET, **({"group": ["shop"]} if groups else {}))
    preprocess, prepared = prepare(asked, known)
    shop = preprocess.output_names.index("shop (target)")
    own = roc_auc_score(known.target, preprocess.transform(known.table)[:, shop])
    unseen = roc_auc_score(known.target, preprocess.transform(prepared.table)[:, shop])
    assert own > 0.7
    # Within a shop the others' mean is the lower the higher the own label is: below a half by chance of the draw.
    assert unseen == 0.5 if groups else 0.35 < unseen < 0.55


@pytest.mark.parametrize("family", FAMILIES)
def test_a_canary_that_tells_the_labels_of_the_holdout_alone_is_worth_nothing(family: str) -> None:
    random = np.random.default_rng(4)
    train = rows(random.choice(["a", "b", "c"], 500).tolist())
    target = random.integers(0, 2, 300).astype(float)
    holdout = rows([f"canary-{int(label)}" for label in target], seed=5, target=target)
    for changes in ({"encode": TARGET}, {"encode": {"shop": {"encoder": "frequency"}}}, EVERYTHING):
        assert 0.4 < judged(fit(recipe(FAMILIES[family], **changes), train, None), holdout) < 0.6


@pytest.mark.parametrize("family", ["xgboost", "network", "linear"])
def test_rows_that_end_the_training_early_are_as_unseen_as_the_holdout(family: str) -> None:
    """The canary tells the labels of the validation rows alone: the rows before them know nothing of it."""
    random = np.random.default_rng(6)
    target = random.integers(0, 2, 600).astype(float)
    late = np.arange(600) >= 400
    shops = np.where(late, np.where(target == 1, "yes", "no"), random.choice(["a", "b"], 600)).tolist()
    known = rows(shops, target=target)
    model = fit_on_part(recipe(FAMILIES[family], **EVERYTHING), known, late)
    assert 0.35 < judged(model, known.take(late)) < 0.65


def test_stacking_learns_from_members_that_encode_without_the_row() -> None:
    """Per-row categories below stacking: with in-sample means the trees would look perfect to the second level."""
    random = np.random.default_rng(7)
    amounts = random.normal(size=400)
    target = (amounts + random.normal(size=400) > 0).astype(float)
    table = rows([f"shop-{number}" for number in range(400)]).table.set_column(1, "amount", pa.array(amounts))
    model = fit(recipe(STACK, encode=TARGET), Rows(table, target), None)
    assert model.importance()["shop"] < 0.01


IMPUTERS: list[dict[str, Any]] = [
    {"strategy": "mean"},
    {"strategy": "median"},
    {"strategy": "mode"},
    {"strategy": "knn"},
    {"strategy": "iterative", "max_iter": 2},
]
DAYS = ("2026-03-01", "2026-03-02", "2026-03-03")


def fitted_files(run: Context, **training: Any) -> dict[str, bytes]:
    run = at(run, run.key, training=TRAINING | training)
    frozen = read_frozen(run, snapshot(run)["snapshot_id"])
    return fit_frozen(run, frozen, CPU).to_files()


@pytest.mark.slow
@pytest.mark.parametrize("imputer", IMPUTERS, ids=[str(one["strategy"]) for one in IMPUTERS])
@pytest.mark.parametrize("model", [SMALL, STACK], ids=["single", "stacking"])
def test_other_rows_in_the_holdout_change_no_byte_of_the_model(
    new_home: Callable[..., Context], imputer: dict[str, Any], model: dict[str, Any]
) -> None:
    """From published tables to model files: another holdout day, with gaps and amounts far away and other labels."""
    settings = {
        "model": model,
        "missing": {"amount_eur": imputer, "default": {"strategy": "mode"}},
        "encode": {"country": {"encoder": "target"}},
        "scale": "minmax",
        "select": [{"by": "variance"}, {"by": "l1", "alpha": 0.0001}],
        "project": {"method": "pca", "components": 1, "keep_inputs": True},
    }
    run = new_home(DAYS[-1])
    learnable(run, DAYS[:2], rows=120)
    learnable(run, DAYS[2:], rows=60, seed=2)
    before = fitted_files(run, **settings)
    learnable(run, DAYS[2:], rows=90, seed=9, noise=0.9)
    assert fitted_files(run, **settings) == before
    learnable(run, DAYS[1:2], rows=120, seed=10)
    assert fitted_files(run, **settings) != before


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=40, max_size=80),
    st.integers(0, 2**16),
    st.integers(0, 39),
)
def test_a_rows_own_label_never_moves_its_own_encoding_against_the_others(
    shops: list[str], seed: int, row: int
) -> None:
    """Turn one label: of the rows of its fold nothing moves but the mean of all, by which all move alike."""
    known = rows(shops, seed)
    turned = known.target.copy()
    turned[row] = 1 - turned[row]
    asked = recipe(LOGISTIC, encode={"shop": {"encoder": "target", "smoothing": 0, "folds": 4}})
    first = prepare(asked, known)[1].table["shop (target) out of fold"].to_numpy()
    second = prepare(asked, Rows(known.table, turned))[1].table["shop (target) out of fold"].to_numpy()
    fold = np.arange(len(shops)) * 4 // len(shops)
    same = [place for place in np.flatnonzero(fold == fold[row]) if shops[place] in _elsewhere(shops, fold, fold[row])]
    assert np.array_equal(first[same], second[same])


def _elsewhere(shops: list[str], fold: np.ndarray, number: int) -> set[str]:
    return {shop for shop, own in zip(shops, fold.tolist(), strict=True) if own != number}
