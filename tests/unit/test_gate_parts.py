"""The gate's later rules: other tests than superiority, stale champions, slices, sensitive columns, leaps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from pipelines.settings.gate import Gate, Leakage, gate_problems
from pipelines.training import comparison
from pipelines.training.candidates import CHALLENGER, CHAMPION, CONSTANT, Candidate, Evaluation
from pipelines.training.decision import decide
from pipelines.training.delong import DeLong
from pipelines.training.policy import Policy, policy_of
from pipelines.training.slices import corrected

ROWS = 2_000
POLICY = Policy(resamples=400, max_calibration_error=None)
LABELS = (np.arange(ROWS) % 2).astype(float)
_NOISE = np.random.default_rng(11).normal(0, 1, (2, ROWS))


def scores(quality: float, noise: int = 0) -> np.ndarray:
    return 1 / (1 + np.exp(-quality * (LABELS - 0.5) - _NOISE[noise]))


def candidate(name: str, values: np.ndarray, version: int | None = None) -> Candidate:
    return Candidate(name, values, version, None, 0.01, 1.0, "h")


def evaluation(mine: np.ndarray, theirs: np.ndarray | None, **changes) -> Evaluation:
    found = {
        CHALLENGER: candidate(CHALLENGER, mine, 2),
        CONSTANT: candidate(CONSTANT, np.full(ROWS, 0.5)),
    }
    if theirs is not None:
        found[CHAMPION] = candidate(CHAMPION, theirs, 1)
    return replace(Evaluation("binary", "roc_auc", LABELS, found, "h", ["2026-03-04"]), **changes)


def failed(decision) -> list[str]:
    return [check.name for check in decision.checks if not check.passed]


def check(decision, name):
    return next(one for one in decision.checks if one.name == name)


EQUAL = scores(2.0) + 1e-4 * _NOISE[1]  # hardly another order
WORSE = scores(1.7)


@pytest.mark.parametrize(
    ("mine", "policy", "outcome"),
    [
        pytest.param(EQUAL, {}, "HOLD", id="equal is not superior"),
        pytest.param(EQUAL, {"test": "not_inferior", "tolerance": 0.01}, "PROMOTE", id="equal is not inferior"),
        pytest.param(WORSE, {"test": "not_inferior", "tolerance": 0.01}, "REJECT", id="worse beyond the tolerance"),
        pytest.param(WORSE, {"test": "not_inferior", "tolerance": 0.2}, "PROMOTE", id="worse within a wide tolerance"),
    ],
)
def test_a_test_of_non_inferiority_lets_equals_through(mine, policy, outcome):
    assert decide(evaluation(mine, scores(2.0)), replace(POLICY, **policy), seed=1).outcome == outcome


@pytest.mark.parametrize(
    ("age", "when_stale", "outcome", "is_told"),
    [
        pytest.param(30.0, "not_inferior", "HOLD", False, id="at the limit"),
        pytest.param(30.5, "not_inferior", "PROMOTE", True, id="stale: not inferior suffices"),
        pytest.param(30.5, "superior", "HOLD", True, id="stale: only told"),
        pytest.param(None, "not_inferior", "HOLD", False, id="age unknown"),
    ],
)
def test_a_stale_champion_is_told_and_may_ease_the_test(age, when_stale, outcome, is_told):
    policy = replace(POLICY, max_champion_age_days=30, when_stale=when_stale, tolerance=0.01)
    decision = decide(evaluation(EQUAL, scores(2.0), champion_age_days=age), policy, seed=1)
    assert decision.outcome == outcome
    assert any(reason.startswith("STALE") for reason in decision.reasons) is is_told


def test_the_night_s_level_follows_the_number_of_tests():
    """A gain of 4.2 standard errors: enough for four tests a year, too little for a hundred thousand."""
    given = evaluation(scores(2.02), scores(2.0) + 0.05 * _NOISE[1])
    few, many = (decide(given, POLICY, seed=1, tests_per_year=tests) for tests in (4, 100_000))
    assert (failed(few), failed(many)) == ([], ["champion"])
    assert check(many, "champion").numbers["alpha"] == 0.5 / 100_000


def test_the_first_champion_has_to_beat_the_constant_at_the_night_s_level():
    numbers = check(decide(evaluation(scores(2.0), None), POLICY, seed=1), "baseline constant").numbers
    assert numbers["confidence"] == 1 - 0.5 / 365


def test_two_tests_that_contradict_each_other_are_for_a_person(monkeypatch):
    other = DeLong(-0.1, 0.001, -0.102, -0.098, 1.0)
    monkeypatch.setattr(comparison, "delong", lambda *_: other)
    decision = decide(evaluation(scores(3.0), scores(1.0)), POLICY, seed=1)
    assert (decision.outcome, failed(decision)) == ("HOLD", ["delong"])
    assert "a person must look" in decision.reasons[0]


def halves(worse: float, better: float) -> np.ndarray:
    return np.where(np.arange(ROWS) < ROWS // 2, scores(worse), scores(better))


def test_a_slice_that_is_certainly_worse_holds_and_one_that_may_be_does_not():
    country = np.where(np.arange(ROWS) < ROWS // 2, "MT", "DE").astype(object)
    policy = replace(POLICY, slice_margin=0.02)
    lost = decide(evaluation(halves(1.5, 4.0), scores(2.0), slices={"country": country}), policy, seed=1)
    assert failed(lost) == ["slice country=MT"]
    numbers = check(lost, "slice country=MT").numbers
    assert numbers["p_adjusted"] == pytest.approx(min(1.0, 2 * numbers["p_value"]))
    assert check(lost, "slice country=DE").passed


def test_a_slice_too_small_to_say_anything_says_so():
    country = np.where(np.arange(ROWS) < 100, "MT", "DE").astype(object)
    mine = np.where(np.arange(ROWS) < 100, scores(1.9) + 0.05 * _NOISE[1], scores(4.0))
    policy = replace(POLICY, slice_margin=0.001)
    found = check(
        decide(evaluation(mine, scores(2.0), slices={"country": country}), policy, seed=1), "slice country=MT"
    )
    assert found.passed
    assert found.numbers["is_weak"]
    assert "too few rows to notice" in found.text


def test_a_slice_whose_loss_cannot_be_tested_holds():
    """One positive among the slice's rows: a third of the resamples have none, and the loss is plain."""
    labels = LABELS.copy()
    labels[:100] = 0
    labels[3] = 1
    mine = np.where(np.arange(ROWS) == 3, 0.0, scores(5.0))
    country = np.where(np.arange(ROWS) < 100, "MT", "DE").astype(object)
    given = evaluation(mine, scores(2.0), labels=labels, slices={"country": country})
    found = check(decide(given, POLICY, seed=1), "slice country=MT")
    assert not found.passed
    assert "cannot be tested" in found.text


def test_corrections_worked_by_hand():
    """Holm: 3 x .01, 2 x .02, then at least as much. Benjamini-Hochberg: .01 x 3/1, .02 x 3/2, .04 x 3/3."""
    assert corrected([0.04, 0.01, 0.02], "holm") == pytest.approx([0.04, 0.03, 0.04])
    assert corrected([0.04, 0.01, 0.02], "benjamini_hochberg") == pytest.approx([0.04, 0.03, 0.03])
    assert corrected([], "holm") == []


SEX = np.where(np.arange(ROWS) % 4 < 2, "f", "m").astype(object)


def selected(first: float, second: float) -> np.ndarray:
    """Scores by which this share of the rows of 'f' and of 'm' is selected; quality is of no concern here."""
    rank = np.arange(ROWS) / ROWS
    wanted = np.where(SEX == "f", first, second)
    return np.where(rank < wanted, 0.9, 0.1) + 0.001 * scores(3.0)


@pytest.mark.parametrize(
    ("mine", "theirs", "is_held"),
    [
        pytest.param(selected(0.5, 0.45), selected(0.5, 0.5), False, id="within the limit"),
        pytest.param(selected(0.5, 0.2), selected(0.5, 0.5), True, id="beyond it and worse than the champion"),
        pytest.param(selected(0.5, 0.2), selected(0.5, 0.1), False, id="beyond it, but the champion's is larger"),
        pytest.param(selected(0.5, 0.2), None, True, id="no champion to compare with"),
    ],
)
def test_a_selection_gap_holds(mine, theirs, is_held):
    policy = replace(POLICY, max_selection_gap=0.1)
    decision = decide(evaluation(mine, theirs, sensitive={"sex": SEX}), policy, seed=1)
    assert ("selection gap sex" in failed(decision)) is is_held


def test_gaps_worked_by_hand():
    """f selected 1/2 of its rows, m 1/5; labels alternate, so that rates of both classes are those shares, too."""
    policy = replace(POLICY, max_selection_gap=0.1, max_error_gap=0.1)
    decision = decide(evaluation(selected(0.5, 0.2), None, sensitive={"sex": SEX}), policy, seed=1)
    for kind in ("selection", "error"):
        assert check(decision, f"{kind} gap sex").numbers["challenger"] == pytest.approx(0.3, abs=0.002)


def test_a_sensitive_column_that_cannot_be_judged_holds():
    one = np.full(ROWS, "f", dtype=object)
    decision = decide(evaluation(scores(2.0), None, sensitive={"sex": one}), replace(POLICY, max_error_gap=0.1), seed=1)
    assert "cannot be told" in check(decision, "error gap sex").text
    assert decision.outcome == "HOLD"


def test_the_error_gap_of_numbers_is_a_share_of_the_error():
    """f is off by 1, m by 3: a gap of 2 at a mean error of 2."""
    labels = np.arange(ROWS, dtype=float)
    mine = labels + np.where(SEX == "f", 1.0, 3.0)
    given = evaluation(mine, None, task="regression", metric="rmse", labels=labels, sensitive={"sex": SEX})
    found = check(decide(given, replace(POLICY, max_error_gap=0.5, leakage=None), seed=1), "error gap sex")
    assert found.numbers["challenger"] == pytest.approx(1.0)
    assert not found.passed


@pytest.mark.parametrize(
    ("mine", "theirs", "metric", "is_held"),
    [
        pytest.param(LABELS * 0.8 + 0.1 + 0.01 * _NOISE[0], scores(2.0), "roc_auc", True, id="perfect of a sudden"),
        pytest.param(LABELS + 0.1 * _NOISE[0], LABELS + 0.1 * _NOISE[1], "roc_auc", False, id="as perfect as before"),
        pytest.param(scores(4.0), scores(2.0), "roc_auc", False, id="good is not perfect"),
        pytest.param(LABELS * 0.99 + 0.005, scores(2.0), "log_loss", True, id="a loss that vanishes"),
        pytest.param(scores(2.0), 1 - scores(6.0), "log_loss", False, id="the champion fell below the baseline"),
    ],
)
def test_too_good_to_be_true(mine, theirs, metric, is_held):
    decision = decide(evaluation(mine, theirs, metric=metric), POLICY, seed=1)
    assert ("too good" in failed(decision)) is is_held
    without = replace(POLICY, leakage=None)
    assert "too good" not in [one.name for one in decide(evaluation(mine, theirs, metric=metric), without, 1).checks]


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        pytest.param({"test": "not_inferior"}, "'tolerance' must be set", id="no tolerance"),
        pytest.param({"tolerance": 0.01}, "'tolerance' needs", id="a tolerance of nothing"),
        pytest.param(
            {"when_stale": "not_inferior", "tolerance": 0.01}, "needs 'max_champion_age_days'", id="stale since when"
        ),
        pytest.param({"sensitive": ["sex"]}, "'sensitive' needs", id="no limit"),
        pytest.param({"max_selection_gap": 0.1}, "needs 'sensitive'", id="a limit of no column"),
        pytest.param({"false_promotions_per_year": 0}, "greater than 0", id="a budget of nothing"),
    ],
)
def test_senseless_combinations_are_refused(gate, words):
    with pytest.raises(ValidationError, match=words):
        Gate.model_validate(gate)


@pytest.mark.parametrize(
    ("gate", "task", "is_labelled", "count"),
    [
        pytest.param({"max_error_gap": 0.1}, "binary", True, 0, id="classes"),
        pytest.param({"max_error_gap": 0.1}, "regression", True, 0, id="numbers"),
        pytest.param({"max_selection_gap": 0.1}, "regression", True, 1, id="nothing is selected by a number"),
        pytest.param({"max_error_gap": 0.1}, "multiclass", True, 1, id="several classes"),
        pytest.param({"max_error_gap": 0.1}, "anomaly", False, 1, id="no labels"),
    ],
)
def test_sensitive_columns_need_a_task_that_can_be_judged(gate, task, is_labelled, count):
    assert len(gate_problems(Gate.model_validate({"sensitive": ["sex"], **gate}), task, is_labelled)) == count


def test_leakage_can_be_switched_off_and_changed():
    assert policy_of(Gate.model_validate({"leakage": None})).leakage is None
    assert policy_of(Gate.model_validate({"leakage": {"too_good": 1.0}})).leakage == Leakage(too_good=1.0)
