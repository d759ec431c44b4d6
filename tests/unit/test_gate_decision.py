"""The gate's rules one by one: each case is a good challenger with one thing wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipelines.settings.gate import Gate
from pipelines.training.candidates import CHALLENGER, CHAMPION, CONSTANT, LINEAR, Candidate, Evaluation
from pipelines.training.comparison import scaled
from pipelines.training.decision import decide
from pipelines.training.policy import POLICIES, Check, Policy, policy_of

ROWS = 400
POLICY = Policy(resamples=200)
LABELS = (np.arange(ROWS) % 2).astype(float)
_NOISE = np.random.default_rng(7).normal(0, 1, (2, ROWS))


def scores(quality: float, noise: int = 0) -> np.ndarray:
    """Probabilities that follow the labels with this signal; calibrated: the odds of two normals."""
    drawn = quality * (LABELS - 0.5) + _NOISE[noise]
    return 1 / (1 + np.exp(-quality * drawn))


def candidate(name: str, values: np.ndarray | None, **changes) -> Candidate:
    own = {"seconds_per_1000_rows": 0.01, "megabytes": 1.0, "holdout_digest": "h"}
    return Candidate(name, values, **(own | changes))


def evaluation(**changes) -> Evaluation:
    """A challenger clearly better than champion and baselines; None takes a candidate out."""
    found = {
        CHALLENGER: candidate(CHALLENGER, scores(3.0), version=2),
        CHAMPION: candidate(CHAMPION, scores(1.0), version=1),
        CONSTANT: candidate(CONSTANT, np.full(ROWS, 0.5)),
        LINEAR: candidate(LINEAR, scores(1.5)),
    }
    given = {name: changes.pop(name) for name in tuple(changes) if name in found}
    kept = {name: one for name, one in (found | given).items() if one is not None}
    return replace(Evaluation("binary", "roc_auc", LABELS, kept, "h", ["2026-03-04"]), **changes)


def failed(decision) -> list[str]:
    return [check.name for check in decision.checks if not check.passed]


def test_a_better_challenger_is_promoted_with_its_numbers():
    decision = decide(evaluation(), POLICY, seed=1)
    assert (decision.outcome, failed(decision)) == ("PROMOTE", [])
    assert "over champion version 1" in decision.reasons[0]
    numbers = next(check.numbers for check in decision.checks if check.name == "champion")
    assert numbers["lower"] > 0
    assert numbers["rows"] == ROWS


def broken(position: int, value: float) -> np.ndarray:
    found = scores(3.0).copy()
    found[position] = value
    return found


@pytest.mark.parametrize(
    ("changes", "outcome", "check"),
    [
        pytest.param({CHALLENGER: None}, "REJECT", "scores", id="challenger missing"),
        pytest.param({CHALLENGER: candidate(CHALLENGER, None, problem="E-X")}, "REJECT", "scores", id="cannot score"),
        pytest.param({CHALLENGER: candidate(CHALLENGER, broken(3, np.nan))}, "REJECT", "scores", id="one NaN score"),
        pytest.param({CHALLENGER: candidate(CHALLENGER, broken(3, np.inf))}, "REJECT", "scores", id="one infinite"),
        pytest.param({CHALLENGER: candidate(CHALLENGER, scores(3)[:-1])}, "REJECT", "scores", id="a row short"),
        pytest.param(
            {CHAMPION: candidate(CHAMPION, scores(1), version=1, holdout_digest="other")},
            "HOLD",
            "holdout",
            id="champion judged on another holdout",
        ),
        pytest.param(
            {CHALLENGER: candidate(CHALLENGER, scores(3), holdout_digest="")}, "HOLD", "holdout", id="no digest"
        ),
        pytest.param({CHALLENGER: candidate(CHALLENGER, np.full(ROWS, 0.7))}, "REJECT", "spread", id="constant"),
        pytest.param(
            {CHALLENGER: candidate(CHALLENGER, scores(3), seconds_per_1000_rows=9.0)}, "REJECT", "speed", id="slow"
        ),
        pytest.param(
            {CHALLENGER: candidate(CHALLENGER, scores(3), seconds_per_1000_rows=None)},
            "REJECT",
            "speed",
            id="speed unknown",
        ),
        pytest.param(
            {CHALLENGER: candidate(CHALLENGER, scores(3), seconds_per_1000_rows=np.nan)}, "REJECT", "speed", id="NaN s"
        ),
        pytest.param({CHALLENGER: candidate(CHALLENGER, scores(3), megabytes=501.0)}, "REJECT", "size", id="large"),
        pytest.param({CONSTANT: None}, "HOLD", "baseline constant", id="baseline missing"),
        pytest.param(
            {CONSTANT: candidate(CONSTANT, np.full(ROWS, np.nan))}, "HOLD", "baseline constant", id="baseline NaN"
        ),
        pytest.param({CONSTANT: candidate(CONSTANT, scores(4.0))}, "REJECT", "baseline constant", id="not beaten"),
        pytest.param({LINEAR: candidate(LINEAR, scores(6.0))}, "HOLD", "baseline linear", id="linear clearly better"),
        pytest.param({CHAMPION: candidate(CHAMPION, scores(3.0), version=1)}, "HOLD", "champion", id="same model"),
        pytest.param({CHAMPION: candidate(CHAMPION, scores(6.0), version=1)}, "REJECT", "champion", id="worse"),
        pytest.param(
            {CHAMPION: candidate(CHAMPION, None, version=1, problem="E-MODEL-HASH")},
            "HOLD",
            "champion",
            id="champion cannot be loaded",
        ),
        pytest.param(
            {CHAMPION: candidate(CHAMPION, np.full(ROWS, np.nan), version=1)}, "HOLD", "champion", id="champion NaN"
        ),
        pytest.param({"labels": np.ones(ROWS)}, "HOLD", "baseline constant", id="holdout of one class"),
        pytest.param({"groups": np.arange(ROWS) % 29}, "HOLD", "groups", id="29 groups"),
    ],
)
def test_one_thing_wrong_is_never_promoted(changes, outcome, check):
    decision = decide(evaluation(**changes), POLICY, seed=1)
    assert (decision.outcome, failed(decision)[:1]) == (outcome, [check])


def test_no_rows_at_all_is_no_promotion():
    empty = {name: candidate(name, np.empty(0)) for name in (CHALLENGER, CHAMPION, CONSTANT)}
    assert decide(evaluation(labels=np.empty(0), **empty), POLICY, seed=1).outcome == "REJECT"


@pytest.mark.parametrize(
    ("policy", "outcome", "check"),
    [
        pytest.param({"min_holdout_rows": ROWS}, "PROMOTE", None, id="rows at the minimum"),
        pytest.param({"min_holdout_rows": ROWS + 1}, "HOLD", "rows", id="one row short"),
        pytest.param({"floor": 0.9}, "PROMOTE", None, id="above the floor"),
        pytest.param({"floor": 0.9999}, "REJECT", "floor", id="below the floor"),
        pytest.param({"margin": 0.5}, "HOLD", "champion", id="gain below the margin"),
        pytest.param({"margin": float("nan")}, "HOLD", "champion", id="a NaN margin"),
        pytest.param({"floor": float("nan")}, "REJECT", "floor", id="a NaN floor"),
        pytest.param({"max_calibration_error": 0.0001}, "HOLD", "calibration", id="miscalibrated"),
        pytest.param({"max_calibration_error": None}, "PROMOTE", None, id="calibration not asked"),
        pytest.param({"max_seconds_per_1000_rows": None, "max_megabytes": None}, "PROMOTE", None, id="no limits"),
        pytest.param({"must_beat_linear": True}, "PROMOTE", None, id="linear beaten"),
    ],
)
def test_each_limit_of_a_policy_decides(policy, outcome, check):
    decision = decide(evaluation(), replace(POLICY, **policy), seed=1)
    assert (decision.outcome, failed(decision)[:1]) == (outcome, [check] if check else [])


def test_lower_is_better_turns_floor_and_gain_around():
    """A log loss of 0.2 under a floor of 0.5 is good; `value >= floor` would reject it."""
    good = evaluation(metric="log_loss")
    assert decide(good, replace(POLICY, floor=0.5), seed=1).outcome == "PROMOTE"
    assert failed(decide(good, replace(POLICY, floor=0.01), seed=1)) == ["floor"]
    swapped = evaluation(
        metric="log_loss",
        **{CHALLENGER: candidate(CHALLENGER, scores(1)), CHAMPION: candidate(CHAMPION, scores(3), version=1)},
    )
    assert "champion" in failed(decide(swapped, POLICY, seed=1))


@pytest.mark.parametrize(
    ("linear", "outcome", "check"),
    [
        pytest.param(candidate(LINEAR, scores(3.0)), "REJECT", "baseline linear", id="only equal"),
        pytest.param(None, "HOLD", "baseline linear", id="absent"),
        pytest.param(candidate(LINEAR, None, problem="E"), "HOLD", "baseline linear", id="failed"),
    ],
)
def test_a_strict_policy_must_beat_the_linear_model(linear, outcome, check):
    decision = decide(evaluation(**{LINEAR: linear}), replace(POLICY, must_beat_linear=True), seed=1)
    assert (decision.outcome, failed(decision)[:1]) == (outcome, [check])


def test_the_first_champion_only_has_to_beat_the_baselines():
    first = decide(evaluation(**{CHAMPION: None}), POLICY, seed=1)
    assert (first.outcome, first.reasons[0]) == (
        "PROMOTE",
        "there is no champion yet: beating the baselines suffices",
    )
    useless = candidate(CHALLENGER, scores(0.0) + 0.001 * _NOISE[1])
    assert decide(evaluation(**{CHAMPION: None, CHALLENGER: useless}), POLICY, seed=1).outcome == "REJECT"


def test_a_slice_that_gets_worse_holds_although_the_average_improves():
    is_small = np.arange(ROWS) < 120
    worse = np.where(is_small, scores(0.0) + 0.001 * _NOISE[1], scores(5.0))
    regressing = evaluation(
        **{CHALLENGER: candidate(CHALLENGER, worse), CHAMPION: candidate(CHAMPION, scores(1.5), version=1)},
        slices={"country": np.where(is_small, "MT", "DE").astype(object)},
    )
    decision = decide(regressing, POLICY, seed=1)
    assert (decision.outcome, failed(decision)) == ("HOLD", ["slice country=MT"])
    assert "country=MT (120 rows)" in decision.reasons[0]


@pytest.mark.parametrize(("rows", "judged"), [(99, False), (100, True)], ids=["below the minimum", "at the minimum"])
def test_a_slice_is_judged_from_its_minimum_of_rows_on(rows, judged):
    values = np.where(np.arange(ROWS) < rows, "small", "large").astype(object)
    decision = decide(evaluation(slices={"country": values}), POLICY, seed=1)
    assert ("slice country=small" in [check.name for check in decision.checks]) is judged


def test_a_slice_without_a_name_is_a_slice():
    values = np.array([None] * 200 + ["DE"] * 200, dtype=object)
    names = [check.name for check in decide(evaluation(slices={"country": values}), POLICY, seed=1).checks]
    assert "slice country=None" in names


def test_a_slice_of_one_class_says_nothing():
    values = np.where(LABELS == 1, "fraud", "fine").astype(object)
    assert decide(evaluation(slices={"kind": values}), POLICY, seed=1).outcome == "PROMOTE"


def test_checks_of_the_run_come_first_and_hold():
    late = Check("hindsight", False, "BACKFILL")
    decision = decide(evaluation(), POLICY, seed=1, before=[late])
    assert (decision.outcome, decision.reasons) == ("HOLD", ["BACKFILL"])


def test_the_same_seed_decides_alike_and_every_check_is_kept():
    one, two = (decide(evaluation(), POLICY, seed=5) for _ in range(2))
    assert one == two
    assert [check.name for check in one.checks] == [
        "scores",
        "holdout",
        "rows",
        "spread",
        "speed",
        "size",
        "baseline constant",
        "baseline linear",
        "champion",
        "delong",
        "too good",
        "calibration",
    ]


def test_a_margin_is_points_for_bounded_metrics_and_a_share_for_others():
    assert scaled(0.01, "roc_auc", 0.8) == 0.01
    assert scaled(0.01, "rmse", 250.0) == 2.5


@pytest.mark.parametrize(
    ("gate", "expected"),
    [
        pytest.param({}, POLICIES["default"], id="named values"),
        pytest.param({"policy": "strict"}, POLICIES["strict"], id="another name"),
        pytest.param(
            {"policy": "strict", "margin": 0.01}, replace(POLICIES["strict"], margin=0.01), id="own value wins"
        ),
        pytest.param(
            {"margin": 0.0, "policy": "strict"}, replace(POLICIES["strict"], margin=0.0), id="zero is a value"
        ),
        pytest.param({"slice_min_rows": 100}, POLICIES["default"], id="the default written out"),
        pytest.param({"slice_min_rows": 7}, replace(POLICIES["default"], slice_min_rows=7), id="slices"),
    ],
)
def test_policy_values(gate, expected):
    assert policy_of(Gate.model_validate(gate)) == expected


def test_strict_asks_for_more_than_default_and_bootstrap_for_fewer_rows():
    default, strict, young = (POLICIES[name] for name in ("default", "strict", "bootstrap"))
    assert strict.confidence > default.confidence
    assert strict.min_holdout_rows > default.min_holdout_rows > young.min_holdout_rows
    assert young.confidence == default.confidence
