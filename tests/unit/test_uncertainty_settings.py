"""Senseless combinations of calibration, intervals and confidence are refused before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.settings.loader import check_pipeline
from pipelines.settings.pipeline import confidence_columns
from tests import builders
from tests.unit.test_settings_problems import config_folder

TEXT = """\
name: orders
owner: tests
start: 2026-03-02
source:
  format: csv
  path: inbox/{{partition}}.csv
  columns:
    order_id: {{type: id}}
    confidence: {{type: number}}
    is_late: {{type: integer}}
key: [order_id]
label: {{column: is_late}}
training: {training}
export: {export}
"""


@pytest.mark.parametrize(
    ("training", "export", "expected"),
    [
        (
            "{task: regression, calibration: {}}",
            "{}",
            "E-CONFIG-RULE config/pipelines/orders.yaml:13: 'calibration' needs task 'binary' or 'multiclass', "
            "got 'regression'",
        ),
        (
            "{task: quantile, quantile: 0.9, intervals: {}}",
            "{}",
            "E-CONFIG-RULE config/pipelines/orders.yaml:13: 'intervals' needs task 'regression', 'binary' or "
            "'multiclass', got 'quantile'",
        ),
        (
            "{task: binary, calibration: {method: platt}}",
            "{}",
            "E-CONFIG-VALUE config/pipelines/orders.yaml:13: 'training.calibration.method' must be one of auto, "
            "isotonic, sigmoid, got 'platt'",
        ),
        (
            "{task: binary, intervals: {coverage: 1}}",
            "{}",
            "E-CONFIG-VALUE config/pipelines/orders.yaml:13: 'training.intervals.coverage' must be below 1, got '1'",
        ),
        (
            "{task: regression}",
            "{confidence: true}",
            "E-CONFIG-RULE config/pipelines/orders.yaml:14: 'export.confidence' of task 'regression' needs "
            "'training.intervals'",
        ),
        (
            "{task: anomaly, model: {family: torch}}",
            "{confidence: true}",
            "E-CONFIG-RULE config/pipelines/orders.yaml:14: 'export.confidence' needs task 'regression', 'binary' or "
            "'multiclass', got 'anomaly'",
        ),
        (
            "{task: binary}",
            "{confidence: true, columns: [confidence]}",
            "E-CONFIG-RULE config/pipelines/orders.yaml:14: 'export.columns' must not name 'confidence', which "
            "'export.confidence' adds",
        ),
    ],
    ids=[
        "values are no probabilities",
        "a quantile is one end already",
        "another method",
        "all labels",
        "nothing to show",
        "how strange is no probability",
        "a column twice",
    ],
)
def test_senseless_settings_are_named_with_their_line(
    tmp_path: Path, training: str, export: str, expected: str
) -> None:
    config = config_folder(tmp_path, orders=TEXT.format(training=training, export=export))
    assert [str(problem) for problem in check_pipeline("orders", config)[1]] == [expected]


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        ({"task": "regression", "intervals": {}}, ("prediction_low", "prediction_high")),
        ({"task": "binary"}, ("confidence",)),
        ({"task": "multiclass", "intervals": {}}, ("confidence", "prediction_set")),
    ],
    ids=["regression", "classes", "classes with sets"],
)
def test_columns_are_those_that_the_task_has(training: dict, expected: tuple[str, ...]) -> None:
    assert confidence_columns(builders.pipeline(training=training, export={"confidence": True})) == expected
    assert confidence_columns(builders.pipeline(training=training)) == ()
