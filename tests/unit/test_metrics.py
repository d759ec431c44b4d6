"""Metrics: literals worked by hand, scikit-learn as the second opinion, and NaN where a number would be a lie."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipelines.errors import ConfigError
from pipelines.settings.training import Training
from pipelines.training.metrics import (
    METRICS,
    calibration_curve,
    direction,
    metric,
    metric_of,
    metrics,
    prepared,
    wanted_metric,
)

# Four rows: two positives (0.8, 0.4), two negatives (0.4, 0.2).
LABELS = np.array([1.0, 1.0, 0.0, 0.0])
SCORES = np.array([0.8, 0.4, 0.4, 0.2])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Pairs: .8>.4, .8>.2, .4=.4 (half), .4>.2 -> 3.5 of 4.
        pytest.param("roc_auc", 0.875, id="a tie counts one half"),
        # At 0.8: precision 1, recall 1/2. At 0.4: precision 2/3, recall 1. -> 1/2 * 1 + 1/2 * 2/3.
        pytest.param("pr_auc", 1 / 2 + 1 / 3, id="tied scores are one step"),
        pytest.param("log_loss", -np.log(0.8 * 0.4 * 0.6 * 0.8) / 4, id="chance of the true class"),
        pytest.param("brier", (0.04 + 0.36 + 0.16 + 0.04) / 4, id="squared error"),
        # Bins of 1/15: 0.8 -> bin 12 (gap .2), 0.4 twice -> bin 6 (1 - .8 = .2), 0.2 -> bin 3 (gap .2): .6 / 4.
        pytest.param("calibration_error", 0.15, id="gaps inside a bin cancel"),
        # From 0.5 up is positive: predicted 1, 0, 0, 0.
        pytest.param("accuracy", 0.75, id="threshold one half"),
        pytest.param("balanced_accuracy", (0.5 + 1.0) / 2, id="mean recall"),
        pytest.param("f1", 2 / 3, id="of the positive class"),
        # tp 1, tn 2, fp 0, fn 1: (1*2 - 0) / sqrt(1*2*2*3).
        pytest.param("mcc", 2 / np.sqrt(12), id="correlation"),
    ],
)
def test_binary_metric_equals_the_value_worked_by_hand(name, expected):
    assert metric(name, LABELS, SCORES) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("rmse", np.sqrt((1 + 4 + 0) / 3), id="root of the mean square"),
        pytest.param("mae", 1.0, id="mean absolute"),
        pytest.param("mape", (1 / 2 + 2 / 4) / 2, id="a true value of zero has no relative error"),
        pytest.param("r2", 1 - 5 / 8, id="against the mean, 2"),
        pytest.param("pinball", 0.5, id="half the absolute error"),
    ],
)
def test_regression_metric_equals_the_value_worked_by_hand(name, expected):
    assert metric(name, np.array([2.0, 4.0, 0.0]), np.array([3.0, 2.0, 0.0])) == pytest.approx(expected, abs=1e-12)


def test_multiclass_metrics_equal_the_values_worked_by_hand():
    labels = np.array([0.0, 1.0, 2.0])
    scores = np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6], [0.1, 0.1, 0.8]])
    found = metrics("multiclass", labels, scores)
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["log_loss"] == pytest.approx(-np.log(0.5 * 0.2 * 0.8) / 3)
    assert found["brier"] == pytest.approx((0.25 + 0.09 + 0.04 + 0.04 + 0.64 + 0.36 + 0.01 + 0.01 + 0.04) / 3)
    # Class 0: 2*1/(1+1), class 1: 0/(1+0), class 2: 2*1/(1+2).
    assert found["f1"] == pytest.approx((1 + 0 + 2 / 3) / 3)
    assert found["balanced_accuracy"] == pytest.approx((1 + 0 + 1) / 3)
    # Of the top class: 0.5 right (gap .5), 0.6 wrong (gap .6), 0.8 right (gap .2), each in its own bin.
    assert found["calibration_error"] == pytest.approx((0.5 + 0.6 + 0.2) / 3)


@pytest.mark.parametrize("labels", [np.ones(3), np.zeros(3)], ids=["only positives", "only negatives"])
def test_ranking_is_undefined_with_one_class(labels):
    scores = np.array([0.1, 0.5, 0.9])
    assert np.isnan(metric("roc_auc", labels, scores))
    assert np.isnan(metric("mcc", labels, scores))
    assert np.isnan(metric("balanced_accuracy", labels, scores))


def test_precision_recall_without_a_positive_is_undefined():
    assert np.isnan(metric("pr_auc", np.zeros(3), np.array([0.1, 0.5, 0.9])))


def test_a_constant_prediction_has_correlation_zero():
    """Else a gate on 'mcc' could never be passed: nothing beats a baseline that is NaN."""
    assert metric("mcc", LABELS, np.full(4, 0.25)) == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_score_that_is_not_finite_makes_every_metric_nan(name, bad):
    scores = np.array([0.8, bad, 0.4, 0.2])
    assert np.isnan(metric(name, LABELS, scores))


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_label_that_is_not_finite_makes_every_metric_nan(name):
    assert np.isnan(metric(name, np.array([1.0, np.nan, 0.0, 0.0]), SCORES))


@pytest.mark.parametrize("name", sorted(METRICS))
def test_no_rows_have_no_metric(name):
    assert np.isnan(metric(name, np.empty(0), np.empty(0)))


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(ConfigError, match=r"E-CONFIG-METRIC.*Did you mean 'roc_auc'"):
        direction("roc_ouc")


def test_a_metric_of_another_task_is_refused():
    with pytest.raises(ConfigError, match="must be a metric of task 'binary'"):
        metric_of("rmse", "binary")


def test_the_calibration_curve_has_one_point_per_bin_with_rows():
    assert calibration_curve(LABELS, SCORES) == [
        {"mean_score": pytest.approx(0.2), "share_positive": 0.0, "rows": 1},
        {"mean_score": pytest.approx(0.4), "share_positive": 0.5, "rows": 2},
        {"mean_score": pytest.approx(0.8), "share_positive": 1.0, "rows": 1},
    ]


# Few distinct scores, so that ties are the rule.
_RATED = st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.5, 0.5000001, 0.9, 1.0])), min_size=2)
_VALUES = st.lists(st.tuples(st.integers(-50, 50), st.floats(-60, 60)), min_size=2, max_size=40)


@settings(max_examples=100, deadline=None)
@given(_RATED)
def test_binary_metrics_agree_with_scikit_learn(rows):
    labels, scores = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    assume(0 < labels.sum() < len(labels))
    found, predicted = metrics("binary", labels, scores), scores >= 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "roc_auc": reference.roc_auc_score(labels, scores),
            "pr_auc": reference.average_precision_score(labels, scores),
            "brier": reference.brier_score_loss(labels, scores),
            "accuracy": reference.accuracy_score(labels, predicted),
            "balanced_accuracy": reference.balanced_accuracy_score(labels, predicted),
            "f1": reference.f1_score(labels, predicted),
            "mcc": reference.matthews_corrcoef(labels, predicted),
        }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 8), st.integers(1, 8), st.integers(1, 8)), min_size=3))
def test_multiclass_metrics_agree_with_scikit_learn(rows):
    table = np.array(rows, dtype=float)
    labels, scores = table[:, 0], table[:, 1:] / table[:, 1:].sum(axis=1, keepdims=True)
    assume(len(np.unique(labels)) == 3)
    found, predicted = metrics("multiclass", labels, scores), scores.argmax(axis=1)
    expected = {
        "roc_auc": reference.roc_auc_score(labels, scores, multi_class="ovr", labels=[0, 1, 2]),
        "log_loss": reference.log_loss(labels, scores, labels=[0, 1, 2]),
        "accuracy": reference.accuracy_score(labels, predicted),
        "balanced_accuracy": reference.balanced_accuracy_score(labels, predicted),
        "f1": reference.f1_score(labels, predicted, average="macro"),
        "mcc": reference.matthews_corrcoef(labels, predicted),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(_VALUES)
def test_regression_metrics_agree_with_scikit_learn(rows):
    labels, scores = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    assume(np.ptp(labels) > 0)
    found = metrics("regression", labels, scores)
    expected = {
        "rmse": reference.root_mean_squared_error(labels, scores),
        "mae": reference.mean_absolute_error(labels, scores),
        "r2": reference.r2_score(labels, scores),
        "pinball": reference.mean_pinball_loss(labels, scores, alpha=0.5),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-9, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(_RATED, st.data())
def test_weights_mean_repeated_rows(rows, data):
    """The bootstrap weighs rows instead of copying them; for every metric both must be the same."""
    labels, scores = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    times = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows))))
    assume(times.sum() > 0)
    for name in METRICS:
        if name == "r2":
            continue  # centred on other rows: equal up to rounding, and degenerate cases differ
        weighted = prepared(name, labels, scores).values(times[None].astype(float))[0]
        repeated = metric(name, np.repeat(labels, times), np.repeat(scores, times))
        assert weighted == pytest.approx(repeated, rel=1e-9, abs=1e-9, nan_ok=True), name


def test_a_quantile_is_judged_by_its_own_loss_and_by_what_it_covers():
    labels, scores = np.array([10.0, 20.0, 30.0, 40.0]), np.array([12.0, 18.0, 33.0, 41.0])
    found = metrics("quantile", labels, scores, 0.9)
    # Above by 2, 3 and 1: a tenth of each; below by 2: nine tenths. Three of four labels are covered.
    assert found["pinball_0.9"] == pytest.approx((0.2 + 1.8 + 0.3 + 0.1) / 4)
    assert found["coverage_error_0.9"] == pytest.approx(0.15)
    assert set(found) == {"pinball_0.9", "coverage_error_0.9"}
    assert wanted_metric(Training(task="quantile", quantile=0.25)) == "pinball_0.25"


def test_a_quantile_goes_with_its_task():
    """Else a median would be trained where somebody wrote 0.9."""
    with pytest.raises(ValueError, match="'quantile' must be set with task 'quantile'"):
        Training(task="quantile")
    with pytest.raises(ValueError, match="got task 'regression'"):
        Training(task="regression", quantile=0.9)
