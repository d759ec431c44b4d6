"""Warm starts and checkpoints that make no sense are named before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.test_settings_problems import good, messages

WHERE = "E-CONFIG-RULE config/pipelines/orders.yaml:14: "
LABEL = "label: {column: amount_eur}\n"


def said(training: str, tmp_path: Path) -> list[str]:
    return messages(good(more=f"{LABEL}training: {{task: binary, {training}}}\n"), tmp_path)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        pytest.param(
            "warm_start: {}, model: {family: sklearn, estimator: LogisticRegression}",
            "'warm_start' must be left out: family 'sklearn' cannot go on from a champion",
            id="family that begins anew",
        ),
        pytest.param(
            "warm_start: {}, model: {family: ensemble, combine: voting, members: {a: {family: xgboost}}}",
            "'warm_start' must be left out: family 'ensemble' cannot go on from a champion",
            id="ensemble",
        ),
        pytest.param(
            "warm_start: {epochs: 5}",
            "'warm_start.epochs' must be left out: family 'xgboost' counts 'rounds'",
            id="epochs of trees",
        ),
        pytest.param(
            "warm_start: {rounds: 5}, model: {family: torch}",
            "'warm_start.rounds' must be left out: family 'torch' counts 'epochs'",
            id="rounds of a network",
        ),
        pytest.param(
            "warm_start: {}, model: {family: xgboost, parameters: {booster: dart}}",
            "'warm_start' must be left out: trees cannot be added to a booster 'dart'",
            id="dart",
        ),
        pytest.param(
            "warm_start: {}, tuning: {trials: 2, ranges: {max_depth: [1, 3]}}",
            "'warm_start' must be left out with 'tuning': parameters that are searched anew are not the champion's",
            id="tuning",
        ),
        pytest.param(
            "warm_start: {}, calibration: {}",
            "'warm_start' must be left out with 'calibration': the champion knows the rows that it keeps back",
            id="calibration",
        ),
        pytest.param(
            "warm_start: {}, group: [amount_eur]",
            "'warm_start' must be left out with 'group': the champion may know the holdout's groups by earlier rows",
            id="groups",
        ),
        pytest.param(
            "checkpoints: {keep: 3}, model: {family: sklearn, estimator: LogisticRegression}",
            "'checkpoints' must be left out: an estimator of scikit-learn is fitted at once",
            id="nothing to keep",
        ),
    ],
)
def test_what_cannot_be_gone_on_from_is_named(tmp_path: Path, training: str, message: str) -> None:
    assert said(training, tmp_path) == [WHERE + message]


@pytest.mark.parametrize(
    "training",
    [
        "warm_start: {}",
        "warm_start: {rounds: 30, at_most: 6}, checkpoints: {keep: 3}",
        "warm_start: {epochs: 3}, model: {family: torch}",
        "checkpoints: {keep: 3}, model: {family: ensemble, combine: voting, members: {a: {family: xgboost}}}",
    ],
)
def test_what_makes_sense_is_accepted(tmp_path: Path, training: str) -> None:
    assert said(training, tmp_path) == []


def test_nothing_is_kept_of_checkpoints_that_are_none(tmp_path: Path) -> None:
    assert said("checkpoints: {keep: 0}", tmp_path) == [
        "E-CONFIG-VALUE config/pipelines/orders.yaml:14: 'training.checkpoints.keep' must be at least 1, got '0'"
    ]
