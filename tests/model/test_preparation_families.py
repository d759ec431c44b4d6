"""Every family learns from prepared columns, is stored without pickle, scores alike again, explains its features."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.errors import DataError, ModelError
from pipelines.explanations.coefficients import coefficients
from pipelines.explanations.contributions import contributions
from pipelines.explanations.explain_model import explain_model
from pipelines.models import model_problems
from pipelines.models.fitting import fit
from pipelines.models.model import Model
from pipelines.models.preparation_problems import preparation_problems
from pipelines.models.recipe import Recipe, Rows
from pipelines.report.card_preparation import preparation_facts
from pipelines.settings.training import Training
from tests import builders

TYPES = {"amount": "number", "count": "number", "shop": "category", "country": "category", "note": "text"}
LOGISTIC = {"family": "sklearn", "estimator": "LogisticRegression"}
FAMILIES: dict[str, dict[str, Any]] = {
    "xgboost": {"family": "xgboost", "rounds": 20, "early_stopping_rounds": None, "parameters": {"max_depth": 3}},
    "linear": LOGISTIC,
    "forest": {"family": "sklearn", "estimator": "RandomForestClassifier", "parameters": {"n_estimators": 20}},
    "network": {
        **{"family": "torch", "hidden_layers": [8], "epochs": 15, "batch_rows": 32},
        **{"learning_rate": 0.02, "early_stopping_epochs": None},
    },
    "voting": {"family": "ensemble", "combine": "voting", "members": {"a": LOGISTIC, "b": {"family": "xgboost"}}},
}
ENCODE = {
    "shop": {"encoder": "target", "smoothing": 5},
    "country": {"encoder": "frequency"},
    "note": {"encoder": "tfidf", "max_features": 6},
}
PREPARED: dict[str, dict[str, Any]] = {
    "encoded": {"encode": ENCODE, "scale": "minmax"},
    "hashed and selected": {
        "encode": ENCODE | {"note": {"encoder": "hashing", "features": 16}},
        "scale": "robust",
        "select": [{"by": "variance"}, {"by": "mutual_information", "keep": 10}, {"by": "recursive", "keep": 8}],
    },
    "components": {"encode": ENCODE, "project": {"method": "pca", "components": 6}},
    "random components": {"encode": ENCODE, "project": {"method": "random", "components": 9}, "vif": True},
    "coded": {"encode": ENCODE, "project": {"method": "autoencoder", "components": 5, "keep_inputs": True}},
}
FILLED = {"default": {"strategy": "median", "indicator": True}} | {
    name: {"strategy": "native"} for name in ("shop", "country", "note")
}


def rows(count: int = 400, seed: int = 1) -> Rows:
    """The label follows the amount, the shop and a word."""
    random = np.random.default_rng(seed)
    amount = random.normal(50, 20, count)
    shop = random.choice([f"shop-{number}" for number in range(12)], count)
    word = random.choice(["prize", "home", "call", "today"], count)
    raw = (amount - 50) / 15 + np.isin(shop, ["shop-1", "shop-2", "shop-3"]) * 2 + (word == "prize") * 2 - 1
    table = pa.table(
        {
            "amount": pa.array(amount, mask=random.random(count) < 0.05),
            "count": random.integers(0, 5, count),
            "shop": pa.array(shop.tolist(), mask=random.random(count) < 0.05),
            "country": random.choice(["DE", "FR"], count).tolist(),
            "note": [f"{one} me {other}" for one, other in zip(word, random.permutation(word), strict=True)],
        }
    )
    return Rows(table, (raw + random.normal(0, 0.7, count) > 0).astype(float))


def fitted(model: dict[str, Any], task: str = "binary", known: Rows | None = None, **changes: Any) -> Model:
    training = Training.model_validate({"task": task, "model": model, "missing": FILLED, **changes})
    classes = {"binary": ["0", "1"], "multiclass": ["a", "b", "c"]}.get(task, [])
    return fit(Recipe(training, TYPES, classes, threads=1), known or rows(), None)


@pytest.mark.slow
@pytest.mark.parametrize("prepared", PREPARED)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_learns_from_prepared_columns_and_is_the_same_after_storing(tmp_path, family, prepared):
    model = fitted(FAMILIES[family], **PREPARED[prepared])
    unseen = rows(200, seed=2)
    scores = model.predict(unseen.table)
    assert np.mean((scores > 0.5) == unseen.target) > 0.65
    model.save(tmp_path / "model")
    loaded = Model.load(tmp_path / "model")
    assert np.array_equal(loaded.predict(unseen.table), scores)
    assert loaded.preprocess.to_dict() == model.preprocess.to_dict()
    assert loaded.facts == model.facts
    # A row is prepared as it is among others: shards of any size score alike.
    whole = loaded.preprocess.transform(unseen.table)
    assert np.array_equal(loaded.preprocess.transform(unseen.table.slice(150)), whole[150:])
    assert np.array_equal(loaded.preprocess.transform(unseen.table.slice(7, 1)), whole[7:8])
    assert fitted(FAMILIES[family], **PREPARED[prepared]).to_files() == model.to_files()
    assert sum(loaded.importance().values()) == pytest.approx(1)
    assert set(loaded.importance()) == set(TYPES)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
@pytest.mark.parametrize("family", ["xgboost", "sklearn"])
def test_labels_of_other_tasks_encode_and_select_too(tmp_path, family, task):
    known = rows()
    target = known.target + (known.table["count"].to_numpy() > 3) if task == "multiclass" else 10 * known.target
    estimator = "LogisticRegression" if task == "multiclass" else "Ridge"
    model = fitted(
        {"family": family} | ({"estimator": estimator} if family == "sklearn" else {"rounds": 10}),
        task,
        Rows(known.table, target.astype(float)),
        encode=ENCODE,
        select=[{"by": "variance"}, {"by": "l1", "alpha": 0.001}, {"by": "mutual_information", "keep": 8}],
        project={"method": "pca", "components": 3, "keep_inputs": True},
    )
    model.save(tmp_path / "model")
    scores = Model.load(tmp_path / "model").predict(known.table)
    assert np.array_equal(scores, model.predict(known.table))
    assert scores.shape == ((400, 3) if task == "multiclass" else (400,))
    wanted = 3 if task == "multiclass" else 1
    assert sum("(target" in name for name in model.preprocess.encoded_names) == wanted


def test_nothing_asked_for_leaves_no_trace_in_the_model():
    kinds = {"amount": "number", "country": "category"}
    training = Training.model_validate({"task": "binary", "model": FAMILIES["xgboost"]})
    model = fit(Recipe(training, kinds, ["0", "1"], threads=1), rows(), None)
    files = model.to_files()
    assert sorted(files) == ["model.json", "model.ubj"]
    manifest = json.loads(files["model.json"])
    assert list(manifest["preprocess"]) == ["one_hot", "scaled", "columns", "imputers"]
    assert [set(one) & {"encoder", "pixels"} for one in manifest["preprocess"]["columns"]] == [set(), set()]
    assert "preparation" not in manifest["facts"]


def test_a_gap_that_no_training_row_had_is_refused_where_it_would_be_part_of_components():
    """XGBoost alone would take it; a component of which one part is missing is no number."""
    known = rows()
    table = known.table.set_column(0, "amount", pa.array(np.arange(400.0)))
    native = {"missing": {"default": {"strategy": "native"}}}
    model = fitted(FAMILIES["xgboost"], known=Rows(table, known.target), **native, **PREPARED["components"])
    gap = table.slice(0, 3).set_column(0, "amount", pa.array([1.0, None, 3.0]))
    assert np.isnan(model.predict(gap)).tolist() == [False, True, False]
    with pytest.raises(ModelError, match="E-TRAIN-MISSING feature 'amount'"):
        fitted(FAMILIES["xgboost"], **native, **PREPARED["components"])


def test_a_feature_of_which_no_column_was_selected_must_still_be_there_and_counts_nothing():
    model = fitted(LOGISTIC, encode=ENCODE, select=[{"by": "recursive", "keep": 2}])
    unused = [name for name, share in model.importance().items() if share == 0]
    assert unused
    with pytest.raises(DataError, match="E-SCORE-SCHEMA"):
        model.predict(rows(5).table.drop_columns(unused[0]))


@pytest.mark.parametrize("prepared", ["encoded", "hashed and selected", "components", "random components"])
def test_contributions_and_coefficients_of_linear_models_go_through_selection_and_components(prepared):
    model = fitted(LOGISTIC, **PREPARED[prepared])
    unseen = rows(50, seed=3).table
    found = contributions(model, unseen)
    assert not isinstance(found, str)
    scores = 1 / (1 + np.exp(-found.total()[:, 0]))
    assert scores == pytest.approx(model.predict(unseen))
    told = coefficients(model)
    terms = {row["term"]: row["per_unit"] for row in told["rows"]}
    assert terms["amount"] > 1
    assert model.importance()["amount"] > 0
    assert explain_model(model, "roc_auc", rows(300, seed=4).table, rows(300, seed=4).target, 1)["dependence"]


def test_a_coefficient_through_components_is_the_one_of_its_column():
    """Score of a row with one euro more, minus the score of the row, on the scale of log-odds."""
    model = fitted(LOGISTIC, **PREPARED["components"])
    row = rows(1, seed=6).table.set_column(0, "amount", pa.array([40.0]))
    more = row.set_column(0, "amount", pa.array([41.0]))
    odds = [score / (1 - score) for score in (*model.predict(row), *model.predict(more))]
    (found,) = [one["per_unit"] for one in coefficients(model)["rows"] if one["term"] == "amount"]
    assert odds[1] / odds[0] == pytest.approx(found)


@pytest.mark.parametrize(("family", "prepared"), [("xgboost", "components"), ("linear", "coded")])
def test_scores_of_components_that_do_not_divide_say_so(family, prepared):
    model = fitted(FAMILIES[family], **PREPARED[prepared])
    found = contributions(model, rows(20).table)
    assert isinstance(found, str)
    assert "each made of many features" in found


def test_trees_on_selected_columns_divide_their_scores_among_features():
    model = fitted(FAMILIES["xgboost"], **PREPARED["hashed and selected"])
    found = contributions(model, rows(20).table)
    assert not isinstance(found, str)
    assert found.values.shape == (20, 1, len(TYPES))


def test_the_card_tells_what_was_dropped_and_why_of_each_member():
    prepared = PREPARED["random components"] | {"select": [{"by": "mutual_information", "keep": 9}], "scale": "robust"}
    model = fitted(FAMILIES["voting"], **prepared)
    record = {"facts": json.loads(json.dumps(model.facts))}
    facts = preparation_facts(record)
    assert [one["member"] for one in facts] == ["a", "b"]
    assert "Numbers are scaled: robust." in facts[0]["said"]
    assert "shop is encoded by the mean label of 12 categories, out of fold: 1 column." in facts[0]["said"]
    assert facts[0]["dropped"][0].keys() == {"by", "column", "why"}
    assert facts[0]["factors"]


@pytest.mark.parametrize(
    ("training", "message"),
    [
        pytest.param(
            {"encode": {"contry": {"encoder": "target"}}},
            "E-MODEL-ENCODE training.encode.contry: unknown feature 'contry'. Did you mean 'country'?",
            id="typo",
        ),
        pytest.param(
            {"encode": {"amount_eur": {"encoder": "target"}}},
            "E-MODEL-ENCODE training.encode.amount_eur: 'target' needs a category, got a number",
            id="number",
        ),
        pytest.param(
            {"encode": {"country": {"encoder": "tfidf"}}},
            "E-MODEL-ENCODE training.encode.country: 'tfidf' needs a text, got a category",
            id="category as text",
        ),
        pytest.param(
            {"task": "anomaly", "encode": {"country": {"encoder": "target"}}},
            "E-MODEL-ENCODE training.encode.country: 'target' must be left out with task 'anomaly', "
            "which learns from no label",
            id="no label",
        ),
        pytest.param(
            {"task": "anomaly", "select": [{"by": "variance"}, {"by": "l1"}]},
            "E-MODEL-SELECT training.select by l1: must be left out with task 'anomaly', "
            "which learns from no label. Use 'variance' or 'correlation'.",
            id="selected by no label",
        ),
    ],
)
def test_settings_that_cannot_be_meant_are_named(training, message):
    settings = {"task": "binary", "model": {"family": "sklearn", "estimator": "IsolationForest"}, **training}
    settings["model"] = training.get("model") or (settings["model"] if settings["task"] == "anomaly" else LOGISTIC)
    missing = {"default": {"strategy": "mode"}}
    found = model_problems(builders.pipeline(training={**settings, "missing": missing}))
    assert found == [message]


def test_a_gap_in_a_text_cannot_be_a_mean():
    source = builders.pipeline().source.model_dump(exclude_none=True)
    source["columns"]["note"] = {"type": "text"}
    training = {"task": "binary", "missing": {"note": {"strategy": "median"}}}
    found = model_problems(builders.pipeline(source=source, features={"columns": ["note"]}, training=training))
    assert found == [
        "E-MODEL-MISSING training.missing.note: 'median' is nothing for a text; use 'constant' or 'drop', or none"
    ]


def test_a_sequence_keeps_all_its_steps():
    lag = {"kind": "lag", "columns": ["amount_eur"], "steps": 2}
    group = {"name": "cards", "owner": "tests", "entity": ["card_id"], "features": [lag]}
    training = {
        "task": "binary",
        "model": {"family": "torch_sequence", "network": "cnn"},
        "select": [{"by": "variance"}],
        "project": {"method": "pca", "components": 2},
        "missing": {"default": {"strategy": "mode"}},
    }
    found = model_problems(builders.pipeline(features={"groups": [group]}, training=training))
    assert found == [
        f"E-MODEL-{name.upper()} training.{name}: must be left out: 'torch_sequence' needs every step of a lag"
        for name in ("select", "project")
    ]


def test_an_image_keeps_all_its_pixels():
    training = Training.model_validate({"task": "binary", "project": {"method": "random", "components": 2}})
    assert preparation_problems(training, {"picture": "image"}) == [
        "E-MODEL-PROJECT training.project: must be left out: an image needs all its pixels"
    ]
