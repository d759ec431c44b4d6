"""Networks over images: what only shapes tell, rows without an image, bytes and scores that repeat, real digits."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from pipelines.errors import DataError, ModelError
from pipelines.explanations.coefficients import coefficients
from pipelines.home import REPOSITORY
from pipelines.models import model_problems
from pipelines.models.checkpoints import Checkpoints
from pipelines.models.fitting import Recipe, Rows, fit
from pipelines.models.model import Model
from pipelines.models.pixels import Pixels
from pipelines.settings.training import Training, WarmStart
from pipelines.storage.files import LocalFiles
from tests.builders import PAYMENTS, pipeline
from tests.model.pictures import column, stripes_or_dots

TYPES = {"picture": "image", "amount": "number"}
NETWORK = {"family": "torch_image", "hidden_layers": [16], "channels": 8, "batch_rows": 64, "learning_rate": 0.01}
KINDS = ["cnn", "resnet"]
DIGITS = Path(os.environ.get("NIGHTSHIFT_DATA") or REPOSITORY.parent / "shared" / "data") / "mnist_t10k"


def recipe(kind: str = "cnn", types: dict[str, str] = TYPES, **changes: Any) -> Recipe:
    model = NETWORK | {"network": kind, "epochs": 8, "dropout": 0.0} | changes
    training = {"task": "binary", "model": model, "missing": {"default": {"strategy": "median"}}}
    return Recipe(Training.model_validate(training), types, ["0", "1"], threads=1)


def patterns(rows: int, seed: int, missing: float = 0.1) -> Rows:
    pictures, answers, present = stripes_or_dots(rows, seed, missing)
    amount = np.random.default_rng(seed).uniform(size=rows)
    return Rows(pa.table({"picture": column(pictures, present), "amount": amount}), answers.astype(float))


@pytest.fixture(scope="module")
def fitted() -> Model:
    return fit(recipe(), patterns(400, 1), None)


def accuracy(model: Model, rows: Rows) -> float:
    return float(((model.predict(rows.table) > 0.5) == (rows.target == 1)).mean())


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_shapes_are_told_apart_where_a_linear_model_only_guesses(kind):
    rows, unseen = patterns(600, 1, missing=0.0), patterns(400, 2, missing=0.0)
    plain = {"task": "binary", "model": {"family": "sklearn", "estimator": "LogisticRegression"}}
    linear = fit(Recipe(Training.model_validate(plain), TYPES, ["0", "1"], threads=1), rows, None)
    network = fit(recipe(kind, learning_rate=0.003), rows, None)
    assert accuracy(linear, unseen) < 0.65
    assert accuracy(network, unseen) > 0.9


def test_a_row_without_an_image_has_a_score_and_the_others_do_not_change(fitted):
    rows = patterns(60, 3).table
    without = rows.set_column(0, "picture", pa.nulls(60, pa.binary()))
    found = fitted.predict(without)
    assert np.isfinite(found).all()
    some = rows.slice(0, 5)
    assert np.array_equal(fitted.predict(pa.concat_tables([some, without]))[:5], fitted.predict(some))


def test_a_score_depends_on_neither_order_nor_batch_nor_threads(fitted):
    rows = patterns(300, 4).table
    found, order = fitted.predict(rows), np.random.default_rng(5).permutation(300)
    assert np.array_equal(fitted.predict(rows.take(pa.array(order))), found[order])
    assert np.array_equal(np.concatenate([fitted.predict(rows.slice(at, 7)) for at in range(0, 300, 7)]), found)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert np.array_equal(fitted.predict(rows), found)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_scores_alike_and_the_same_rows_give_the_same_bytes(kind):
    rows = patterns(80, 6)
    model = fit(recipe(kind, epochs=2), rows, None)
    files = model.to_files()
    assert sorted(files) == ["model.json", "network.safetensors"]
    assert fit(recipe(kind, epochs=2), rows, None).to_files() == files
    assert np.array_equal(Model.from_files(files).predict(rows.table), model.predict(rows.table))


def test_a_killed_training_goes_on_to_the_same_bytes(tmp_path):
    rows, wanted = patterns(80, 6), recipe(epochs=4, checkpoint_epochs=1)
    whole = fit(wanted, rows, None).to_files()
    place = Checkpoints(LocalFiles(tmp_path))
    fit(recipe(epochs=2, checkpoint_epochs=1), rows, None, place)
    assert fit(wanted, rows, None, place).to_files() == whole


def test_a_training_goes_on_from_a_parent(fitted):
    rows = patterns(400, 1)
    training = recipe().training.model_copy(update={"warm_start": WarmStart(epochs=1)})
    further = fit(Recipe(training, TYPES, ["0", "1"], 1), rows, None, parent=fitted)
    assert further.facts["epochs"] == fitted.facts["epochs"] + 1
    assert further.to_files() != fitted.to_files()
    assert accuracy(further, rows) > 0.8


def test_colours_are_channels():
    """Red squares against blue ones of the same brightness."""
    random = np.random.default_rng(7)
    answers = random.integers(0, 2, 200)
    pictures = random.integers(0, 40, (200, 8, 8, 3))
    pictures[np.arange(200), :, :, answers * 2] += 120
    table = pa.table({"picture": column(pictures.astype(np.uint8))})
    rows = Rows(table, answers.astype(float))
    model = fit(recipe(types={"picture": "image"}, epochs=4), rows.take(np.arange(200) < 150), None)
    assert accuracy(model, rows.take(np.arange(200) >= 150)) == 1.0


@pytest.mark.parametrize(("length", "form"), [(64, (8, 1)), (192, (8, 3)), (784, (28, 1)), (3072, (32, 3))])
def test_the_number_of_bytes_tells_side_and_channels(length, form):
    assert Pixels.of_length(length) == Pixels(*form)


def test_pixels_of_another_form_are_refused(fitted):
    other = pa.table({"picture": pa.array([bytes(64)], pa.binary()), "amount": [1.0]})
    with pytest.raises(DataError, match=r"E-SCORE-SCHEMA feature 'picture': .*images of 16 x 16 x 1 bytes"):
        fitted.predict(other)


def test_images_of_two_forms_and_no_images_cannot_be_learnt_from():
    two = pa.table({"picture": pa.array([bytes(64), bytes(81)], pa.binary()), "amount": [1.0, 2.0]})
    with pytest.raises(ModelError, match=r"E-TRAIN-IMAGE feature 'picture': .*numbers of bytes: \[64, 81\]"):
        fit(recipe(), Rows(two, np.array([0.0, 1.0])), None)
    none = pa.table({"picture": pa.nulls(2, pa.binary()), "amount": [1.0, 2.0]})
    with pytest.raises(ModelError, match=r"E-TRAIN-IMAGE feature 'picture': none of 2 rows has an image"):
        fit(recipe(), Rows(none, np.array([0.0, 1.0])), None)


def test_drop_refuses_a_row_without_an_image():
    wanted = recipe(epochs=1)
    training = wanted.training.model_copy(
        update={
            "missing": Training.model_validate({"task": "binary", "missing": {"picture": {"strategy": "drop"}}}).missing
        }
    )
    rows = patterns(60, 8)
    scores = fit(Recipe(training, TYPES, ["0", "1"], 1), rows, None).predict(rows.table)
    assert np.array_equal(np.isnan(scores), rows.table["picture"].is_null().to_numpy())


PROBLEMS = {
    "no image": (
        {"features": {"columns": ["amount_eur"]}},
        "E-MODEL-IMAGE training.model: family 'torch_image' reads one image, but no feature is an image.",
    ),
    "anomaly": (
        {"training": {"task": "anomaly"}},
        "E-MODEL-IMAGE training.model: family 'torch_image' cannot do task 'anomaly'. Use 'torch', an autoencoder.",
    ),
    "a mean of images": (
        {"training": {"missing": {"picture": {"strategy": "median"}}}},
        "E-MODEL-IMAGE training.missing.picture: 'median' is nothing for an image. Use 'drop', or leave it out.",
    ),
    "projection": (
        {"training": {"project": {"method": "pca", "components": 2}}},
        "E-MODEL-IMAGE training.project: must be left out: 'torch_image' needs every pixel of the image.",
    ),
}


@pytest.mark.parametrize(("changes", "problem"), PROBLEMS.values(), ids=PROBLEMS)
def test_senseless_settings_are_named_before_any_training(changes, problem):
    source = {**PAYMENTS["source"], "columns": {**PAYMENTS["source"]["columns"], "picture": {"type": "image"}}}
    training = {"task": "binary", "model": NETWORK} | changes.get("training", {})
    features = changes.get("features", {"columns": ["amount_eur", "picture"]})
    assert problem in model_problems(pipeline(source=source, features=features, training=training))


@pytest.mark.slow
@pytest.mark.skipif(not DIGITS.is_dir(), reason="NIGHTSHIFT_DATA holds no folder 'mnist_t10k'")
def test_real_digits_are_read():
    """3,000 rows to learn from, 1,000 later ones to be judged on."""
    images, answers = (
        gzip.decompress((DIGITS / f"t10k-{name}-ubyte.gz").read_bytes()) for name in ("images-idx3", "labels-idx1")
    )
    pictures, labels = np.frombuffer(images, np.uint8, offset=16), np.frombuffer(answers, np.uint8, offset=8)
    table = pa.table({"picture": column(pictures.reshape(-1, 28, 28)[:4000])})
    rows = Rows(table, labels[:4000].astype(float))
    model = {"family": "torch_image", "epochs": 5, "batch_rows": 128, "hidden_layers": [64]}
    training = Training.model_validate({"task": "multiclass", "model": model})
    wanted = Recipe(training, {"picture": "image"}, [str(digit) for digit in range(10)], threads=1)
    fitted = fit(wanted, rows.take(np.arange(4000) < 3000), None)
    unseen = rows.take(np.arange(4000) >= 3000)
    assert (fitted.predict(unseen.table).argmax(axis=1) == unseen.target).mean() > 0.93


def test_a_linear_model_of_pixels_tells_its_largest_coefficients():
    """A retrain ended in a traceback: pixels were taken for categories."""
    plain = {"task": "binary", "model": {"family": "sklearn", "estimator": "LogisticRegression"}}
    training = Training.model_validate(plain | {"missing": {"default": {"strategy": "median"}}})
    found = coefficients(fit(Recipe(training, TYPES, ["0", "1"], threads=1), patterns(60, 1, missing=0.0), None))
    assert len(found["rows"]) == 60
    assert {row["feature"] for row in found["rows"]} <= {"picture", "amount"}
    assert all(row["per_unit"] > 0 for row in found["rows"])
