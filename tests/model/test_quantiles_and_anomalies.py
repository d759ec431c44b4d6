"""A quantile covers the share that it should, and a detector that saw normal rows alone finds the strange ones."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipelines.models.fitting import Recipe, Rows, fit
from pipelines.models.model import Model
from pipelines.settings.training import Training
from pipelines.training.metrics import metric

TYPES = {"amount_eur": "number", "age_days": "number", "country": "category"}
NETWORK = {"family": "torch", "hidden_layers": [8], "dropout": 0, "epochs": 60, "batch_rows": 64, "learning_rate": 0.01}
QUANTILES = {
    "xgboost": {"family": "xgboost", "rounds": 60, "parameters": {"max_depth": 2, "min_child_weight": 20}},
    "torch": NETWORK,
    "histogram": {"family": "sklearn", "estimator": "HistGradientBoostingRegressor", "parameters": {"max_iter": 30}},
    "boosting": {"family": "sklearn", "estimator": "GradientBoostingRegressor", "parameters": {"n_estimators": 30}},
    "linear": {"family": "sklearn", "estimator": "QuantileRegressor", "parameters": {"alpha": 0.0}},
}
DETECTORS = {
    "forest": {"family": "sklearn", "estimator": "IsolationForest", "parameters": {"n_estimators": 50}},
    "neighbours": {"family": "sklearn", "estimator": "LocalOutlierFactor"},
    "covariance": {"family": "sklearn", "estimator": "EllipticEnvelope"},
    "segments": {"family": "sklearn", "estimator": "KMeans", "parameters": {"n_clusters": 3}},
    "autoencoder": {**NETWORK, "hidden_layers": [8, 2]},
}


def recipe(task: str, model: dict, **changes) -> Recipe:
    settings = {"task": task, "model": model, "missing": {"default": {"strategy": "median"}}, **changes}
    classes = ["0", "1"] if task == "anomaly" else []
    return Recipe(Training.model_validate(settings), TYPES, classes, threads=1)


def payments(rows: int, seed: int) -> pa.Table:
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "amount_eur": random.uniform(0, 100, rows),
            "age_days": random.integers(0, 50, rows),
            "country": np.resize(["DE", "FR", "AT"], rows),
        }
    )


def cost(table: pa.Table, seed: int) -> np.ndarray:
    """Twice the amount and noise that is uniform on 0 to 50: its 0.9 quantile lies 45 above."""
    return 2 * table["amount_eur"].to_numpy() + np.random.default_rng(seed).uniform(0, 50, table.num_rows)


@pytest.mark.parametrize("name", QUANTILES)
def test_a_quantile_covers_its_share_and_beats_the_constant(tmp_path, name):
    train, later = payments(1500, 1), payments(1500, 2)
    model = fit(recipe("quantile", QUANTILES[name], quantile=0.9), Rows(train, cost(train, 3)), None)
    scores, labels = model.predict(later), cost(later, 4)
    assert metric("coverage_error_0.9", labels, scores) < 0.08
    constant = np.full(1500, np.quantile(cost(train, 3), 0.9))
    assert metric("pinball_0.9", labels, scores) < 0.5 * metric("pinball_0.9", labels, constant)
    assert model.facts["quantile"] == 0.9
    model.save(tmp_path / "model")
    assert np.array_equal(Model.load(tmp_path / "model").predict(later), scores)


def with_strange_ones(rows: int, seed: int) -> tuple[pa.Table, np.ndarray]:
    """Normal payments lie on a line: 2 EUR a day of age. One in twenty is off it, inside the range of both columns."""
    random = np.random.default_rng(seed)
    age = random.integers(0, 50, rows)
    is_strange = np.arange(rows) % 20 == 0
    amount = np.where(is_strange, (2 * age + 50) % 100, 2 * age) + random.normal(0, 1, rows)
    return pa.table({"amount_eur": amount, "age_days": age, "country": ["DE"] * rows}), is_strange * 1.0


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_finds_what_was_never_labelled_for_it(tmp_path, name):
    train, labels = with_strange_ones(600, 1)
    later, strange = with_strange_ones(600, 2)
    model = fit(recipe("anomaly", DETECTORS[name]), Rows(train, labels), None)
    scores = model.predict(later)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert metric("pr_auc", strange, scores) > 0.3  # by chance 0.05
    model.save(tmp_path / "model")
    assert np.array_equal(Model.load(tmp_path / "model").predict(later), scores)


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_learns_from_normal_rows_alone(name):
    train, labels = with_strange_ones(200, 1)
    normal = train.filter(pa.array(labels == 0))
    both = fit(recipe("anomaly", DETECTORS[name]), Rows(train, labels), None)
    alone = fit(recipe("anomaly", DETECTORS[name]), Rows(normal, np.zeros(normal.num_rows)), None)
    assert both.to_files() == alone.to_files()
