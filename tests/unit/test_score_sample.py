"""Rows that are kept with a version: they survive JSON, and their scores are the model's own."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.models.fitting import Recipe, Rows, fit
from pipelines.models.model import Model
from pipelines.settings.training import Training
from pipelines.training.sample import compare_sample, predictions_digest, take_sample

TYPES = {"amount": "number", "count": "number", "country": "category"}
AMOUNTS = [1.0, None, float("nan"), float("inf"), 5.0, 6.0]


def model_of(task: str, classes: list[str], target: list[float]) -> tuple[Model, pa.Table]:
    table = pa.table(
        {
            "amount": pa.array(AMOUNTS * 20, pa.float64()),
            "count": pa.array([1, 2, 3, 4, None, 6] * 20, pa.int64()),
            "country": pa.array(["DE", "FR", None, "DE", "FR", "IT"] * 20),
            "row_id": [f"{number:03d}" for number in range(120)],
        }
    )
    model = {"family": "xgboost", "rounds": 3, "early_stopping_rounds": None}
    training = Training.model_validate({"task": task, "model": model})
    rows = Rows(table, np.array(target * 20))
    return fit(Recipe(training, TYPES, classes, 1), rows, None), table


@pytest.mark.parametrize(
    ("task", "classes", "target"),
    [
        ("binary", ["0", "1"], [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]),
        ("multiclass", ["a", "b", "c"], [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]),
        ("regression", [], [1.5, 2.5, 3.5, 4.5, 5.5, 6.5]),
    ],
)
def test_a_sample_survives_json_and_is_scored_alike(task: str, classes: list[str], target: list[float]) -> None:
    """Missing, infinite and integer values among them."""
    model, table = model_of(task, classes, target)
    sample = json.loads(json.dumps(take_sample(model, table), allow_nan=False))
    assert [len(values) for values in sample["values"].values()] == [20, 20, 20]
    reloaded = Model.from_files(model.to_files())
    assert compare_sample(reloaded, sample) == 0.0
    first: Any = sample["scores"][0]
    sample["scores"][0] = [one + 0.25 for one in first] if isinstance(first, list) else first + 0.25
    assert compare_sample(reloaded, sample) == pytest.approx(0.25)


def test_few_rows_are_all_kept_and_none_make_an_empty_sample() -> None:
    model, table = model_of("binary", ["0", "1"], [0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    assert len(take_sample(model, table.slice(0, 3))["scores"]) == 3
    empty = take_sample(model, table.slice(0, 0))
    assert (empty["scores"], compare_sample(model, empty)) == ([], 0.0)


def test_a_digest_of_scores_sees_the_last_bit() -> None:
    scores = np.array([0.1, np.nan])
    assert predictions_digest(scores) == predictions_digest(scores.copy())
    assert predictions_digest(scores) != predictions_digest(np.array([np.nextafter(0.1, 1), np.nan]))
