"""Every allowed estimator is fitted, saved, loaded and scores alike; the holdout and the future are never seen."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipelines.errors import DataError, ModelError
from pipelines.models.estimators import ESTIMATORS
from pipelines.models.fitting import Recipe, Rows, fit, fit_on_part
from pipelines.models.model import Model
from pipelines.settings.training import Training

ROWS = 150
TYPES = {"amount_eur": "number", "age_days": "number", "country": "category"}
FEW = {  # what would otherwise take seconds
    "MLPClassifier": {"max_iter": 20, "hidden_layer_sizes": [4]},
    "MLPRegressor": {"max_iter": 20, "hidden_layer_sizes": [4]},
    "RandomForestClassifier": {"n_estimators": 5},
    "RandomForestRegressor": {"n_estimators": 5},
    "ExtraTreesClassifier": {"n_estimators": 5},
    "ExtraTreesRegressor": {"n_estimators": 5},
    "GradientBoostingClassifier": {"n_estimators": 5},
    "GradientBoostingRegressor": {"n_estimators": 5},
    "HistGradientBoostingClassifier": {"max_iter": 5},
    "HistGradientBoostingRegressor": {"max_iter": 5},
    "AdaBoostClassifier": {"n_estimators": 5},
    "AdaBoostRegressor": {"n_estimators": 5},
}
CASES = [(name, task) for name, one in ESTIMATORS.items() for task in one.tasks]


def table(rows: int = ROWS, seed: int = 1, gaps: bool = True) -> pa.Table:
    random = np.random.default_rng(seed)
    amounts = random.uniform(0, 100, rows)
    return pa.table(
        {
            "amount_eur": pa.array(amounts, mask=np.arange(rows) % 10 == 0 if gaps else None),
            "age_days": random.integers(0, 50, rows),
            "country": pa.array(np.resize(["DE", "FR", "AT"], rows), mask=np.arange(rows) % 7 == 0 if gaps else None),
        }
    )


def target(task: str, rows: int = ROWS) -> np.ndarray:
    values = np.nan_to_num(table(rows)["amount_eur"].to_numpy())
    return {
        "binary": (values > 50) * 1.0,
        "multiclass": values // 34,
        "regression": values + 1,
        "quantile": values,
        "anomaly": (values > 95) * 1.0,
        "segments": np.zeros(rows),  # nobody has told
    }[task]


def recipe(task: str, model: dict | None = None, missing: dict | None = None, **changes) -> Recipe:
    settings = {
        "task": task,
        "quantile": 0.8 if task == "quantile" else None,
        "missing": missing or {"default": {"strategy": "median"}},
        **changes,
    }
    if model:
        settings["model"] = model
    classes = {"binary": ["0", "1"], "multiclass": ["low", "middle", "high"], "anomaly": ["0", "1"]}.get(task, [])
    return Recipe(Training.model_validate(settings), TYPES, classes, threads=1)


def sklearn(name: str, **parameters) -> dict:
    return {"family": "sklearn", "estimator": name, "parameters": parameters}


XGBOOST = {"family": "xgboost", "rounds": 6, "early_stopping_rounds": 2}


@pytest.mark.parametrize(("name", "task"), CASES, ids=[f"{name}-{task}" for name, task in CASES])
def test_an_allowed_estimator_is_fitted_saved_loaded_and_scores_alike(tmp_path, name, task):
    model = fit(recipe(task, sklearn(name, **FEW.get(name, {}))), Rows(table(), target(task)), None)
    scores = model.predict(table(50, seed=2))
    is_wide = task in ("multiclass", "segments")
    assert scores.shape == ((50, len(model.classes)) if is_wide else (50,))
    assert np.isfinite(scores).all()
    if task not in ("regression", "quantile"):
        assert ((scores >= 0) & (scores <= 1)).all()
    if is_wide:
        assert scores.sum(axis=1) == pytest.approx(np.ones(50))
    model.save(tmp_path / "model")
    assert np.array_equal(Model.load(tmp_path / "model").predict(table(50, seed=2)), scores)
    assert sum(model.importance().values()) == pytest.approx(1) or not any(model.importance().values())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("LogisticRegression", {"l1_ratio": 1, "solver": "liblinear"}),
        ("LogisticRegression", {"l1_ratio": 0.5, "solver": "saga"}),
        ("SGDClassifier", {"penalty": "elasticnet"}),
        ("LinearSVC", {"penalty": "l1"}),
        ("SVC", {"kernel": "poly", "degree": 2}),
        ("KNeighborsClassifier", {"metric": "cosine", "weights": "distance"}),
        ("LinearDiscriminantAnalysis", {"solver": "lsqr", "shrinkage": "auto"}),
        ("MLPClassifier", {"solver": "lbfgs", "max_iter": 5, "hidden_layer_sizes": [4, 4]}),
        ("GradientBoostingRegressor", {"loss": "huber", "n_estimators": 3}),
        ("HistGradientBoostingRegressor", {"loss": "gamma", "max_iter": 3}),
        ("HistGradientBoostingRegressor", {"loss": "poisson", "max_iter": 3}),
        ("SGDRegressor", {"loss": "huber"}),
    ],
)
def test_what_parameters_bring_into_a_model_is_loaded_again(tmp_path, name, parameters):
    """A loss or a solver is an object of its own in the file: one that is not trusted would be found after training."""
    task = "regression" if name.endswith("Regressor") else "binary"
    model = fit(recipe(task, sklearn(name, **parameters)), Rows(table(), target(task)), None)
    model.save(tmp_path / "model")
    assert np.array_equal(Model.load(tmp_path / "model").predict(table(50)), model.predict(table(50)))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("family", ["xgboost", "sklearn"])
def test_the_same_rows_and_seed_give_the_same_bytes_and_another_seed_does_not(family, task):
    kind = "Regressor" if task == "regression" else "Classifier"
    sampled = {**XGBOOST, "parameters": {"subsample": 0.5}}
    model = sampled if family == "xgboost" else sklearn(f"RandomForest{kind}", n_estimators=5)
    late = np.arange(ROWS) >= 120
    one, two = (fit(recipe(task, model), Rows(table(), target(task)), late).to_files() for _ in range(2))
    assert one == two
    assert fit(recipe(task, model, seed=7), Rows(table(), target(task)), late).to_files() != one


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_xgboost_reloaded_scores_alike(tmp_path, task):
    model = fit(recipe(task, XGBOOST, {"country": {"strategy": "mode"}}), Rows(table(), target(task)), None)
    model.save(tmp_path / "model")
    assert np.array_equal(Model.load(tmp_path / "model").predict(table(seed=3)), model.predict(table(seed=3)))


def test_xgboost_takes_another_number_of_bins():
    """The matrix and the booster must agree on it."""
    binned = recipe("binary", {**XGBOOST, "parameters": {"max_bin": 16}})
    assert fit(binned, Rows(table(), target("binary")), np.arange(ROWS) >= 120).facts["rounds"] >= 1


@pytest.mark.parametrize(
    "missing",
    [
        {"strategy": "constant", "value": -1, "indicator": True},
        {"strategy": "mean"},
        {"strategy": "mode"},
        {"strategy": "knn", "neighbours": 3},
        {"strategy": "iterative", "max_iter": 3, "indicator": True},
        {"strategy": "forward_fill", "entity": ["card_id"]},
    ],
    ids=lambda missing: missing["strategy"],
)
def test_every_way_to_fill_gaps_survives_a_reload(tmp_path, missing):
    filled = recipe("binary", sklearn("LogisticRegression"), {"amount_eur": missing})
    model = fit(filled, Rows(table(), target("binary")), None)
    scores = model.predict(table(40, seed=2))
    assert np.isfinite(scores).all()
    model.save(tmp_path / "model")
    assert np.array_equal(Model.load(tmp_path / "model").predict(table(40, seed=2)), scores)


def test_what_is_fitted_never_looks_at_other_rows():
    """Preparation learns from the rows to fit alone: the median, the categories and the scale of later rows differ."""
    later = pa.table({"amount_eur": [1e6] * 50, "age_days": [999] * 50, "country": ["ZZ"] * 50})
    both, is_late = pa.concat_tables([table(), later]), np.arange(ROWS + 50) >= ROWS
    answers = np.concatenate([target("binary"), np.ones(50)])
    logistic = recipe("binary", sklearn("LogisticRegression"))
    part = fit_on_part(logistic, Rows(both, answers), is_late)
    assert part.to_files() == fit(logistic, Rows(table(), target("binary")), None).to_files()


def test_rows_without_a_dropped_feature_are_neither_learnt_from_nor_scored():
    """Ten of a hundred rows have no amount, and wrong labels: the model must equal the one that never had them."""
    missing = {"amount_eur": {"strategy": "drop"}, "default": {"strategy": "mode"}}
    given, answers = table(), target("binary")
    lacking = given["amount_eur"].is_null().to_numpy(zero_copy_only=False)
    poisoned = np.where(lacking, 1 - answers, answers)
    model = fit(recipe("binary", XGBOOST, missing), Rows(given, poisoned), np.arange(ROWS) >= 120)
    kept = given.filter(pa.array(~lacking))
    alone = fit(recipe("binary", XGBOOST, missing), Rows(kept, answers[~lacking]), (np.arange(ROWS) >= 120)[~lacking])
    assert model.to_files() == alone.to_files()
    assert np.array_equal(np.isnan(model.predict(given)), lacking)


@pytest.mark.parametrize("name", ["RandomForestClassifier", "LogisticRegression", "GaussianNB"])
def test_a_class_without_training_rows_keeps_its_column(name):
    """scikit-learn gives two columns for three classes; 'high' would be read as 'middle'."""
    answers = np.where(target("multiclass") == 1, 2, target("multiclass"))
    scores = fit(recipe("multiclass", sklearn(name)), Rows(table(), answers), None).predict(table(30, seed=2))
    assert scores.shape == (30, 3)
    assert (scores[:, 1] == 0).all()
    assert scores[:, 2].max() > 0.5


@pytest.mark.parametrize(
    ("model", "answers", "message"),
    [
        pytest.param(None, np.arange(ROWS) % 9.0, r"E-TRAIN-FIT 'XGBoost': .*must be in", id="label"),
        pytest.param(
            {"family": "xgboost", "parameters": {"subsample": 7.0}}, None, "E-TRAIN-FIT 'XGBoost'", id="parameter"
        ),
        pytest.param(sklearn("LogisticRegression", C=-1.0), None, "E-TRAIN-FIT 'LogisticRegression'", id="sklearn"),
        pytest.param(sklearn("LogisticRegression", depth=3), None, "E-MODEL-PARAMETER.*depth", id="unknown"),
    ],
)
def test_what_a_library_refuses_is_a_model_error(model, answers, message):
    with pytest.raises(ModelError, match=message):
        fit(recipe("binary", model), Rows(table(), target("binary") if answers is None else answers), None)


def test_gaps_that_nobody_handles_are_refused():
    with pytest.raises(ModelError, match=r"E-TRAIN-MISSING feature 'amount_eur'.*15 of 150"):
        fit(
            recipe("binary", sklearn("Ridge"), {"country": {"strategy": "mode"}}), Rows(table(), target("binary")), None
        )


def test_unknown_values_at_scoring_are_survived_and_lacking_features_are_not():
    model = fit(recipe("binary"), Rows(table(), target("binary")), None)
    strange = pa.table({"country": ["??", None], "age_days": [10**12, None], "amount_eur": [float("inf"), 1e300]})
    assert np.isfinite(model.predict(strange)).all()
    assert model.predict(table(0)).shape == (0,)
    with pytest.raises(DataError, match=r"E-SCORE-SCHEMA.*'country'"):
        model.predict(strange.drop_columns("country"))
    with pytest.raises(DataError, match=r"E-SCORE-SCHEMA.*amount_eur \(string, trained as number\)"):
        model.predict(strange.set_column(2, "amount_eur", pa.array(["1", "2"])))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda folder: (folder / "model.ubj").unlink(), "E-MODEL-FORMAT", id="file missing"),
        pytest.param(lambda folder: (folder / "code.py").write_text("1"), "E-MODEL-HASH.*'code.py'", id="foreign file"),
        pytest.param(lambda folder: (folder / "model.json").write_text("{"), "E-MODEL-FORMAT", id="cut"),
        pytest.param(
            lambda folder: (folder / "model.json").write_text(
                (folder / "model.json").read_text().replace('"format": 1', '"format": 2')
            ),
            "E-MODEL-FORMAT.*got 2",
            id="format of the future",
        ),
    ],
)
def test_a_damaged_folder_is_no_model(tmp_path, damage, message):
    fit(recipe("binary", XGBOOST), Rows(table(), target("binary")), None).save(tmp_path / "model")
    damage(tmp_path / "model")
    with pytest.raises(ModelError, match=message):
        Model.load(tmp_path / "model")
