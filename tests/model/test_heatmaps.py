"""Grad-CAM: the heat lies where the answer is, pictures repeat, rows without an image are left out."""

from __future__ import annotations

import base64
import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipelines.explanations.explain_model import explain_model
from pipelines.explanations.heatmaps import MOST_ROWS, grad_cam, heatmaps, picture, picture_files
from pipelines.explanations.sample import Sample, draw
from pipelines.models.fitting import Recipe, Rows, fit
from pipelines.models.model import Model
from pipelines.settings.training import Training
from tests.model.pictures import SIZE, column

NETWORK = {"family": "torch_image", "hidden_layers": [16], "channels": 8, "epochs": 6, "batch_rows": 64}
TYPES = {"picture": "image"}


def planted(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise, with a bright square of 4 pixels in every second picture; where it begins `(rows, 2)`."""
    random = np.random.default_rng(seed)
    pictures = random.integers(0, 80, (rows, SIZE, SIZE))
    places = random.integers(0, SIZE - 4, (rows, 2))
    answers = np.arange(rows) % 2
    for row in np.flatnonzero(answers):
        top, left = places[row]
        pictures[row, top : top + 4, left : left + 4] = 240
    return pictures.astype(np.uint8), answers, places


@pytest.fixture(scope="module")
def fitted() -> Model:
    pictures, answers, _ = planted(300, 1)
    model = NETWORK | {"learning_rate": 0.005, "dropout": 0.0}
    training = Training.model_validate({"task": "binary", "model": model})
    rows = Rows(pa.table({"picture": column(pictures)}), answers.astype(float))
    return fit(Recipe(training, TYPES, ["no", "yes"], threads=1), rows, None)


def test_the_heat_lies_on_the_planted_square(fitted):
    """Its hottest place, of maps of 8 x 8 over 16 x 16 pixels, is the square or beside it in nine of ten pictures."""
    pictures, answers, places = planted(80, 2)
    shown, squares = pictures[answers == 1], places[answers == 1]
    matrix = fitted.preprocess.transform(pa.table({"picture": column(shown)}), np.float32)
    heat = grad_cam(fitted.estimator, matrix, "binary")
    assert heat.shape == (40, 8, 8)
    hottest = np.stack(np.unravel_index(heat.reshape(40, -1).argmax(axis=1), (8, 8)), axis=1) * 2 + 1
    apart = np.abs(hottest - (squares + 2)).max(axis=1)
    assert (apart <= 4).mean() >= 0.9


def holdout(rows: int = 30) -> tuple[pa.Table, np.ndarray]:
    pictures, answers, _ = planted(rows, 3)
    present = np.arange(rows) % 3 > 0
    return pa.table({"picture": column(pictures, present)}), answers.astype(float)


def test_a_few_rows_with_an_image_are_shown_the_same_each_time(fitted):
    table, labels = holdout()
    found = heatmaps(fitted, draw(table, labels, 100, 1), 1)
    assert found is not None
    assert (found["feature"], len(found["rows"])) == ("picture", MOST_ROWS)
    assert {row["label"] for row in found["rows"]} <= {"no", "yes"}
    assert all(row["says"] == ("yes" if row["score"] > 0.5 else "no") for row in found["rows"])
    assert heatmaps(fitted, draw(table, labels, 100, 1), 1) == found
    assert heatmaps(fitted, draw(table, labels, 100, 1), 2) != found
    assert max(len(base64.b64decode(row["png"])) for row in found["rows"]) < 20_000


def test_a_picture_is_the_image_and_the_same_under_its_heat():
    """A black image, hot in its upper left quarter: the right half is red there and black elsewhere."""
    heat = np.zeros((8, 8))
    heat[:4, :4] = 1
    found = np.asarray(Image.open(io.BytesIO(picture(np.zeros((8, 8)), heat))).convert("RGB"))
    assert found.shape == (96, 192, 3)
    assert not found[:, :96].any()
    assert found[10, 106, 0] > 120 > found[10, 106, 1]
    assert not found[90, 180].any()


def test_without_images_or_such_a_network_there_is_nothing(fitted):
    table, labels = holdout()
    empty = Sample(pa.table({"picture": pa.nulls(30, pa.binary())}), labels, np.ones(30), 30)
    assert heatmaps(fitted, empty, 1) is None
    plain = Training.model_validate({"task": "binary", "model": {"family": "xgboost", "rounds": 2}})
    trees = fit(Recipe(plain, TYPES, ["no", "yes"], 1), Rows(table, labels), None)
    assert heatmaps(trees, draw(table, labels, 100, 1), 1) is None


def test_an_explanation_holds_them_and_mlflow_gets_them_as_files(fitted):
    table, labels = holdout()
    found = explain_model(fitted, "roc_auc", table, labels, 1)
    assert found["permutation"]["features"][0]["feature"] == "picture"
    assert found["dependence"] == []
    files = picture_files(found)
    assert sorted(files) == [f"grad_cam_{number}.png" for number in range(1, MOST_ROWS + 1)]
    assert all(content.startswith(b"\x89PNG") for content in files.values())
    assert picture_files({"problem": "it cannot score"}) == {}
