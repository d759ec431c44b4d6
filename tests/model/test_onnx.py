"""ONNX files take features as columns and score as the model does, or are refused with the part that has no form."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pytest
from onnx.reference import ReferenceEvaluator

from pipelines.errors import ConfigError, ModelError
from pipelines.models.estimators import ESTIMATORS
from pipelines.models.fitting import fit
from pipelines.models.model import Model
from pipelines.models.recipe import Rows
from pipelines.serving.onnx_check import TOLERANCE, onnx_inputs, tried_rows
from pipelines.serving.onnx_export import export_onnx, onnx_bytes
from pipelines.training import snapshot, train
from pipelines.training.sample import take_sample
from tests.model.feeds import TRAINING, day
from tests.model.test_models_families import CASES, FEW, ROWS, XGBOOST, recipe, sklearn, table, target
from tests.model.test_serving import DROP, MEDIAN, MIXED, NETWORK, fitted

FILLED = {"default": {"strategy": "median", "indicator": True}, "country": {"strategy": "native"}}
NATIVE = {"amount_eur": {"strategy": "native", "indicator": True}, "country": {"strategy": "native"}}
FORESTS = {"IsolationForest": {"n_estimators": 5}, **FEW}  # skl2onnx takes a minute for 100 trees of it


def ensemble(combine: str, **members: dict[str, Any]) -> dict[str, Any]:
    return {"family": "ensemble", "combine": combine, "folds": 3, "copies": 2, "members": members}


OTHERS = {
    **{f"xgboost-{task}": (task, XGBOOST, NATIVE) for task in ("binary", "multiclass", "regression", "quantile")},
    "xgboost-drop": ("binary", XGBOOST, DROP),
    **{f"network-{task}": (task, NETWORK, MEDIAN) for task in ("binary", "multiclass", "regression", "anomaly")},
    "network-drop": ("binary", NETWORK, DROP),
    "histogram-native": ("regression", sklearn("HistGradientBoostingRegressor", loss="gamma", max_iter=3), NATIVE),
    "linear-drop": ("binary", sklearn("LogisticRegression"), DROP),
    "stacking-mixed": ("binary", MIXED, DROP),
    "stacking-values": ("regression", ensemble("stacking", a=XGBOOST, b=sklearn("Ridge")), MEDIAN),
    "weighted-classes": ("multiclass", ensemble("weighted", a=XGBOOST, b=sklearn("GaussianNB")), MEDIAN),
    "bagging": ("binary", ensemble("bagging", a=XGBOOST), {}),
}
CONSTANTS = {name for name, one in ESTIMATORS.items() if one.kind == "constant"}
SKLEARN = [(name, task) for name, task in CASES if task != "segments" and name not in CONSTANTS]


def exported(model: Model) -> tuple[bytes, dict[str, Any]]:
    facts = {"pipeline": "churn", "version": 3, "sha256": "a" * 64}
    content, said = onnx_bytes(model, take_sample(model, table()), facts)
    print(f"{model.estimator_name} {model.task}: largest difference {said['largest_difference']:.1e}")
    return content, said


def scored(content: bytes, rows: pa.Table, model: Model) -> np.ndarray:
    return onnxruntime.InferenceSession(content).run(["score"], onnx_inputs(rows, model.types))[0]


@pytest.mark.parametrize(("name", "task"), SKLEARN, ids=[f"{name}-{task}" for name, task in SKLEARN])
def test_an_allowed_estimator_scores_alike_as_onnx(name, task):
    model = fitted(task, sklearn(name, **FORESTS.get(name, {})), FILLED)
    content, said = exported(model)
    assert said["largest_difference"] <= TOLERANCE
    expected = model.predict(table(80, seed=9))
    found = scored(content, table(80, seed=9), model)
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("case", OTHERS)
def test_other_families_score_alike_as_onnx_with_gaps_unseen_categories_and_refused_rows(case):
    model = fitted(*OTHERS[case])
    content, said = exported(model)
    assert said["largest_difference"] <= TOLERANCE
    rows = pa.table(
        {
            "amount_eur": pa.array([10.0, None, 80.5, float("inf"), -1e30, 50.0]),
            "age_days": pa.array([1, 2, None, 4, 5, 6], pa.int64()),
            "country": pa.array(["DE", "FR", "AT", None, "never seen", "FR"]),
        }
    )
    expected = model.predict(rows)
    np.testing.assert_allclose(
        scored(content, rows, model).reshape(expected.shape), expected, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True
    )
    if OTHERS[case][2] is DROP:
        needs_age = case != "xgboost-drop"
        assert np.isnan(expected).tolist() == [False, True, needs_age, True, False, False]


PREPARED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "target": ("binary", sklearn("LogisticRegression"), {"encode": {"country": {"encoder": "target"}}}),
    "target of classes": ("multiclass", XGBOOST, {"encode": {"country": {"encoder": "target"}}}),
    "frequency": ("regression", sklearn("Ridge"), {"encode": {"country": {"encoder": "frequency"}}}),
    "robust scale": ("binary", sklearn("LogisticRegression"), {"scale": "robust"}),
    "selection": ("binary", XGBOOST, {"select": [{"by": "mutual_information", "keep": 2}]}),
    "pca": ("binary", sklearn("LogisticRegression"), {"project": {"method": "pca", "components": 2}}),
    "random": ("regression", XGBOOST, {"project": {"method": "random", "components": 2, "keep_inputs": True}}),
    "autoencoder": ("binary", sklearn("GaussianNB"), {"project": {"method": "autoencoder", "components": 2}}),
    "sigmoid": ("binary", XGBOOST, {"calibration": {"method": "sigmoid"}}),
    "isotonic": ("binary", sklearn("LogisticRegression"), {"calibration": {"method": "isotonic"}}),
    "sigmoid of classes": ("multiclass", sklearn("GaussianNB"), {"calibration": {"method": "sigmoid"}}),
    "isotonic of classes": ("multiclass", sklearn("LogisticRegression"), {"calibration": {"method": "isotonic"}}),
}


@pytest.mark.parametrize("case", PREPARED)
def test_encoding_selection_projection_and_calibration_lie_inside_the_file(case):
    task, model, changes = PREPARED[case]
    late = np.arange(ROWS) % 2 == 0
    fitted_model = fit(recipe(task, model, MEDIAN, **changes), Rows(table(), target(task)), late)
    content, said = exported(fitted_model)
    assert said["largest_difference"] <= TOLERANCE
    rows = pa.concat_tables([table(40, seed=6), table(2).set_column(2, "country", pa.array(["never seen", None]))])
    expected = fitted_model.predict(rows)
    found = scored(content, rows, fitted_model).reshape(expected.shape)
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE)


def test_the_file_says_what_it_is_and_equal_models_give_equal_files():
    model = fitted("binary", XGBOOST, {})
    content, said = exported(model)
    assert exported(model)[0] == content
    file = onnx.load_from_string(content)
    onnx.checker.check_model(file, full_check=True)
    assert [one.name for one in file.graph.input] == ["amount_eur", "age_days", "country"]
    assert [one.name for one in file.graph.output] == ["score"]
    found = {entry.key.removeprefix("nightshift."): entry.value for entry in file.metadata_props}
    assert (found["pipeline"], found["version"], found["sha256"]) == ("churn", "3", "a" * 64)
    assert json.loads(found["features"]) == model.types
    assert float(found["tolerance"]) == TOLERANCE
    assert float(found["largest_difference"]) == said["largest_difference"] <= TOLERANCE
    assert found["missing"] == "NaN for a number, '' for a category"


def test_another_runtime_than_the_checking_one_reads_it():
    """onnx's own reference evaluator: the graph means the same without onnxruntime's kernels."""
    model = fitted("binary", sklearn("LogisticRegression"), FILLED)
    rows = table(20, seed=4)
    found = ReferenceEvaluator(onnx.load_from_string(exported(model)[0])).run(None, onnx_inputs(rows, model.types))[0]
    np.testing.assert_allclose(found[:, 0], model.predict(rows), atol=TOLERANCE)


REFUSED = {
    "imputer": (XGBOOST, {"amount_eur": {"strategy": "knn"}}, "missing: imputation by neighbours .* no converter"),
    "gaps that skl2onnx leaves out": (
        sklearn("DecisionTreeClassifier"),
        NATIVE,
        "its scores of 520 tried rows may differ by 1e-05 of probability, got 1",
    ),
    "metric that skl2onnx takes for another": (
        sklearn("KNeighborsClassifier", metric="cosine", weights="distance"),
        MEDIAN,
        "its scores of 520 tried rows may differ by",
    ),
    "constant": (sklearn("DummyClassifier"), MEDIAN, "skl2onnx cannot convert it: MissingShapeCalculator"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_form_in_onnx_is_refused_by_name(case):
    model, missing, message = REFUSED[case]
    with pytest.raises(ModelError, match=f"E-MODEL-ONNX .*{message}.*Serve it with MLflow instead"):
        exported(fitted("binary", model, missing))


def test_a_feature_of_words_is_refused():
    texts = replace(recipe("binary", XGBOOST), types={"amount_eur": "number", "country": "text"})
    model = fit(texts, Rows(table(), target("binary")), np.arange(ROWS) >= 120)
    with pytest.raises(ModelError, match=r"E-MODEL-ONNX feature 'country': a feature of type 'text'"):
        exported(model)


def test_an_empty_text_that_is_a_category_is_refused():
    rows = table().set_column(2, "country", pa.array(np.resize(["", "FR", "AT"], ROWS)))
    model = fit(recipe("binary", XGBOOST), Rows(rows, target("binary")), np.arange(ROWS) >= 120)
    with pytest.raises(ModelError, match=r"E-MODEL-ONNX feature 'country': the empty text is one of its categories"):
        onnx_bytes(model, take_sample(model, rows), {})


def test_the_tried_rows_hold_what_the_recorded_ones_do_not():
    model = fitted("binary", XGBOOST, {})
    sample = take_sample(model, table(gaps=False))
    rows = tried_rows(model, sample)
    assert rows.slice(0, 20).to_pydict() == sample["values"]
    assert rows.num_rows == 520
    assert all(rows[name].null_count > 20 for name in model.types)
    assert {"DE", "FR", "AT", "never seen in training", None} == set(rows["country"].to_pylist())
    assert rows.equals(tried_rows(model, sample))


@pytest.mark.slow
def test_a_registered_version_is_exported_whole_or_not_at_all(new_home, tmp_path):
    run = new_home(
        "2026-03-03", training=TRAINING | {"model": XGBOOST}, features={"columns": ["amount_eur", "country"]}
    )
    random = np.random.default_rng(3)
    for partition in ("2026-03-01", "2026-03-02", "2026-03-03"):
        amounts = random.uniform(0, 100, 120).tolist()
        day(run, partition, [{"amount_eur": one, "is_fraud": int(one > 50), "country": "DE"} for one in amounts])
    version = train(run, snapshot(run)["snapshot_id"])["version"]
    said = export_onnx(run, version, tmp_path / "fraud.onnx")
    assert (said["version"], said["compared_rows"]) == (version, 520)
    session = onnxruntime.InferenceSession(tmp_path / "fraud.onnx")
    record = run.ledger.model(run.name, version)["record"]
    rows = pa.table(record["sample"]["values"])
    found = session.run(["score"], onnx_inputs(rows, record["features"]))[0]
    np.testing.assert_allclose(found[:, 0], record["sample"]["scores"], atol=TOLERANCE)
    before = (tmp_path / "fraud.onnx").read_bytes()
    changed = {**record, "sample": {"values": record["sample"]["values"], "scores": []}}
    row = run.ledger.model(run.name, version)
    kept = {name: row[name] for name in ("run_id", "as_of", "mlflow_run_id", "artifact_uri", "artifact_sha256")}
    run.ledger.record_model(run.name, **kept, record=changed)
    with pytest.raises(ModelError, match="no rows were recorded when it was registered"):
        export_onnx(run, version, tmp_path / "fraud.onnx")
    assert (tmp_path / "fraud.onnx").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if "onnx" in path.name] == ["fraud.onnx"]


def test_without_its_packages_it_says_how_to_get_them(monkeypatch):
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ConfigError, match=r"E-ONNX-MISSING .* pip install -r requirements-onnx.txt"):
        exported(fitted("binary", XGBOOST, {}))
