"""Explanations of small models whose numbers can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from pipelines.explanations.coefficients import coefficients
from pipelines.explanations.contributions import contributions, mean_contributions
from pipelines.explanations.dependence import MOST_VALUES, grid, partial_dependence
from pipelines.explanations.explain_model import explain_model
from pipelines.explanations.permutation import MOST_FEATURES, REPEATS, permutation_importance, strongest
from pipelines.explanations.sample import Sample, draw, generator, rows_for
from pipelines.models.fitting import Recipe, Rows, fit
from pipelines.settings.training import Training

TABLE = pa.table({"amount": [0.0, 1.0, 2.0, 3.0], "noise": [5.0, 5.0, 7.0, 7.0]})


class Doubled:
    """Score = 2 x amount; the other feature is ignored."""

    family = "stub"
    estimator_name = "Doubled"
    task = "regression"
    classes: list[str] = []

    def __init__(self, features=("amount", "noise")):
        self.features = list(features)
        self.types = dict.fromkeys(self.features, "number")
        self.calls = 0

    def predict(self, table):
        self.calls += 1
        return 2 * table["amount"].to_numpy()

    def importance(self):
        return dict.fromkeys(self.features, 0.0)


def whole(table=TABLE, labels=(0.0, 2.0, 4.0, 6.0)):
    return Sample(table, np.array(labels), np.ones(len(labels)), len(labels))


def model_of(table, target, model, task="binary", missing=None):
    types = {
        name: "category" if pa.types.is_string(table.schema.field(name).type) else "number"
        for name in table.column_names
    }
    training = Training.model_validate(
        {"task": task, "model": model, "missing": missing or {"default": {"strategy": "median"}}}
    )
    classes = [] if task == "regression" else [str(value) for value in sorted(set(target))]
    return fit(Recipe(training, types, classes, 1), Rows(table, np.array(target, dtype=float)), None)


def random_table(rows=300, seed=1):
    random = np.random.default_rng(seed)
    table = pa.table(
        {
            "amount": random.normal(50, 20, rows),
            "count": random.integers(0, 9, rows),
            "country": pa.array(random.choice(["DE", "FR", "IT"], rows)),
        }
    )
    raw = (
        (table["amount"].to_numpy() - 50) / 10 + (np.asarray(table["country"]) == "FR") * 2 + random.normal(0, 1, rows)
    )
    return table, raw


def test_permutation_loses_what_the_shuffled_values_cost():
    """Labels are 2 x amount: unshuffled rmse 0; shuffled it is 2 x the root mean square of the moves."""
    found = permutation_importance(Doubled(), "rmse", whole(), seed=3)
    amounts = np.array([0.0, 1.0, 2.0, 3.0])
    orders = [generator(3, "permutation", "amount", repeat).permutation(4) for repeat in range(REPEATS)]
    losses = [2 * math.sqrt(np.mean((amounts[order] - amounts) ** 2)) for order in orders]
    assert found["value"] == 0
    assert [row["feature"] for row in found["features"]] == ["amount", "noise"]
    assert found["features"][0]["loss"] == pytest.approx(np.mean(losses))
    assert found["features"][0]["spread"] == pytest.approx(np.std(losses))
    assert (found["features"][1]["loss"], found["features"][1]["spread"]) == (0, 0)


def test_permutation_of_a_metric_that_is_undefined_says_so():
    model = Doubled()
    model.task = "binary"
    assert "undefined" in permutation_importance(model, "roc_auc", whole(labels=(1.0, 1.0, 1.0, 1.0)), 1)["problem"]


def test_a_rare_class_is_in_the_sample_with_the_weight_of_the_holdout():
    labels = np.zeros(10_000)
    labels[[7, 5_000, 9_999]] = 1
    sample = draw(pa.table({"row": np.arange(10_000)}), labels, 100, seed=1)
    assert (len(sample), sample.labels.sum(), sample.of_rows) == (100, 3, 10_000)
    assert sample.weights[sample.labels == 1].tolist() == [1, 1, 1]
    assert sample.weights.sum() == pytest.approx(10_000)
    assert sample.table["row"].to_pylist() == sorted(sample.table["row"].to_pylist())


@pytest.mark.parametrize(
    "labels",
    [[0.0] * 50, [1.0] * 25 + [0.0] * 25, list(range(50))],
    ids=["one class only", "even classes", "numbers"],
)
def test_a_sample_has_as_many_rows_as_were_asked_for(labels):
    sample = draw(pa.table({"row": range(50)}), np.array(labels), 20, seed=1)
    assert (len(sample), sample.weights.sum()) == (20, pytest.approx(50))


def test_a_wide_table_costs_a_bounded_number_of_predictions():
    names = ["amount", *(f"x{number}" for number in range(2_000))]
    table = pa.table({name: np.arange(200.0) % (index + 2) for index, name in enumerate(names)})
    model = Doubled(names)
    found = explain_model(model, "rmse", table, np.arange(200.0), seed=1)
    # The sample once, the base once, each measured feature five times, and the curves.
    assert model.calls <= 2 + MOST_FEATURES * REPEATS + 6 * MOST_VALUES
    assert "amount" in [row["feature"] for row in found["permutation"]["features"]]
    assert found["permutation"]["not_measured"] == 2_001 - MOST_FEATURES
    assert rows_for(2_001, "XGBoost") < rows_for(20, "XGBoost")


def test_the_strongest_of_many_are_chosen_by_what_they_tell_of_the_scores():
    random = np.random.default_rng(1)
    table = pa.table({"amount": random.normal(size=500)} | {f"x{i}": random.normal(size=500) for i in range(60)})
    texts = pa.array([str(value > 0) for value in table["amount"].to_pylist()])
    table = table.append_column("side", texts)
    model = Doubled(table.column_names)
    chosen = strongest(model, Sample(table, np.zeros(500), np.ones(500), 500), model.predict(table))
    assert (len(chosen), chosen[0], chosen[-1]) == (MOST_FEATURES, "amount", "side")


def test_odds_ratios_are_per_unit_of_the_feature():
    """Two groups: 1 of 4 positive at amount 10, 3 of 4 at 20. Odds 1/3 and 3: ratio 9 for 10 units."""
    table = pa.table({"amount": [10.0] * 4 + [20.0] * 4})
    target = [0, 0, 0, 1, 0, 1, 1, 1]
    plain = {"family": "sklearn", "estimator": "LogisticRegression", "parameters": {"C": 1e9, "tol": 1e-10}}
    found = coefficients(model_of(table, target, plain))
    row = found["rows"][0]
    assert (found["kind"], row["term"], row["output"], row["deviation"]) == ("odds ratio", "amount", "1", 5.0)
    assert row["per_unit"] == pytest.approx(9 ** (1 / 10), rel=1e-4)
    assert row["per_deviation"] == pytest.approx(3, rel=1e-4)


def test_odds_ratios_of_categories_are_against_the_first():
    """Odds 1/3 in DE and 3 in FR: FR has nine times the odds of DE."""
    table = pa.table({"country": ["DE"] * 4 + ["FR"] * 4})
    plain = {"family": "sklearn", "estimator": "LogisticRegression", "parameters": {"C": 1e9, "tol": 1e-10}}
    row = coefficients(model_of(table, [0, 0, 0, 1, 0, 1, 1, 1], plain))["rows"][0]
    assert (row["term"], row["against"]) == ("country=FR", "country=DE")
    assert row["per_unit"] == pytest.approx(9, rel=1e-3)


def test_coefficients_of_a_regression_are_differences_in_its_units():
    """value = 3 x amount + 1."""
    table = pa.table({"amount": [1.0, 2.0, 3.0, 6.0]})
    model = model_of(table, [4, 7, 10, 19], {"family": "sklearn", "estimator": "LinearRegression"}, "regression")
    found = coefficients(model)
    assert found["kind"] == "difference"
    assert found["rows"][0]["per_unit"] == pytest.approx(3)
    # mean 3: a row with amount 1 lies 2 below it, 6 less than the mean prediction of 10
    parts = contributions(model, pa.table({"amount": [1.0]}))
    assert not isinstance(parts, str)
    assert (parts.values[0, 0, 0], parts.base[0, 0]) == (pytest.approx(-6), pytest.approx(10))


MODELS = {
    "xgboost": ({"family": "xgboost", "rounds": 12, "early_stopping_rounds": None}, "binary"),
    "xgboost of three classes": ({"family": "xgboost", "rounds": 6, "early_stopping_rounds": None}, "multiclass"),
    "xgboost of numbers": ({"family": "xgboost", "rounds": 12, "early_stopping_rounds": None}, "regression"),
    "logistic": ({"family": "sklearn", "estimator": "LogisticRegression"}, "binary"),
    "logistic of three classes": ({"family": "sklearn", "estimator": "LogisticRegression"}, "multiclass"),
    "one against the rest": ({"family": "sklearn", "estimator": "SGDClassifier"}, "multiclass"),
    "ridge": ({"family": "sklearn", "estimator": "Ridge"}, "regression"),
    "poisson": ({"family": "sklearn", "estimator": "PoissonRegressor"}, "regression"),
}


def target_of(task, raw):
    if task == "regression":
        return np.exp(raw / 10)
    return np.digitize(raw, [0, 2]) if task == "multiclass" else (raw > 0.5).astype(int)


@pytest.mark.parametrize(("settings", "task"), MODELS.values(), ids=MODELS)
def test_contributions_add_up_to_the_score(settings, task):
    table, raw = random_table()
    model = model_of(table, target_of(task, raw), settings, task)
    found = contributions(model, table.slice(0, 20))
    assert not isinstance(found, str), found
    assert found.values.shape == (20, 3 if task == "multiclass" else 1, 3)
    ranked = [row["feature"] for row in mean_contributions(model, table)["features"]]
    assert ranked[-1] == "count"


@pytest.mark.parametrize("estimator", ["RandomForestClassifier", "GaussianNB", "MLPClassifier"])
def test_other_families_say_that_they_have_no_contributions(estimator):
    table, raw = random_table()
    model = model_of(table, target_of("binary", raw), {"family": "sklearn", "estimator": estimator})
    found = explain_model(model, "roc_auc", table, (raw > 0.5).astype(float), seed=1)
    assert f"'{estimator}' does not split" in found["contributions"]["problem"]
    assert found["permutation"]["features"][0]["feature"] == "amount"
    assert found["permutation"]["features"][0]["loss"] > 0.1


def test_contributions_that_do_not_add_up_are_not_shown(monkeypatch):
    table, raw = random_table()
    model = model_of(table, target_of("binary", raw), MODELS["logistic"][0])
    monkeypatch.setattr(type(model), "uncalibrated", lambda _self, rows: np.full(rows.num_rows, 0.5))
    assert "adjusts later" in contributions(model, table)
    assert "problem" in explain_model(model, "log_loss", table, (raw > 0.5).astype(float), seed=1)["coefficients"]


def test_the_same_model_and_rows_give_the_same_explanation():
    table, raw = random_table(rows=1_500)
    model = model_of(table, target_of("binary", raw), MODELS["xgboost"][0])
    labels = target_of("binary", raw).astype(float)
    assert explain_model(model, "roc_auc", table, labels, 7) == explain_model(model, "roc_auc", table, labels, 7)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (pa.chunked_array([[3.0, 1.0, None, float("nan"), 1.0]]), "number", [1.0, 3.0]),
        (pa.chunked_array([["b", "a", "b", None]]), "category", ["b", "a"]),
        (pa.chunked_array([[True, False, None]]), "number", [False, True]),
        (pa.chunked_array([pa.array([None, None], pa.float64())]), "number", []),
    ],
    ids=["missing numbers are no value", "most frequent first", "booleans", "nothing there"],
)
def test_grid_holds_values_that_occur(values, kind, expected):
    assert [value.as_py() for value in grid(values, kind)] == expected


def test_grid_of_many_numbers_is_bounded_and_keeps_the_type():
    found = grid(pa.chunked_array([pa.array(range(1_000), pa.int64())]), "number")
    assert (len(found), found[0].type, found[0].as_py(), found[-1].as_py()) == (MOST_VALUES, pa.int64(), 20, 979)


def test_partial_dependence_is_the_mean_score_at_each_value():
    curves = partial_dependence(Doubled(), whole(), ["amount", "noise"])
    assert curves[0]["values"] == [0, 1, 2, 3]
    assert curves[0]["means"] == {"prediction": [0, 2, 4, 6]}
    assert curves[1]["means"] == {"prediction": [3, 3]}
