"""Encoders, selections, projections and inflation factors on tables small enough to work out by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import TypeAdapter

from pipelines.errors import ModelError
from pipelines.models.categories import CategoryEncoder, fit_frequency, fit_target
from pipelines.models.column_fitting import spread
from pipelines.models.inflation import inflation
from pipelines.models.projection import FILE, Projection, fit_projection
from pipelines.models.selection import Rows, select
from pipelines.settings.preparation import Frequency, Project, Scale, Selection, Target

STEP: TypeAdapter[Selection] = TypeAdapter(Selection)


def column(*texts: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(texts, pa.string())])


def test_a_category_is_worth_its_mean_label_drawn_towards_the_mean_of_all() -> None:
    """Mean of all 3/6; with smoothing 1: a (2 + 0.5) / (3 + 1), b (1 + 0.5) / (2 + 1), missing (0 + 0.5) / (1 + 1)."""
    texts, target = column("a", "a", "a", "b", "b", None), np.array([1, 1, 0, 1, 0, 0.0])
    encoder, _ = fit_target(Target(encoder="target", smoothing=1, folds=2), texts, target, None, np.arange(6) // 3, [])
    assert encoder.names("shop") == ["shop (target)"]
    assert encoder.transform(column("a", "b", None, "unheard of"))[:, 0].tolist() == [0.625, 0.5, 0.25, 0.5]


def test_a_training_row_is_encoded_by_the_other_folds() -> None:
    """Without smoothing: a of fold 0 is worth fold 1's label 0, a of fold 1 the mean of 1 and 1; b is only in one."""
    texts, target = column("a", "a", "b", "a"), np.array([1, 1, 1, 0.0])
    fold = np.array([0, 0, 0, 1])
    _, unseen = fit_target(Target(encoder="target", smoothing=0), texts, target, None, fold, [])
    assert unseen[:, 0].tolist() == [0, 0, 0.75, 1]


def test_rows_count_by_their_weight() -> None:
    encoder, _ = fit_target(
        Target(encoder="target", smoothing=0),
        column("a", "a"),
        np.array([1.0, 0]),
        np.array([3.0, 1]),
        np.arange(2),
        [],
    )
    assert encoder.transform(column("a")).tolist() == [[0.75]]


def test_of_several_classes_each_has_its_share() -> None:
    texts, target = column("a", "a", "b", "b"), np.array([0, 1, 2, 2.0])
    encoder, _ = fit_target(Target(encoder="target", smoothing=0), texts, target, None, np.arange(4) % 2, list("xyz"))
    assert encoder.names("shop") == ["shop (target x)", "shop (target y)", "shop (target z)"]
    assert encoder.transform(column("a", "b")).tolist() == [[0.5, 0.5, 0], [0, 0, 1]]


def test_frequencies_are_shares_of_all_training_rows_and_zero_for_the_unseen() -> None:
    encoder = fit_frequency(Frequency(encoder="frequency"), column("a", "a", "b", None))
    assert encoder.transform(column("a", "b", None, "c"))[:, 0].tolist() == [0.5, 0.25, 0.25, 0]


def test_a_saved_encoder_of_categories_gives_the_same_numbers() -> None:
    encoder = fit_frequency(Frequency(encoder="frequency"), column("a", "a", "b"))
    encoder = encoder.with_scale(np.array([0.5]), np.array([0.1]))
    again = CategoryEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert again == encoder
    assert np.array_equal(again.transform(column("a", "c")), encoder.transform(column("a", "c")))


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        pytest.param("standard", (22.0, np.std([0, 1, 2, 3, 104])), id="outlier moves the mean"),
        pytest.param("robust", (2.0, 2.0), id="median and quartiles stand"),
        pytest.param("minmax", (0.0, 104.0), id="outlier fills the range"),
    ],
)
def test_numbers_are_centred_and_divided_by_the_chosen_spread(scale: Scale, expected: tuple[float, float]) -> None:
    assert spread(np.array([0.0, 1, 2, 3, 104, np.nan]), scale) == pytest.approx(expected)
    assert spread(np.array([5.0, 5, 5]), scale) == (5.0, 1.0)
    assert spread(np.array([np.nan]), scale) == (0.0, 1.0)


def signal(rows: int = 200) -> Rows:
    """The label is the sign of `cause`; `copy` says the same, `noise` nothing, `still` does not vary."""
    random = np.random.default_rng(5)
    cause, noise = random.normal(size=(2, rows))
    matrix = np.column_stack([noise, cause, 2 * cause + 1, np.full(rows, 3.0)])
    return Rows(matrix, (cause > 0).astype(np.int64), ["noise", "cause", "copy", "still"], is_class=True, seed=1)


def kept_by(*steps: dict[str, Any], rows: Rows | None = None) -> list[str]:
    rows = rows or signal()
    kept, _ = select(rows, [STEP.validate_python(step) for step in steps])
    return [rows.names[place] for place in kept]


def test_steps_work_on_what_the_steps_before_them_left() -> None:
    assert kept_by({"by": "variance"}) == ["noise", "cause", "copy"]
    assert kept_by({"by": "correlation"}) == ["noise", "cause", "still"]
    assert kept_by({"by": "mutual_information", "keep": 2}) == ["cause", "copy"]
    assert kept_by({"by": "variance"}, {"by": "correlation"}, {"by": "mutual_information", "keep": 1}) == ["cause"]
    assert "noise" not in kept_by({"by": "l1", "alpha": 0.05})
    assert kept_by({"by": "correlation"}, {"by": "recursive", "keep": 1}) == ["cause"]


def test_every_column_that_goes_is_told_with_the_reason() -> None:
    _, told = select(signal(), [STEP.validate_python({"by": "variance"}), STEP.validate_python({"by": "correlation"})])
    assert told == [
        {
            "by": "variance",
            "before": 4,
            "dropped": [{"column": "still", "why": "variance 0, must be above 0"}],
            "after": 3,
        },
        {
            "by": "correlation",
            "before": 3,
            "dropped": [{"column": "copy", "why": "correlation 1 with cause"}],
            "after": 2,
        },
    ]


def test_values_are_selected_by_too() -> None:
    rows = signal()
    values = Rows(rows.matrix, 3 * rows.matrix[:, 1], rows.names, is_class=False, seed=1)
    for step in ({"by": "mutual_information", "keep": 2}, {"by": "l1", "alpha": 0.1}, {"by": "recursive", "keep": 2}):
        assert "noise" not in kept_by(step, rows=values)


def test_a_selection_that_leaves_nothing_is_an_error() -> None:
    with pytest.raises(
        ModelError, match=r"E-TRAIN-SELECT training.select by variance: no column is left of 4\. Loosen"
    ):
        kept_by({"by": "variance", "min": 1000})


def test_components_are_those_of_most_variance_and_the_record_says_how_much() -> None:
    """Points on the line (1, 1) with a little across: the first component is that line, 99 % of the variance."""
    along, across = np.array([-3.0, -1, 1, 3]), np.array([0.1, -0.3, 0.3, -0.1]) * np.sqrt(2)
    matrix = np.column_stack([along + across, along - across]) + 7
    projection, facts = fit_projection(Project(method="pca", components=1), matrix, seed=1)
    assert np.abs(projection.arrays["weights_0"]) == pytest.approx(np.sqrt([[0.5, 0.5]]))
    assert facts["explained_variance"] == [pytest.approx(20 / (20 + 0.4), rel=1e-4)]
    assert projection.apply(matrix).mean() == pytest.approx(0, abs=1e-12)
    assert projection.shares() == pytest.approx(np.array([[0.5, 0.5]]))


@pytest.mark.parametrize("method", ["pca", "random", "autoencoder"])
def test_a_saved_projection_gives_the_same_bytes_whatever_rows_are_around(method: str) -> None:
    random = np.random.default_rng(1)
    matrix = random.normal(size=(300, 4)) @ random.normal(size=(4, 6))
    settings = Project.model_validate({"method": method, "components": 3})
    projection, facts = fit_projection(settings, matrix, seed=1)
    assert projection.to_bytes() == fit_projection(settings, matrix, seed=1)[0].to_bytes()
    again = Projection.from_dict(json.loads(json.dumps(projection.to_dict())), {FILE: projection.to_bytes()})
    whole = again.apply(matrix)
    assert whole.shape == (300, 3)
    assert np.array_equal(whole[7:9], projection.apply(matrix[7:9]))
    assert again.shares().sum(axis=1) == pytest.approx(np.ones(3))
    assert "explained" not in facts or facts["explained"] > 0.5


def test_more_components_than_columns_is_an_error() -> None:
    with pytest.raises(ModelError, match=r"E-TRAIN-PROJECT training\.project\.components: must be at most 2, .* got 3"):
        fit_projection(Project(method="pca", components=3), np.zeros((9, 2)), seed=1)


def test_inflation_factors_are_those_of_the_regressions() -> None:
    """Two columns with correlation 0.6: 1 / (1 - 0.36) = 1.5625 each; a sum of both is infinite with them."""
    one = np.array([1.0, -1, 1, -1, 0, 0, 0, 0]) * np.sqrt(2)
    apart = np.array([0.0, 0, 0, 0, 1, -1, 1, -1]) * np.sqrt(2)
    other = 0.6 * one + 0.8 * apart
    found = inflation(np.column_stack([one, other, np.full(8, 2.0)]), ["one", "other", "still"])
    assert found == {
        "rows": [{"column": "one", "vif": 1.562}, {"column": "other", "vif": 1.562}],
        "constant": 1,
        "left_out": 0,
    }
    endless = inflation(np.column_stack([one, other, one + other]), ["one", "other", "sum"])
    assert [row["vif"] for row in endless["rows"]] == [None, None, None]
