"""The paired bootstrap: both models on the same resampled rows, whole groups at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.training.bootstrap import compare

LABELS = np.array([0.0, 0.0, 1.0, 1.0] * 25)
GOOD = np.where(LABELS == 1, 0.9, 0.1)
OPTIONS = {"confidence": 0.95, "resamples": 200, "seed": 3}


def test_the_same_scores_gain_exactly_nothing_in_every_resample():
    """Unpaired resampling would give bounds around zero instead of zero."""
    noisy = np.random.default_rng(1).random(100)
    found = compare("roc_auc", LABELS, noisy, noisy, **OPTIONS)
    assert (found.gain, found.lower, found.upper) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss", "brier"])
def test_a_better_model_has_a_positive_bound_whatever_the_direction(metric):
    poor = np.random.default_rng(1).random(100)
    found = compare(metric, LABELS, GOOD, poor, **OPTIONS)
    assert 0 < found.lower <= found.gain
    turned = compare(metric, LABELS, poor, GOOD, **OPTIONS)
    assert turned.gain == -found.gain
    assert (turned.lower, turned.upper) == pytest.approx((-found.upper, -found.lower))


def test_rows_that_repeat_a_group_do_not_count_as_evidence():
    """Four cards with 25 rows each: the challenger is right on three cards and wrong on one. By row the gain looks
    certain, by card it does not."""
    cards = np.arange(100) // 25
    labels = np.ones(100)
    challenger = np.where(cards < 3, 1.0, 0.0)
    other = np.full(100, 0.3)
    by_row = compare("brier", labels, challenger, other, **OPTIONS)
    by_card = compare("brier", labels, challenger, other, groups=cards, **OPTIONS)
    assert (by_row.units, by_card.units) == (100, 4)
    assert by_card.gain == by_row.gain == pytest.approx(0.49 - 0.25)
    assert by_card.lower < 0 < by_row.lower


def test_groups_of_one_row_are_rows():
    poor = np.random.default_rng(1).random(100)
    alone = compare("roc_auc", LABELS, GOOD, poor, groups=np.arange(100), **OPTIONS)
    assert alone == compare("roc_auc", LABELS, GOOD, poor, **OPTIONS)


@pytest.mark.parametrize(
    ("challenger", "labels"),
    [
        pytest.param(np.full(100, np.nan), LABELS, id="NaN scores"),
        pytest.param(GOOD, np.ones(100), id="one class"),
        pytest.param(np.empty(0), np.empty(0), id="no rows"),
    ],
)
def test_what_is_undefined_has_no_bound(challenger, labels):
    found = compare("roc_auc", labels, challenger, np.full(len(labels), 0.5), **OPTIONS)
    assert np.isnan([found.gain, found.lower, found.upper]).all()


def test_too_many_resamples_without_a_positive_have_no_bound():
    """One positive among 100 rows is missing from 37 % of the resamples."""
    labels = np.zeros(100)
    labels[0] = 1
    found = compare("roc_auc", labels, GOOD, np.full(100, 0.5), **OPTIONS)
    assert np.isfinite(found.gain)
    assert np.isnan(found.lower)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_bounds_enclose_each_other_and_the_seed_decides_all(seed):
    scores = np.random.default_rng(seed).random((2, 100))
    options = {"confidence": 0.9, "resamples": 60, "seed": seed}
    found = compare("brier", LABELS, scores[0], scores[1], **options)
    assert found.lower <= found.upper
    assert found == compare("brier", LABELS, scores[0], scores[1], **options)


def test_a_nearly_perfect_model_beats_a_constant():
    """In every third resample the one wrong row is missing: such a resample has no error to divide by."""
    labels = np.array([0.0, 1.0] * 15)
    scores = np.where(labels == 1, 0.9, 0.1) + np.arange(30) * 1e-3
    scores[1] = 0.09  # one positive row below the negative ones
    found = compare("roc_auc", labels, scores, np.full(30, 0.5), confidence=0.999, resamples=1000, seed=1)
    assert found.challenger == pytest.approx(14 / 15)
    assert 0.1 < found.lower < found.gain


@pytest.mark.parametrize(
    ("confidence", "text"),
    [
        pytest.param(0.95, "95%", id="a round one"),
        pytest.param(0.99, "99%", id="one in a hundred"),
        pytest.param(1 - 0.5 / 365, "99.86%", id="half a promotion a year"),
        pytest.param(1 - 0.1 / 365, "99.973%", id="a tenth of one"),
    ],
)
def test_confidence_is_told_with_two_digits_of_its_doubt(confidence, text):
    found = compare("mae", np.zeros(3), np.ones(3), np.ones(3), confidence=confidence, resamples=10, seed=1)
    assert found.confidence_text == text
