"""Ensembles of different families: reloaded bitwise, combined by what members say of rows that they have not seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from pipelines.errors import ModelError
from pipelines.models.ensemble_fitting import folds_of, greedy_weights, out_of_fold
from pipelines.models.fitting import Recipe, Rows, fit
from pipelines.models.model import Model
from pipelines.settings.training import Training
from pipelines.training.metrics import metric

TYPES = {"amount_eur": "number", "age_days": "number", "country": "category"}
XGBOOST = {"family": "xgboost", "rounds": 10, "parameters": {"max_depth": 2}}
TORCH = {"family": "torch", "hidden_layers": [4], "epochs": 3}
ROWS = 240
CASES = [
    *((combine, task) for combine in ("voting", "weighted", "stacking") for task in ("binary", "multiclass")),
    *((combine, "regression") for combine in ("voting", "weighted", "stacking", "bagging")),
    ("bagging", "binary"),
    ("weighted", "quantile"),
    ("voting", "anomaly"),
]


def sklearn(name: str, **parameters) -> dict:
    return {"family": "sklearn", "estimator": name, "parameters": parameters}


def members(task: str) -> dict:
    if task == "anomaly":
        return {"forest": sklearn("IsolationForest", n_estimators=5), "network": TORCH}
    if task == "quantile":
        return {"trees": XGBOOST, "histogram": sklearn("HistGradientBoostingRegressor", max_iter=5)}
    plain = sklearn("Ridge") if task == "regression" else sklearn("LogisticRegression")
    return {"trees": XGBOOST, "plain": plain, "network": TORCH}


def recipe(task: str, combine: str, own: dict | None = None, types: dict | None = None, **changes) -> Recipe:
    model = {"family": "ensemble", "combine": combine, "members": own or members(task), "folds": 3, "copies": 2}
    settings = {"task": task, "model": model, "missing": {"default": {"strategy": "mode"}}, **changes}
    settings |= {"quantile": 0.8} if task == "quantile" else {}
    classes = {"multiclass": ["low", "middle", "high"], "binary": ["0", "1"], "anomaly": ["0", "1"]}.get(task, [])
    return Recipe(Training.model_validate(settings), types or TYPES, classes, threads=1)


def table(rows: int = ROWS, seed: int = 1) -> pa.Table:
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "amount_eur": pa.array(random.uniform(0, 100, rows), mask=np.arange(rows) % 12 == 0),
            "age_days": random.integers(0, 50, rows),
            "country": np.resize(["DE", "FR", "AT"], rows),
            "card_id": [f"card-{number % 30}" for number in range(rows)],
        }
    )


def target(task: str, given: pa.Table) -> np.ndarray:
    values = np.nan_to_num(given["amount_eur"].to_numpy()) + given["age_days"].to_numpy()
    return {"binary": (values > 70) * 1.0, "multiclass": np.digitize(values, [50, 100]) * 1.0}.get(
        task, (values > 140) * 1.0 if task == "anomaly" else values
    )


@pytest.mark.parametrize(("combine", "task"), CASES, ids=["-".join(case) for case in CASES])
def test_an_ensemble_is_fitted_saved_loaded_and_scores_alike(tmp_path, combine, task):
    model = fit(recipe(task, combine), Rows(table(), target(task, table())), np.arange(ROWS) >= 200)
    later = table(50, seed=2)
    scores = model.predict(later)
    assert scores.shape == ((50, 3) if task == "multiclass" else (50,))
    assert np.isfinite(scores).all()
    if task == "multiclass":
        assert scores.sum(axis=1) == pytest.approx(np.ones(50))
    assert sum(model.facts["weights"].values()) == pytest.approx(1)
    assert sum(model.importance().values()) == pytest.approx(1, abs=1e-6) or task == "anomaly"
    model.save(tmp_path / "model")
    assert np.array_equal(Model.load(tmp_path / "model").predict(later), scores)


@pytest.mark.parametrize("combine", ["weighted", "stacking", "bagging"])
def test_the_same_rows_and_seed_give_the_same_bytes(combine):
    own = {"trees": {**XGBOOST, "parameters": {"subsample": 0.5}}, "plain": sklearn("LogisticRegression")}
    rows = Rows(table(), target("binary", table()))
    one, two = (fit(recipe("binary", combine, own), rows, None).to_files() for _ in range(2))
    assert one == two
    assert fit(recipe("binary", combine, own, seed=7), rows, None).to_files() != one


# -- leaks ------------------------------------------------------------------------------------------------------------


CANARY_TYPES = {"signal": "number", "canary": "number"}
CANARY_MEMBERS = {
    "memory": sklearn("KNeighborsClassifier", n_neighbors=1),  # knows every training row by its canary
    "plain": sklearn("LogisticRegression"),
}


def with_canary(rows: int = 400, seed: int = 1) -> Rows:
    """The signal is right in four of five rows; the canary is different in every row and says nothing."""
    random = np.random.default_rng(seed)
    signal = random.normal(size=rows)
    labels = (signal > 0) ^ (random.random(rows) < 0.2)
    given = pa.table({"signal": signal, "canary": random.permutation(rows) * 1000.0})
    return Rows(given, labels * 1.0)


@pytest.mark.parametrize("combine", ["weighted", "stacking"])
def test_a_member_that_remembers_its_rows_gains_no_weight(combine):
    """On its own training rows the memory is always right: learnt from those scores, it would be all that counts."""
    rows, own = with_canary(), recipe("binary", combine, CANARY_MEMBERS, CANARY_TYPES)
    model = fit(own, rows, None)
    seen = [one.predict(rows.table) for one in model.estimator.members.values()]
    assert greedy_weights(own, seen, rows)[0] == 1.0
    assert model.facts["weights"]["memory"] < 0.3
    later = with_canary(seed=2)
    best = metric("log_loss", later.target, model.estimator.members["plain"].predict(later.table))
    assert metric("log_loss", later.target, model.predict(later.table)) < best + 0.02


def test_what_a_fold_says_does_not_reach_its_own_scores():
    """All labels of the second fold are turned around: its scores must not move, and those of the others must."""
    rows, own = with_canary(), recipe("binary", "stacking", CANARY_MEMBERS, CANARY_TYPES)
    inside = folds_of(own, rows) == 1
    turned = replace(rows, target=np.where(inside, 1 - rows.target, rows.target))
    for before, after in zip(out_of_fold(own, rows), out_of_fold(own, turned), strict=True):
        assert np.array_equal(before[inside], after[inside])
        assert not np.array_equal(before[~inside], after[~inside])


def test_no_group_stands_in_two_folds():
    """A card's rows are alike: a member that has seen one of them has seen the others."""
    own = recipe("binary", "stacking", group=["card_id"])
    given = table()
    found = folds_of(own, Rows(given, target("binary", given)))
    pairs = set(zip(given["card_id"].to_pylist(), found.tolist(), strict=True))
    assert len(pairs) == 30
    assert set(found.tolist()) == {0, 1, 2}
    blocks = folds_of(recipe("binary", "stacking"), Rows(given, target("binary", given)))
    assert blocks.tolist() == [0] * 80 + [1] * 80 + [2] * 80


def test_a_row_that_one_member_refuses_is_refused():
    """A plain model takes no gap that training never had; guessing from the other members would hide it."""
    whole = table().filter(pa.array(np.arange(ROWS) % 12 != 0))
    pair = {"trees": XGBOOST, "plain": sklearn("LogisticRegression")}
    own = recipe("binary", "voting", pair, missing={"default": {"strategy": "native"}})
    model = fit(own, Rows(whole, target("binary", whole)), None)
    later = table(24, seed=2)
    assert np.flatnonzero(np.isnan(model.predict(later))).tolist() == [0, 12]


def test_rows_that_make_no_folds_are_refused():
    given = table(40).set_column(3, "card_id", pa.array(["one"] * 40))
    with pytest.raises(ModelError, match=r"E-TRAIN-FIT.*cannot be divided into 3 folds"):
        fit(recipe("binary", "weighted", group=["card_id"]), Rows(given, target("binary", given)), None)
