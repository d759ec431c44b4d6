"""Calibration curves, worked out by hand, and what must hold of every one of them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import ModelError
from pipelines.models.calibration import Calibrator, Isotonic, Sigmoid, fit_calibrator, fit_isotonic, fit_sigmoid
from pipelines.models.calibration_choice import choose_calibrator
from pipelines.settings.training import Calibration

LOG_3 = math.log(3)
CHANCES = st.floats(0, 1)


def test_isotonic_pools_the_rows_that_stand_in_the_wrong_order():
    """0.2 (1) and 0.4 (0) contradict each other: both become 1/2. Ends are those of one row among 4 + 2."""
    found = fit_isotonic(np.array([0.1, 0.2, 0.4, 0.9]), np.array([False, True, False, True]))
    assert found == Isotonic((0.1, 0.2, 0.4, 0.9), (1 / 6, 0.5, 0.5, 5 / 6))
    assert found(np.array([0.0, 0.15, 0.3, 1.0])) == pytest.approx([1 / 6, 1 / 3, 0.5, 5 / 6])


def test_sigmoid_of_four_rows_by_hand():
    """Two scores, 3/4 of log-odds +ln 3 and 1/4 of -ln 3 are positive: on these targets slope 1, intercept 0.

    Platt moves the labels 1 and 0 of 4 + 4 rows to 5/6 and 1/6, so the shares become (3 * 5/6 + 1/6) / 4 = 2/3 and 1/3:
    log-odds of +-ln 2, from which the slope is ln 2 / ln 3.
    """
    scores = np.array([0.25] * 4 + [0.75] * 4)
    is_positive = np.array([True, False, False, False, True, True, True, False])
    found = fit_sigmoid(scores, is_positive)
    assert found.slope == pytest.approx(math.log(2) / LOG_3, rel=1e-6)
    assert found.intercept == pytest.approx(0, abs=1e-6)
    assert found(np.array([0.75, 0.25])) == pytest.approx([2 / 3, 1 / 3], rel=1e-6)


def test_sigmoid_of_scores_that_rank_backwards_leaves_the_share_alone():
    """A negative slope would put every row in the opposite place."""
    found = fit_sigmoid(np.array([0.9, 0.8, 0.2, 0.1]), np.array([False, False, True, True]))
    assert found.slope == 0
    assert found(np.array([0.1, 0.9])) == pytest.approx([0.5, 0.5])


def test_perfect_order_gives_no_certainty():
    scores, is_positive = np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True])
    for method in ("sigmoid", "isotonic"):
        found = fit_calibrator(method, scores, is_positive * 1.0).apply(np.array([0.0, 1.0]))
        assert ((found > 0) & (found < 1)).all()


def test_several_classes_are_scaled_to_one_again():
    """Each class against the rest by hand: 0.5, 0.25, 0.25 -> 0.6, 0.1, 0.1 -> over their sum 0.8."""
    curves = (Isotonic((0.0, 1.0), (0.6, 0.6)), Isotonic((0.0, 1.0), (0.1, 0.1)), Isotonic((0.0, 1.0), (0.1, 0.1)))
    found = Calibrator("isotonic", curves).apply(np.array([[0.5, 0.25, 0.25], [math.nan] * 3]))
    assert found[0] == pytest.approx([0.75, 0.125, 0.125])
    assert np.isnan(found[1]).all()


def test_a_class_without_rows_keeps_its_score():
    """It would be pressed to nothing, though the rows that were kept back say nothing of it."""
    scores = np.array([[0.6, 0.3, 0.1], [0.3, 0.6, 0.1]] * 3)
    found = fit_calibrator("sigmoid", scores, np.array([0.0, 1.0] * 3))
    assert [curve is None for curve in found.curves] == [False, False, True]


@st.composite
def samples(draw) -> tuple[np.ndarray, np.ndarray]:
    rows = draw(st.integers(6, 40))
    scores = draw(st.lists(CHANCES, min_size=rows, max_size=rows))
    labels = draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=rows - 2, max_size=rows - 2))
    return np.array(scores), np.array([0.0, 1.0, *labels])


@settings(deadline=None, max_examples=150)
@given(samples(), st.sampled_from(["sigmoid", "isotonic"]), st.lists(CHANCES, min_size=2, max_size=30))
def test_calibration_never_turns_two_rows_around_and_stays_a_probability(sample, method, later):
    found = fit_calibrator(method, *sample).apply(np.sort(np.array(later)))
    assert (np.diff(found) >= -1e-12).all()
    assert ((found >= 0) & (found <= 1)).all()


@settings(deadline=None, max_examples=50)
@given(samples(), st.sampled_from(["sigmoid", "isotonic"]))
def test_json_keeps_every_digit(sample, method):
    scores, target = sample
    made = fit_calibrator(method, scores, target)
    again = Calibrator.from_dict(json.loads(json.dumps(made.to_dict())))
    assert again == made
    assert np.array_equal(again.apply(scores), made.apply(scores))


def test_a_refused_row_stays_refused():
    for curve in (Sigmoid(2.0, 0.1), Isotonic((0.1, 0.9), (0.2, 0.8))):
        found = Calibrator("sigmoid", (curve,)).apply(np.array([math.nan, 0.5]))
        assert np.isnan(found).tolist() == [True, False]


# -- the choice -------------------------------------------------------------------------------------------------------


def rows_of(chance_of, rows: int = 4000, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, labels that are 1 with `chance_of(score)`, and five folds."""
    random = np.random.default_rng(seed)
    scores = random.uniform(0.01, 0.99, rows)
    return scores, (random.random(rows) < chance_of(scores)) * 1.0, np.arange(rows) * 5 // rows


@pytest.mark.parametrize(
    ("chance_of", "expected"),
    [
        (lambda score: score, "none"),
        (lambda score: 1 / (1 + ((1 - score) / score) ** 0.4), "sigmoid"),
        (lambda score: np.where(score < 0.3, 0.1, np.where(score < 0.7, 0.3, 0.9)), "isotonic"),
    ],
    ids=["calibrated already", "too extreme", "steps"],
)
def test_auto_takes_what_helps_on_rows_that_the_curve_has_not_seen(chance_of, expected):
    calibrator, facts = choose_calibrator(Calibration(), *rows_of(chance_of))
    assert facts["method"] == expected
    assert (calibrator is None) == (expected == "none")
    assert set(facts["figures"]) == {"none", "sigmoid", "isotonic"}


def test_a_method_that_was_asked_for_is_used_even_where_another_is_better():
    calibrator, facts = choose_calibrator(Calibration(method="isotonic"), *rows_of(lambda score: score))
    assert calibrator is not None
    assert (facts["method"], facts["wanted"]) == ("isotonic", "isotonic")


def test_isotonic_steps_are_not_judged_on_the_rows_that_made_them():
    """Labels by the toss of a coin: on its own rows the curve of 60 steps would look better than none."""
    random = np.random.default_rng(3)
    scores = np.full(60, 0.5) + random.uniform(-0.01, 0.01, 60)
    target = np.resize([0.0, 1.0], 60)
    random.shuffle(target)
    _, facts = choose_calibrator(Calibration(), scores, target, np.arange(60) * 5 // 60)
    assert facts["figures"]["isotonic"]["log_loss"] > facts["figures"]["none"]["log_loss"]


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ([0.0, 1.0] * 20, "got 40 rows with 2 label value"),
        ([0.0] * 60, "got 60 rows with 1 label value"),
        ([0.0] * 50 + [1.0] * 10, "got 60 rows with 2 label value"),
    ],
    ids=["few rows", "one label", "a label in one part only"],
)
def test_rows_that_tell_too_little_are_refused(target, told):
    labels = np.array(target)
    with pytest.raises(ModelError, match=f"E-TRAIN-CALIBRATION.*{told}"):
        choose_calibrator(
            Calibration(), np.linspace(0, 1, len(labels)), labels, np.arange(len(labels)) * 5 // len(labels)
        )
