"""Models that keep rows back: what those rows say reaches the calibration and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from pipelines.errors import ModelError
from pipelines.explanations.contributions import contributions
from pipelines.models.checkpoints import Checkpoints
from pipelines.models.fitting import Recipe, Rows, fit
from pipelines.models.model import Model
from pipelines.settings.training import Training
from pipelines.storage.files import LocalFiles
from pipelines.training.metrics import metric
from pipelines.training.uncertainty import covered, uncertainty

ROWS = 600
TYPES = {"amount_eur": "number", "age_days": "number"}
LATE = np.arange(ROWS) >= 480
XGBOOST = {"family": "xgboost", "rounds": 15, "parameters": {"max_depth": 2}}


def sklearn(name: str, **parameters) -> dict:
    return {"family": "sklearn", "estimator": name, "parameters": parameters}


MEMORY = sklearn("KNeighborsClassifier", n_neighbors=1)  # is certain of every row, and right on those that it has seen


def recipe(task: str, model: dict, **changes) -> Recipe:
    settings = {"task": task, "model": model, **changes}
    classes = {"multiclass": ["low", "middle", "high"], "binary": ["0", "1"]}.get(task, [])
    return Recipe(Training.model_validate(settings), TYPES, classes, threads=1)


def rows_of(task: str, count: int = ROWS, seed: int = 1) -> Rows:
    """The sum of both columns decides; three in twenty labels are another one."""
    random = np.random.default_rng(seed)
    amounts, ages = random.uniform(0, 100, count), random.integers(0, 50, count)
    cards = [f"card-{number % 60}" for number in range(count)]
    values = amounts + ages
    target = {"binary": (values > 75) * 1.0, "multiclass": np.digitize(values, [50, 100]) * 1.0}.get(task)
    if target is None:
        target = values + random.normal(0, 5, count)
    else:
        is_other = random.random(count) < 0.15
        target = np.where(is_other, random.integers(0, 3 if task == "multiclass" else 2, count), target)
    table = pa.table({"amount_eur": amounts, "age_days": ages.astype(float), "card_id": cards})
    return Rows(table, target)


CASES = {
    "boosted trees": ("binary", XGBOOST, {"calibration": {"method": "isotonic"}, "intervals": {}}),
    "naive Bayes of three classes": (
        "multiclass",
        sklearn("GaussianNB"),
        {"calibration": {"method": "sigmoid"}, "intervals": {"coverage": 0.8}},
    ),
    "regression": ("regression", XGBOOST, {"intervals": {"coverage": 0.8}}),
    "ensemble": (
        "binary",
        {"family": "ensemble", "combine": "voting", "members": {"a": XGBOOST, "b": sklearn("LogisticRegression")}},
        {"calibration": {"method": "sigmoid"}},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_model_is_saved_loaded_and_says_the_same(tmp_path, name):
    task, model, changes = CASES[name]
    fitted = fit(recipe(task, model, **changes), rows_of(task), LATE)
    again = fit(recipe(task, model, **changes), rows_of(task), LATE)
    assert again.to_files() == fitted.to_files()
    fitted.save(tmp_path / "model")
    loaded, later = Model.load(tmp_path / "model"), rows_of(task, 100, seed=2)
    assert np.array_equal(loaded.predict(later.table), fitted.predict(later.table))
    assert (loaded.calibrator, loaded.conformal) == (fitted.calibrator, fitted.conformal)
    assert uncertainty(loaded, later.table, later.target) == uncertainty(fitted, later.table, later.target)
    if task == "multiclass":
        assert loaded.predict(later.table).sum(axis=1) == pytest.approx(np.ones(100))


@pytest.mark.parametrize("method", ["isotonic", "auto"])
def test_a_training_that_is_cut_again_and_again_ends_with_the_same_bytes(tmp_path, monkeypatch, method):
    """`auto` finds nothing that helps here and fits a second time, on all rows: both fits are cut."""
    trees = XGBOOST | {"parameters": {"max_depth": 2, "subsample": 0.7}, "checkpoint_rounds": 4}
    own, rows = recipe("binary", trees, calibration={"method": method}), rows_of("binary")
    whole = fit(own, rows, LATE)
    assert ("kept_back" in whole.facts["uncertainty"]) == (method == "isotonic")
    checkpoints, save, saved = Checkpoints(LocalFiles(tmp_path)), Checkpoints.save, []

    def cut(self, *given, **more):
        save(self, *given, **more)
        saved.append(given[0])
        if len(saved) % 2 == 0:
            raise InterruptedError

    monkeypatch.setattr(Checkpoints, "save", cut)
    cuts, model = 0, None
    while model is None and cuts < 20:
        try:
            model = fit(own, rows, LATE, checkpoints)
        except InterruptedError:
            cuts += 1
    assert cuts >= 3
    assert model is not None
    assert model.to_files() == whole.to_files()


@pytest.mark.parametrize("name", ["boosted trees", "regression"])
def test_rows_kept_back_do_not_reach_the_model(name):
    """All their labels are turned around: the trees are the same, and what is learnt of them is not."""
    task, model, changes = CASES[name]
    rows = rows_of(task)
    other = replace(rows, target=np.where(LATE, 1 - rows.target, rows.target))
    one, two = (fit(recipe(task, model, **changes), given, LATE) for given in (rows, other))
    assert one.to_files()["model.ubj"] == two.to_files()["model.ubj"]
    assert (one.calibrator, one.conformal) != (two.calibrator, two.conformal)
    assert one.facts["uncertainty"]["fitted_rows"] == 480


def test_a_model_that_remembers_its_rows_is_not_believed():
    """On rows that it has learnt from, the memory is always right: calibrated on those it would stay certain."""
    rows, later = rows_of("binary"), rows_of("binary", seed=2)
    certain = fit(recipe("binary", MEMORY), rows, LATE).predict(later.table)
    model = fit(recipe("binary", MEMORY, calibration={}), rows, LATE)
    scores = model.predict(later.table)
    assert set(np.unique(certain)) == {0.0, 1.0}
    assert model.facts["uncertainty"]["calibration"]["method"] != "none"
    assert 0.02 < scores.min() < scores.max() < 0.98
    assert metric("log_loss", later.target, scores) < metric("log_loss", later.target, certain) / 5
    errors = [metric("calibration_error", later.target, found) for found in (scores, certain)]
    assert errors[0] < 0.6 * errors[1]


def test_where_no_calibration_helps_the_model_is_the_ordinary_one():
    """Logistic regression is calibrated already; its latest rows are given back to it."""
    rows, plain = rows_of("binary"), sklearn("LogisticRegression", C=100.0)
    labels = (
        np.random.default_rng(3).random(ROWS) < fit(recipe("binary", plain), rows, None).predict(rows.table)
    ) * 1.0
    rows = replace(rows, target=labels)
    ordinary, asked = (fit(recipe("binary", plain, **more), rows, LATE) for more in ({}, {"calibration": {}}))
    assert asked.facts["uncertainty"]["calibration"]["method"] == "none"
    assert "kept_back" not in asked.facts["uncertainty"]
    assert asked.to_files()["estimator.skops"] == ordinary.to_files()["estimator.skops"]
    assert asked.calibrator is None


def test_a_model_that_was_asked_for_nothing_holds_no_word_of_it():
    manifest = json.loads(fit(recipe("binary", XGBOOST), rows_of("binary"), LATE).to_files()["model.json"])
    assert not {"calibration", "intervals"} & set(manifest)
    assert "uncertainty" not in manifest["facts"]


def test_members_of_a_calibrated_ensemble_are_not_calibrated():
    task, model, changes = CASES["ensemble"]
    files = fit(recipe(task, model, **changes), rows_of(task), LATE).to_files()
    assert "calibration" in json.loads(files["model.json"])
    assert "calibration" not in json.loads(files["member_000.model.json"])


def test_no_group_is_learnt_from_and_kept_back():
    """The rows of a card are alike: a model that has seen one of them has seen the others.

    The memory's file holds the labels: it is the same when those of a card change that was kept back, wholly.
    """
    rows, own = rows_of("binary"), recipe("binary", MEMORY, calibration={"method": "sigmoid"}, group=["card_id"])
    model, cards = fit(own, rows, LATE), np.asarray(rows.table["card_id"].to_pylist())
    unseen = []
    for number in range(15):
        other = replace(rows, target=np.where(cards == f"card-{number}", 1 - rows.target, rows.target))
        turned = fit(own, other, LATE)
        if turned.to_files()["estimator.skops"] == model.to_files()["estimator.skops"]:
            unseen.append(number)
            assert turned.calibrator != model.calibrator
    assert 0 < len(unseen) < 15
    assert model.facts["uncertainty"]["kept_back"]["rows"] % 10 == 0  # whole cards, of ten rows each


def test_intervals_hold_what_they_promise_on_later_rows():
    """200 rows at 0.8: within five binomial standard deviations, those of the 120 rows that were learnt from added."""
    later = rows_of("regression", 200, seed=2)
    model = fit(recipe("regression", XGBOOST, intervals={"coverage": 0.8}), rows_of("regression"), LATE)
    promised, realised = covered(model, later.table, later.target)
    assert promised == 0.8
    assert abs(realised - 0.8) < 3 * np.sqrt(0.16 / 200 + 0.16 / 120)
    found = uncertainty(model, later.table, later.target)["intervals"]
    assert found["realised"] == pytest.approx(realised)
    assert found["size"] == pytest.approx(2 * model.conformal.bound, rel=1e-4)


def test_contributions_still_add_up_to_the_scores_before_calibration():
    model = fit(recipe("binary", XGBOOST, calibration={"method": "sigmoid"}), rows_of("binary"), LATE)
    found = contributions(model, rows_of("binary", 20, seed=2).table)
    assert not isinstance(found, str), found
    assert found.scale == "log-odds before calibration"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"validation": None}, "E-TRAIN-CALIBRATION.*must both hold two label values"),
        ({"group": ["one_id"]}, "E-TRAIN-CALIBRATION.*all fall on one side"),
        ({"intervals": {"coverage": 0.995}}, "E-TRAIN-INTERVALS.*got 120"),
    ],
    ids=["one label on a side", "one group", "a coverage that needs more rows"],
)
def test_rows_that_tell_too_little_end_the_training(changes, told):
    rows = rows_of("binary")
    rows = replace(rows, table=rows.table.append_column("one_id", pa.array(["x"] * ROWS)))
    mask = changes.pop("validation", LATE)
    settings = {"calibration": {}} | changes
    with pytest.raises(ModelError, match=told):
        fit(recipe("binary", XGBOOST, **settings), rows, mask)
