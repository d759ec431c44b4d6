"""Split conformal bounds, by hand and by chance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from pipelines.errors import ModelError
from pipelines.models.certainty import certainty_arrays, certainty_fields
from pipelines.models.intervals import Conformal, conformal_bound, fit_conformal


@pytest.mark.parametrize(
    ("rows", "coverage", "expected"),
    [(19, 0.9, 18), (20, 0.9, 19), (99, 0.9, 90), (99, 0.95, 95), (21, 0.5, 11)],
    ids=["20 x 0.9", "21 x 0.9 rounded up", "100 x 0.9", "100 x 0.95", "the middle"],
)
def test_the_bound_is_the_distance_at_the_rank_of_one_row_more(rows, coverage, expected):
    """Distances 1, 2, ..., n: the bound is the rank (n + 1) * coverage, rounded up."""
    distances = np.random.default_rng(1).permutation(np.arange(1.0, rows + 1))
    assert conformal_bound(distances, coverage) == expected


def test_an_interval_reaches_as_far_on_both_sides():
    low, high = Conformal(0.9, 2.5).interval(np.array([10.0, -1.0]))
    assert (low.tolist(), high.tolist()) == ([7.5, -3.5], [12.5, 1.5])


def test_regression_learns_from_what_lies_between_score_and_label():
    scores, target = np.zeros(19), np.resize([1.0, -1.0], 19) * np.arange(1, 20)
    assert fit_conformal(0.9, scores, target, is_value=True) == Conformal(0.9, 18.0)


def test_sets_learn_from_what_the_true_class_lacks():
    """The true class has 0.05, 0.10, ..., 0.95: it lacks 0.95 to 0.05, of which the 18th of 19 is 0.90."""
    scores, target = np.arange(1, 20) / 20, np.ones(19)
    assert fit_conformal(0.9, scores, target, is_value=False).bound == pytest.approx(0.90)


def test_a_set_holds_each_class_that_is_likely_enough_and_never_none():
    found = Conformal(0.9, 0.7).members(np.array([[0.5, 0.4, 0.1], [0.34, 0.33, 0.33], [0.2, 0.2, 0.6]]), np.eye(3))
    assert found.tolist() == [[True, True, False], [True, True, True], [False, False, True]]
    strict = Conformal(0.5, 0.1).members(np.array([0.4, 0.95]), np.array([0.4, 0.95]))
    assert strict.tolist() == [[True, False], [False, True]]


def test_too_few_rows_for_the_coverage_are_refused():
    with pytest.raises(ModelError, match=r"E-TRAIN-INTERVALS.*0.99 needs at least 10[12] rows kept back, got 100"):
        fit_conformal(0.99, np.zeros(100), np.arange(100.0), is_value=True)


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
def test_exchangeable_rows_are_covered_as_often_as_promised(coverage):
    """60 times 200 new rows. Of one draw of n rows the coverage is Beta(k, n + 1 - k): its variance is added."""
    random, inside, rows, times, learnt = np.random.default_rng(5), 0, 200, 60, 199
    for _ in range(times):
        errors = random.standard_t(3, learnt + rows)
        conformal = fit_conformal(coverage, np.zeros(learnt), errors[:learnt], is_value=True)
        low, high = conformal.interval(np.zeros(rows))
        inside += int(((low <= errors[learnt:]) & (errors[learnt:] <= high)).sum())
    spread = np.sqrt(coverage * (1 - coverage) * (1 / (rows * times) + 1 / (times * (learnt + 2))))
    assert abs(inside / (rows * times) - coverage) < 3.3 * spread + 1 / (learnt + 1)


def test_sets_of_exchangeable_rows_are_covered_as_often_as_promised():
    random = np.random.default_rng(7)
    scores = random.dirichlet([1, 1, 1], 4000)
    target = np.array([random.choice(3, p=row) for row in scores], dtype=float)
    conformal = fit_conformal(0.9, scores[:2000], target[:2000], is_value=False)
    members = conformal.members(scores[2000:], scores[2000:])
    hits = int(members[np.arange(2000), target[2000:].astype(int)].sum())
    assert binom.cdf(hits, 2000, 0.9 - 0.02) > 0.001
    assert members.sum(axis=1).mean() < 2.9


class Told:
    """A model as far as `certainty_arrays` asks."""

    def __init__(self, conformal=None, classes=("no", "yes")):
        self.conformal, self.classes = conformal, list(classes)


def test_columns_of_a_binary_model():
    scores = np.array([0.9, 0.5, 0.2])
    found = certainty_arrays(Told(Conformal(0.9, 0.75)), ("confidence", "prediction_set"), scores, scores)
    assert found[0].to_pylist() == pytest.approx([0.9, 0.5, 0.8])
    assert found[1].to_pylist() == [["yes"], ["no", "yes"], ["no"]]
    assert [array.type for array in found] == [kind for _, kind in certainty_fields(("confidence", "prediction_set"))]


def test_a_set_keeps_the_class_that_calibration_makes_the_likeliest():
    before, after = np.array([[0.9, 0.05, 0.05]]), np.array([[0.3, 0.6, 0.1]])
    found = certainty_arrays(Told(Conformal(0.5, 0.2), "abc"), ("prediction_set",), before, after)
    assert found[0].to_pylist() == [["a", "b"]]


def test_a_model_without_intervals_says_nothing_rather_than_something():
    names = ("prediction_set", "prediction_low", "prediction_high")
    found = certainty_arrays(Told(), names, np.array([0.1, 0.2]), np.array([0.1, 0.2]))
    assert [array.to_pylist() for array in found] == [[None, None]] * 3
    assert [array.type for array in found] == [kind for _, kind in certainty_fields(names)]


def test_no_rows_give_columns_of_the_same_types():
    names = ("confidence", "prediction_set")
    found = certainty_arrays(Told(Conformal(0.9, 0.5)), names, np.array([]), np.array([]))
    assert [array.type for array in found] == [kind for _, kind in certainty_fields(names)]
