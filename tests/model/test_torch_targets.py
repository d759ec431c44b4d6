"""What a network makes of a label that is a value, and of how many rows it learns at each step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.models.fitting import Recipe, Rows, fit, fit_on_part
from pipelines.models.model import Model
from pipelines.models.torch_fitting import with_batches
from tests.model import test_torch_image, test_torch_sequence
from tests.model.test_models_families import recipe, table

NETWORK = {"family": "torch", "hidden_layers": [8], "epochs": 4, "batch_rows": 32, "learning_rate": 0.01}


def network(task: str = "regression", **changes: Any) -> Recipe:
    return recipe(task, NETWORK | changes)


def _of(family: str, task: str) -> tuple[Recipe, pa.Table]:
    """A recipe of a family, and rows that it can read."""
    if family == "torch":
        return network(task), table(120)
    if family == "torch_image":
        given = test_torch_image.recipe(epochs=2)
        rows = test_torch_image.patterns(60, 1).table
    else:
        given = test_torch_sequence.recipe("lstm", epochs=3)
        rows = test_torch_sequence.events(120, 1)[0]
    quantile = 0.8 if task == "quantile" else None
    training = given.training.model_copy(update={"task": task, "quantile": quantile})
    return replace(given, training=training, classes=[]), rows


@pytest.mark.parametrize("task", ["regression", "quantile"])
@pytest.mark.parametrize("family", ["torch", "torch_sequence", "torch_image"])
def test_a_label_in_other_units_is_learnt_alike(family: str, task: str) -> None:
    """In cents and from another zero: a network that saw the values themselves would not get anywhere near."""
    given, rows = _of(family, task)
    euros = np.random.default_rng(3).gamma(2.0, 10.0, rows.num_rows)
    one, other = (fit(given, Rows(rows, label), None) for label in (euros, 100 * euros - 50_000))
    assert other.predict(rows) == pytest.approx(100 * one.predict(rows) - 50_000, abs=1)
    assert Model.from_files(other.to_files()).predict(rows).tolist() == other.predict(rows).tolist()


@pytest.mark.parametrize("task", ["regression", "quantile"])
@pytest.mark.parametrize(
    "label",
    [
        pytest.param(np.full(120, 7.0), id="constant"),
        pytest.param(np.full(120, 0.1), id="constant whose deviation is 1e-17 in floating point"),
        pytest.param(np.full(120, 1e9), id="large constant"),
        pytest.param(np.zeros(120), id="zero"),
    ],
)
def test_a_label_that_never_changes_is_what_is_answered(task: str, label: np.ndarray) -> None:
    model = fit(network(task, epochs=20), Rows(table(120), label), None)
    assert (float(model.estimator.center), float(model.estimator.scale)) == (pytest.approx(label[0]), 1.0)
    assert model.predict(table(50, seed=2)) == pytest.approx(np.full(50, label[0]), abs=0.5)


def test_one_row_is_enough_to_answer_its_label() -> None:
    model = fit(network(dropout=0.0), Rows(table(3).slice(2), np.array([42.0])), None)
    assert model.predict(table(3).slice(2)) == pytest.approx([42.0], abs=1)


def test_a_row_of_weight_zero_has_no_part_in_the_scale() -> None:
    label = np.where(np.arange(120) < 100, 5.0 + np.arange(120) % 2, 1e9)
    model = fit(network(), Rows(table(120), label, (label < 1e6) * 1.0), None)
    assert float(model.estimator.center) == pytest.approx(5.5)
    assert float(model.estimator.scale) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(0, 32), (1, 32), (63, 32), (4_095, 32), (4_096, 64), (6_000, 64), (65_535, 512), (65_536, 1024), (10**7, 1024)],
)
def test_the_rows_of_a_step_follow_from_the_rows_of_the_training(rows: int, expected: int) -> None:
    assert with_batches(network(batch_rows=None), rows).training.model.batch_rows == expected  # type: ignore[union-attr]
    assert with_batches(network(batch_rows=7), rows).training.model.batch_rows == 7  # type: ignore[union-attr]


def test_a_search_for_epochs_takes_the_steps_of_the_final_fit() -> None:
    """With fewer rows to each step, as many epochs would be more steps than were found to be best."""
    rows = Rows(table(4_200), table(4_200)["age_days"].to_numpy() * 1.0)
    given, late = network(batch_rows=None, epochs=1), np.arange(4_200) >= 4_000
    assert fit_on_part(given, rows, late).facts["parameters"]["batch_rows"] == 64
    assert fit(given, rows, late).facts["parameters"]["batch_rows"] == 64


@pytest.mark.slow
def test_the_steps_of_the_defaults_find_the_two_rush_hours_of_a_day() -> None:
    """One step to an epoch, as with 1024 rows to each, leaves it near the deviation of the label (108)."""
    random = np.random.default_rng(4)
    hour = random.integers(0, 24, 700).astype(float)
    rides = 1000 + 300 * (np.exp(-((hour - 8) ** 2) / 4) + np.exp(-((hour - 18) ** 2) / 4))
    given = replace(recipe("regression", {"family": "torch", "early_stopping_epochs": None}), types={"hour": "number"})
    model = fit(given, Rows(pa.table({"hour": hour}), rides + random.normal(0, 20, 700)), None)
    assert np.sqrt(np.mean((model.predict(pa.table({"hour": hour})) - rides) ** 2)) < 40
