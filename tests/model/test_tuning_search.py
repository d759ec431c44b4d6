"""A search goes on after a kill as if nothing had happened, is shared by processes, and ends hopeless trials early."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import ModelError, StorageError
from pipelines.home import REPOSITORY
from pipelines.training import tuning_search
from pipelines.training.tuning_search import best_of
from pipelines.training.tuning_study import COMPLETE, FAILED, PRUNED, RUNNING, Studies
from tests.model.tune_child import STUDY, outcome, take_part, training_of

KINDS = ("plain", "median", "halving", "hyperband")


def url(folder: Path, name: str = "studies") -> str:
    return f"sqlite:///{folder / name}.db"


def start(address: str, kind: str, **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.model.tune_child", address, kind]
    return subprocess.Popen(command, cwd=REPOSITORY, env={**os.environ, **environment})


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("unbroken")
    return {kind: outcome(take_part(url(folder, kind), training_of(kind))) for kind in KINDS}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "point"),
    [
        pytest.param("plain", "train.round_n", id="in-its-first-trial"),
        pytest.param("median", "tune.trial_7", id="in-its-eighth"),
        pytest.param("halving", "tune.trial_12", id="while-optuna-learns"),
        pytest.param("hyperband", "tune.after_trial", id="between-two"),
    ],
)
def test_a_search_that_was_killed_ends_as_the_unbroken_one(
    tmp_path: Path, unbroken: dict[str, list[dict[str, Any]]], kind: str, point: str
) -> None:
    assert start(url(tmp_path), kind, NIGHTSHIFT_FAILPOINT=f"{point}=kill").wait() == -signal.SIGKILL
    left = Studies(url(tmp_path)).trials(STUDY)
    assert [row["state"] for row in left].count(RUNNING) == (0 if point == "tune.after_trial" else 1)
    assert len(left) < len(unbroken[kind])
    assert outcome(take_part(url(tmp_path), training_of(kind))) == unbroken[kind]


@pytest.mark.slow
def test_two_processes_do_all_trials_once_although_one_is_killed(tmp_path: Path, ledger_url: str) -> None:
    once = {"NIGHTSHIFT_FAILPOINT": "tune.trial_4=kill", "NIGHTSHIFT_FAILPOINT_ONCE": str(tmp_path / "once")}
    workers = [start(ledger_url, "shared", **once) for _ in range(2)]
    assert sorted(worker.wait(timeout=100) for worker in workers) == [-signal.SIGKILL, 0]
    trials = Studies(ledger_url).trials(STUDY)
    assert [row["number"] for row in trials] == list(range(10))
    assert {row["state"] for row in trials} <= {COMPLETE, PRUNED}
    assert [row["number"] for row in trials if row["tries"] > 1] == [4]
    assert len({row["owner"] for row in trials}) == 2
    assert take_part(ledger_url, training_of("shared")).trials(STUDY) == trials  # one that comes too late


@pytest.mark.slow
def test_pruned_trials_end_early_and_count_as_trials(unbroken: dict[str, list[dict[str, Any]]]) -> None:
    for kind in ("median", "halving", "hyperband"):
        pruned = [row for row in unbroken[kind] if row["state"] == PRUNED]
        assert len(unbroken[kind]) == 14
        assert 3 <= len(pruned) <= 12
        assert {row["value"] for row in pruned} == {None}
        assert all(row["looks"][-1][0] < 30 for row in pruned)  # of 30 rounds
        assert best_of(unbroken[kind], "roc_auc")["state"] == COMPLETE  # type: ignore[index]
    assert [row["state"] for row in unbroken["median"][:2]] == [COMPLETE, COMPLETE]  # startup_trials
    assert all(row["looks"] == [] for row in unbroken["plain"])


@pytest.mark.slow
def test_values_keep_to_their_ranges(unbroken: dict[str, list[dict[str, Any]]]) -> None:
    tried = [row["parameters"] for rows in unbroken.values() for row in rows]
    assert {type(one["max_depth"]) for one in tried} == {int}
    assert {one["subsample"] for one in tried} == {0.5, 0.75, 1.0}
    assert {one["grow_policy"] for one in tried} == {"depthwise", "lossguide"}
    assert all(0.01 <= one["learning_rate"] <= 0.9 for one in tried)
    assert sum(one["learning_rate"] < 0.09 for one in tried) > len(tried) / 4  # log: half of the range's decades


def test_trials_that_make_no_number_have_failed_with_their_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems: list[Any] = [float("nan"), ModelError("E-TRAIN-FIT", "'XGBoost'", "the loss is no number"), 0.75]
    problems += [ValueError("n_splits must not be above the rows")]

    def judged(*_: Any) -> float:
        problem = problems.pop(0)
        if isinstance(problem, Exception):
            raise problem
        return float(problem)

    monkeypatch.setattr(tuning_search, "_judged", judged)
    found = outcome(take_part(url(tmp_path), training_of("plain", trials=4)))
    assert [(row["state"], row["value"]) for row in found] == [
        (FAILED, None),
        (FAILED, None),
        (COMPLETE, 0.75),
        (FAILED, None),
    ]
    assert [row["reason"] for row in found if row["reason"]] == [
        "'roc_auc' is no number on the last training partitions",
        "E-TRAIN-FIT 'XGBoost': the loss is no number.",
        "n_splits must not be above the rows",
    ]


def test_trouble_that_is_not_the_trials_own_gives_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> float:
        raise StorageError("E-STORE-DOWN", "s3://bucket", "it did not answer")

    real = tuning_search._judged
    monkeypatch.setattr(tuning_search, "_judged", away)
    with pytest.raises(StorageError):
        take_part(url(tmp_path), training_of("plain", trials=2))
    (row,) = Studies(url(tmp_path)).trials(STUDY)
    assert (row["state"], row["owner"], row["tries"]) == (RUNNING, "", 0)
    monkeypatch.setattr(tuning_search, "_judged", real)
    states = [row["state"] for row in take_part(url(tmp_path), training_of("plain", trials=2)).trials(STUDY)]
    assert states == [COMPLETE, COMPLETE]


def test_given_parameters_are_tried_first_and_the_rest_is_sampled(tmp_path: Path) -> None:
    first = [{"origin": "settings", "parameters": {"max_depth": 6, "grow_policy": "lossguide"}}]
    found = outcome(take_part(url(tmp_path), training_of("plain", trials=2), first=first))
    assert found[0]["parameters"].items() >= first[0]["parameters"].items()
    assert set(found[0]["parameters"]) == set(found[1]["parameters"])


def test_trials_of_another_study_are_not_counted(tmp_path: Path) -> None:
    training = training_of("plain", trials=2)
    take_part(url(tmp_path), training, study="of other rows")
    assert len(take_part(url(tmp_path), training).trials(STUDY)) == 2


@pytest.mark.slow
def test_a_network_is_ended_early_too(tmp_path: Path) -> None:
    model = {"family": "torch", "hidden_layers": [8], "epochs": 6}
    ranges = {"learning_rate": [1e-5, 0.05], "batch_rows": {"kind": "int", "low": 64, "high": 256, "step": 64}}
    pruner = {"kind": "median", "every": 1, "startup_trials": 1}
    training = training_of("plain", model, ranges=ranges, log_scale=["learning_rate"], trials=6, pruner=pruner)
    states = [row["state"] for row in take_part(url(tmp_path), training).trials(STUDY)]
    assert states[0] == COMPLETE
    assert PRUNED in states


@pytest.mark.slow
def test_members_of_an_ensemble_are_tuned_by_their_names(tmp_path: Path) -> None:
    trees = {"family": "xgboost", "rounds": 5, "early_stopping_rounds": None}
    line = {"family": "sklearn", "estimator": "LogisticRegression", "parameters": {}}
    model = {"family": "ensemble", "combine": "voting", "members": {"trees": trees, "line": line}}
    training = training_of("plain", model, ranges={"trees.max_depth": [1, 4], "line.C": [0.1, 10.0]}, trials=2)
    for row in take_part(url(tmp_path), training).trials(STUDY):
        assert row["state"] == COMPLETE, row["reason"]
        assert {name: type(value) for name, value in row["parameters"].items()} == {
            "trees.max_depth": int,
            "line.C": float,
        }
