"""Segments and anomalies that nobody labelled: memberships, names, measures and rules, worked out by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from pipelines.errors import DataError
from pipelines.models import model_problems
from pipelines.models.segments import first_names, memberships, named_after
from pipelines.training.candidates import Candidate, Evaluation
from pipelines.training.decision import decide
from pipelines.training.policy import Policy
from pipelines.training.unlabelled import Measured, own_question, sampled, score_facts
from tests import builders

KMEANS = {"family": "sklearn", "estimator": "KMeans"}


def test_a_row_belongs_to_centres_by_its_squared_distance() -> None:
    centres = SimpleNamespace(cluster_centers_=np.array([[0.0], [4.0]]))
    # 1 and 3 away: 1/1 against 1/9; in the middle; on a centre.
    found = memberships(centres, np.array([[1.0], [2.0], [4.0]]))
    assert found == pytest.approx(np.array([[0.9, 0.1], [0.5, 0.5], [0.0, 1.0]]))


def test_two_equal_centres_share_their_rows() -> None:
    centres = SimpleNamespace(cluster_centers_=np.array([[1.0], [1.0]]))
    assert memberships(centres, np.array([[1.0], [3.0]])) == pytest.approx(np.full((2, 2), 0.5))


def test_the_first_segment_is_the_largest() -> None:
    belonging = np.eye(3)[[1, 1, 1, 0, 2, 2]]
    assert first_names(belonging) == (
        ["segment_1", "segment_2", "segment_3"],
        {"order": [1, 2, 0], "next_segment": 4},
    )


@dataclass(frozen=True)
class Assigned:
    """A model that puts rows where its columns say."""

    columns: list[int]
    classes: list[str]
    facts: dict[str, Any] = field(default_factory=dict)
    version: int = 0
    is_lost: bool = False

    def predict(self, table: pa.Table) -> np.ndarray:
        if self.is_lost:
            raise DataError("E-SCORE-SCHEMA", "features", "gone")
        return np.eye(len(self.classes))[self.columns][: table.num_rows]


TABLE = pa.table({"x": range(6)})


def _named(parent: Assigned, columns: list[int], count: int) -> Any:
    names = [f"segment_{number}" for number in range(1, count + 1)]
    model = Assigned(columns, names, {"order": list(range(count)), "next_segment": count + 1})
    return named_after(model, parent, TABLE)  # type: ignore[arg-type]


def test_segments_are_named_after_those_that_hold_most_of_the_same_rows() -> None:
    parent = Assigned([0, 0, 0, 1, 1, 2], ["segment_1", "segment_3", "segment_4"], {"next_segment": 6}, version=7)
    model = _named(parent, [2, 2, 2, 0, 0, 1], 3)
    assert model.classes == ["segment_1", "segment_3", "segment_4"]
    assert model.facts == {"order": [2, 0, 1], "next_segment": 6, "named_after": 7}


def test_a_new_segment_gets_a_number_that_no_segment_ever_had() -> None:
    parent = Assigned([0, 0, 0, 1, 1, 1], ["segment_1", "segment_3"], {"next_segment": 6}, version=7)
    model = _named(parent, [0, 0, 2, 1, 1, 1], 3)
    assert (model.classes, model.facts["order"]) == (["segment_1", "segment_3", "segment_6"], [0, 1, 2])
    assert model.facts["next_segment"] == 7


def test_a_parent_that_cannot_be_asked_lends_no_number() -> None:
    parent = Assigned([], ["segment_1", "segment_2"], {"next_segment": 3}, version=7, is_lost=True)
    assert _named(parent, [0, 0, 0, 1, 1, 1], 2).classes == ["segment_3", "segment_4"]


def test_what_scores_say_of_themselves() -> None:
    belonging = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])
    assert score_facts("segments", belonging) == pytest.approx(
        {"membership": 0.75, "largest_share": 0.75, "smallest_share": 0.25}
    )
    assert score_facts("anomaly", np.arange(101) / 100) == pytest.approx({"score_median": 0.5, "score_p99": 0.99})
    assert score_facts("anomaly", np.array([0.5, np.nan])) == {}


def test_a_model_is_asked_about_its_own_answer() -> None:
    metric, labels = own_question("segments", np.array([[0.9, 0.1], [0.2, 0.8]]))
    assert (metric, labels.tolist()) == ("accuracy", [0.0, 1.0])
    metric, labels = own_question("anomaly", np.arange(40) / 40)
    assert (metric, labels.sum()) == ("roc_auc", 2)


def test_a_sample_is_spread_over_all_rows() -> None:
    assert sampled(5, 10).tolist() == [0, 1, 2, 3, 4]
    assert sampled(100, 3).tolist() == [0, 49, 99]


POLICY = Policy(min_holdout_rows=1, max_seconds_per_1000_rows=None, max_megabytes=None, resamples=50)


def evaluation(task: str, measured: dict[str, Measured], **scores: np.ndarray) -> Evaluation:
    candidates = {name: Candidate(name, one, 7, holdout_digest="d") for name, one in scores.items()}
    rows = len(scores["challenger"])
    return Evaluation(
        task, "agreement", np.zeros(rows), candidates, "d", ["2026-03-01"], is_labelled=False, unlabelled=measured
    )


def segments(columns: list[int], silhouette: float) -> tuple[np.ndarray, Measured]:
    scores = np.eye(2)[columns] * 0.8 + 0.1
    return scores, Measured(np.array(columns), np.full(len(columns), silhouette))


HALVES = [0, 1] * 10


@pytest.mark.parametrize(
    ("columns", "silhouette", "outcome", "reason"),
    [
        pytest.param(HALVES, 0.5, "PROMOTE", "there is no champion yet: nothing to agree with", id="sound"),
        pytest.param(
            [0] * 20, 0.5, "REJECT", "1 of 2 segments hold rows, the largest 100.0% of them", id="one segment"
        ),
        pytest.param(HALVES, 0.05, "REJECT", "mean silhouette 0.0500 on 20 rows, floor 0.1", id="not apart"),
    ],
)
def test_first_segments(columns: list[int], silhouette: float, outcome: str, reason: str) -> None:
    scores, measured = segments(columns, silhouette)
    scores = scores + np.arange(20)[:, None] / 1000
    decision = decide(evaluation("segments", {"challenger": measured}, challenger=scores), POLICY, 1)
    assert decision.outcome == outcome
    assert decision.reasons[0].startswith(reason)


@pytest.mark.parametrize(
    ("columns", "silhouette", "outcome", "reason"),
    [
        pytest.param(HALVES, 0.6, "PROMOTE", "mean silhouette 0.6000 against 0.5000: gain +0.1000", id="better"),
        pytest.param(HALVES[::-1], 0.6, "PROMOTE", "mean silhouette", id="only numbered otherwise"),
        pytest.param(HALVES, 0.5, "HOLD", "mean silhouette 0.5000 against 0.5000: gain +0.0000", id="no better"),
        pytest.param(HALVES, 0.4, "REJECT", "mean silhouette 0.4000 against 0.5000: gain -0.1000", id="worse"),
        pytest.param([0] * 10 + [1] * 10, 0.6, "HOLD", "adjusted Rand index -0.05", id="other segments"),
    ],
)
def test_segments_against_a_champion(columns: list[int], silhouette: float, outcome: str, reason: str) -> None:
    mine, of_mine = segments(columns, silhouette)
    theirs, of_theirs = segments(HALVES, 0.5)
    both = {"challenger": of_mine, "champion": of_theirs}
    decision = decide(evaluation("segments", both, challenger=mine, champion=theirs), POLICY, 1)
    assert decision.outcome == outcome
    assert decision.reasons[0].startswith(reason)


RISING = np.arange(100) / 100


@pytest.mark.parametrize(
    ("scores", "threshold", "champion", "outcome", "reason"),
    [
        pytest.param(RISING, 0.985, None, "PROMOTE", "there is no champion yet", id="first"),
        pytest.param(
            RISING, 0.5, None, "HOLD", "49.00% of the holdout lie above the score that 1.00%", id="flags half"
        ),
        pytest.param(
            np.where(RISING < 0.6, 0.5, RISING),
            0.985,
            None,
            "REJECT",
            "60.0% of the rows have one and the same",
            id="flat",
        ),
        pytest.param(RISING, 0.985, RISING**2, "PROMOTE", "champion version 7 ranks the rows", id="alike"),
        pytest.param(
            RISING, 0.985, RISING[::-1], "HOLD", "champion version 7 ranks the rows", id="the other way round"
        ),
    ],
)
def test_anomalies(
    scores: np.ndarray, threshold: float, champion: np.ndarray | None, outcome: str, reason: str
) -> None:
    measured = {"challenger": Measured(threshold=threshold)}
    given = {"challenger": scores}
    if champion is not None:
        measured["champion"] = Measured(threshold=threshold)
        given["champion"] = champion
    decision = decide(evaluation("anomaly", measured, **given), POLICY, 1)
    assert decision.outcome == outcome
    assert any(text.startswith(reason) for text in decision.reasons), decision.reasons


def test_a_champion_that_could_not_score_is_not_replaced() -> None:
    scores, measured = segments(HALVES, 0.5)
    found = evaluation("segments", {"challenger": measured}, challenger=scores)
    lost = Candidate("champion", None, 3, problem="its features are gone", holdout_digest="d")
    found = Evaluation(**{**vars(found), "candidates": {**found.candidates, "champion": lost}})
    decision = decide(found, POLICY, 1)
    assert decision.outcome == "HOLD"
    assert decision.reasons == ["the champion (version 3) could not be judged: its features are gone"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"training": {"task": "binary"}}, "'training' needs 'label'", id="classes"),
        pytest.param(
            {"training": {"task": "segments"}, "label": {"column": "is_fraud"}},
            "'label' must be left out: task 'segments' finds its own",
            id="labelled segments",
        ),
        pytest.param(
            {"training": {"task": "anomaly", "metric": "pr_auc"}}, "'training.metric' needs 'label'", id="a metric"
        ),
        pytest.param(
            {"training": {"task": "segments", "tuning": {"trials": 2, "ranges": {"max_iter": [1, 9]}}}},
            "'training.tuning' needs 'label'",
            id="a search",
        ),
        pytest.param(
            {"training": {"task": "anomaly"}, "gate": {"floor": 0.5}},
            "'gate.floor' of task 'anomaly' needs 'label'",
            id="a floor",
        ),
        pytest.param(
            {"training": {"task": "anomaly"}, "gate": {"slices": ["country"]}},
            "'gate.slices' needs 'label'",
            id="slices",
        ),
        pytest.param(
            {"training": {"task": "anomaly"}, "label": {"column": "is_fraud"}, "gate": {"min_agreement": 0.0}},
            "'gate.min_agreement' is for models without labels",
            id="agreement with labels",
        ),
    ],
)
def test_settings_that_need_a_label_or_none_are_named(changes: dict[str, Any], message: str) -> None:
    training = {"model": KMEANS} | changes["training"]
    with pytest.raises(ValidationError) as found:
        builders.pipeline(**{"label": None} | changes | {"training": training})
    assert found.value.errors()[0]["msg"] == f"Value error, {message}"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        pytest.param(
            {"family": "xgboost"},
            "E-MODEL-ESTIMATOR training.model.family: family 'xgboost' cannot do task 'segments'. Use 'KMeans' of "
            "'sklearn'",
            id="trees",
        ),
        pytest.param(
            {"family": "sklearn", "estimator": "IsolationForest"},
            "E-MODEL-ESTIMATOR training.model.estimator: 'IsolationForest' cannot do task 'segments' (it does "
            "'anomaly'). Those that do: 'KMeans'.",
            id="a detector",
        ),
    ],
)
def test_models_that_make_no_segments_are_named(model: dict[str, Any], message: str) -> None:
    found = model_problems(builders.pipeline(label=None, training={"task": "segments", "model": model}))
    assert found == [message]
