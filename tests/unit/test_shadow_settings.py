"""A challenger in shadow is judged by labels, and a share of labels is a share: the rest is refused with the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.settings.loader import check_pipeline
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
    amount: {{type: number}}
    is_late: {{type: integer}}
key: [order_id]
{rest}
"""
RULE = "'gate.shadow' needs 'training' and 'label': realised labels judge a challenger in shadow"


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        pytest.param(
            "gate: {shadow: 7}",
            "E-CONFIG-RULE config/pipelines/orders.yaml:12: " + RULE,
            id="nothing is trained",
        ),
        pytest.param(
            "training: {task: anomaly}\ngate: {shadow: 7}",
            "E-CONFIG-RULE config/pipelines/orders.yaml:13: " + RULE,
            id="no labels",
        ),
        pytest.param(
            "label: {column: is_late}\ntraining: {task: binary}\ngate: {shadow: 0}",
            "E-CONFIG-VALUE config/pipelines/orders.yaml:14: 'gate.shadow' must be above 0, got '0'",
            id="no night",
        ),
        pytest.param(
            "label: {column: is_late, min_share: 80}\ntraining: {task: binary}",
            "E-CONFIG-VALUE config/pipelines/orders.yaml:12: 'label.min_share' must be at most 1, got '80'",
            id="percent",
        ),
    ],
)
def test_senseless_settings_are_refused(tmp_path: Path, rest: str, expected: str) -> None:
    folder = config_folder(tmp_path, orders=TEXT.format(rest=rest))
    assert [str(problem) for problem in check_pipeline("orders", folder)[1]] == [expected]


def test_what_is_not_set_leaves_every_digest_as_it_was() -> None:
    label = builders.pipeline().label
    assert label
    assert "min_share" not in label.model_dump()
    assert "shadow" not in builders.pipeline().gate.model_dump()
