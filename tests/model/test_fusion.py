"""Late fusion: a row is scored by the members whose columns it has; with none it is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from pipelines.models import model_problems
from pipelines.models.checkpoints import Checkpoints
from pipelines.models.fitting import Recipe, fit
from pipelines.models.fusion import fused_inputs, neutral_of
from pipelines.models.model import Model
from pipelines.models.recipe import Rows
from pipelines.settings.training import Training
from pipelines.storage.files import LocalFiles
from pipelines.training.metrics import metric
from tests.builders import PAYMENTS, pipeline
from tests.model.pictures import column, stripes_or_dots

TYPES = {"amount": "number", "shop": "category", "note": "text", "picture": "image"}
FUSION: dict[str, Any] = {
    "family": "ensemble",
    "combine": "fusion",
    "folds": 2,
    "members": {
        "numbers": {"family": "xgboost", "rounds": 10, "early_stopping_rounds": None, "parameters": {"max_depth": 2}},
        "words": {"family": "sklearn", "estimator": "LogisticRegression"},
        "image": {
            **{"family": "torch_image", "hidden_layers": [8], "channels": 8, "epochs": 6, "batch_rows": 32},
            **{"learning_rate": 0.01, "dropout": 0.0, "early_stopping_epochs": None},
        },
    },
    "columns": {"numbers": ["amount", "shop"], "words": ["note"], "image": ["picture"]},
}


def recipe(**changes: Any) -> Recipe:
    return Recipe(Training.model_validate({"task": "binary", "model": FUSION | changes}), TYPES, ["0", "1"], threads=1)


def payments(rows: int, seed: int, missing: float = 0.2) -> Rows:
    """Each kind of column tells the answer in three of four rows, by itself; each is missing in some."""
    random = np.random.default_rng(seed)
    pictures, shown, present = stripes_or_dots(rows, seed, missing)
    answers = np.where(random.uniform(size=rows) < 0.75, shown, 1 - shown)
    told = [np.where(random.uniform(size=rows) < 0.75, answers, 1 - answers) for _ in range(2)]
    amount = np.where(random.uniform(size=rows) < missing, np.nan, told[0] + random.uniform(-0.4, 0.4, rows))
    words = [[None, "plain words", "strange words"][0 if random.random() < missing else 1 + one] for one in told[1]]
    table = pa.table(
        {
            "amount": pa.array(amount, from_pandas=True),
            "shop": pa.array([None] * rows, pa.string()),
            "note": pa.array(words, pa.string()),
            "picture": column(pictures, present),
        }
    )
    return Rows(table, answers.astype(float))


@pytest.fixture(scope="module")
def fitted() -> Model:
    return fit(recipe(), payments(400, 1), None)


def without(table: pa.Table, *names: str) -> pa.Table:
    for name in names:
        table = table.set_column(
            table.column_names.index(name), name, pa.nulls(len(table), table.schema.field(name).type)
        )
    return table


def auc(scores: np.ndarray, rows: Rows) -> float:
    seen = np.isfinite(scores)
    return metric("roc_auc", rows.target[seen], scores[seen])


def test_what_a_silent_member_would_have_said_and_that_it_is_silent():
    """Log-odds of 0.5 and 0.8 are 0 and ln 4; the mean of what the second member says, ln 4, stands for its silence."""
    scores = [np.array([0.5, 0.5]), np.array([0.8, np.nan])]
    four = np.log(4)
    neutral = neutral_of(scores, "binary")
    assert neutral == pytest.approx((0.0, four))
    assert fused_inputs(scores, "binary", neutral) == pytest.approx(np.array([[0, four, 0, 0], [0, four, 0, 1]]))


@pytest.mark.slow
def test_together_they_know_more_than_each_and_a_missing_kind_costs_only_its_part(fitted):
    unseen = payments(400, 2)
    whole = auc(fitted.predict(unseen.table), unseen)
    members = fitted.estimator.members
    assert all(whole > auc(member.predict(unseen.table), unseen) + 0.03 for member in members.values())
    blind = fitted.predict(without(unseen.table, "picture"))
    assert whole > auc(blind, unseen) > 0.65


def test_a_row_is_scored_by_what_it_has_and_refused_with_nothing(fitted):
    table = payments(60, 3, missing=0.0).table
    for gone in (["picture"], ["note"], ["amount"], ["picture", "note"], ["amount", "note"]):
        assert np.isfinite(fitted.predict(without(table, *gone))).all()
    assert np.isnan(fitted.predict(without(table, "amount", "shop", "note", "picture"))).all()


def test_the_others_decide_for_a_row_without_an_image(fitted):
    """Another image changes the score where there was one; where there is none nothing about images is left."""
    table = payments(40, 4, missing=0.0).table
    other = table.set_column(3, "picture", column(stripes_or_dots(40, 9)[0]))
    assert (fitted.predict(table) != fitted.predict(other)).any()
    assert np.array_equal(fitted.predict(without(table, "picture")), fitted.predict(without(other, "picture")))


def test_each_member_sees_its_own_columns_alone(fitted):
    members = fitted.estimator.members
    assert {name: member.features for name, member in members.items()} == {
        "numbers": ["amount", "shop"],
        "words": ["note"],
        "image": ["picture"],
    }
    assert set(fitted.importance()) == set(TYPES)
    assert sum(fitted.importance().values()) == pytest.approx(1)


def test_scores_do_not_depend_on_order_or_batch(fitted):
    rows = payments(80, 5).table
    found, order = fitted.predict(rows), np.random.default_rng(6).permutation(80)
    assert np.array_equal(fitted.predict(rows.take(pa.array(order))), found[order], equal_nan=True)
    parts = [fitted.predict(rows.slice(at, 9)) for at in range(0, 80, 9)]
    assert np.array_equal(np.concatenate(parts), found, equal_nan=True)


def test_a_saved_fusion_scores_alike(fitted):
    rows = payments(80, 7).table
    again = Model.from_files(fitted.to_files())
    assert np.array_equal(again.predict(rows), fitted.predict(rows), equal_nan=True)
    assert again.to_files() == fitted.to_files()


def test_the_same_rows_give_the_same_bytes_also_after_a_kill(tmp_path):
    quick = {**FUSION["members"], "image": FUSION["members"]["image"] | {"epochs": 2, "checkpoint_epochs": 1}}
    rows = payments(120, 8)
    whole = fit(recipe(members=quick), rows, None).to_files()
    place = Checkpoints(LocalFiles(tmp_path))
    fit(recipe(members=quick), rows, None, place)
    assert fit(recipe(members=quick), rows, None, place).to_files() == whole


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_other_tasks_are_joined_too(task):
    rows = payments(150, 9)
    ridge = {"family": "sklearn", "estimator": "Ridge"}
    image = FUSION["members"]["image"] | {"epochs": 1}
    words = ridge if task == "regression" else FUSION["members"]["words"]
    model = FUSION | {"members": FUSION["members"] | {"words": words, "image": image}}
    classes = [] if task == "regression" else ["a", "b"]
    wanted = Recipe(Training.model_validate({"task": task, "model": model}), TYPES, classes, threads=1)
    fitted = fit(wanted, rows, None)
    scores = fitted.predict(without(rows.table, "picture"))
    refused = ~np.isfinite(scores).reshape(150, -1).all(axis=1)
    nothing = rows.table["amount"].is_null().to_numpy() & rows.table["note"].is_null().to_numpy()
    assert np.array_equal(refused, nothing)
    assert np.array_equal(
        Model.from_files(fitted.to_files()).predict(rows.table), fitted.predict(rows.table), equal_nan=True
    )


def problems(columns: dict[str, list[str]], **training: Any) -> list[str]:
    source = {**PAYMENTS["source"], "columns": {**PAYMENTS["source"]["columns"], "picture": {"type": "image"}}}
    members = {name: FUSION["members"][name] for name in columns}
    settings = {"task": "binary", "model": FUSION | {"columns": columns, "members": members}} | training
    return model_problems(pipeline(source=source, features={"columns": ["amount_eur", "picture"]}, training=settings))


def test_senseless_settings_are_named():
    assert problems({"numbers": ["amount_eur"], "image": ["picture"]}) == []
    assert problems({"numbers": ["amount_eur", "picure"], "image": ["picture"]}) == [
        "E-MODEL-FUSION training.model.columns.numbers: 'picure' must be a feature. Did you mean 'picture'?"
    ]
    assert problems({"numbers": ["amount_eur"]}) == [
        "E-MODEL-FUSION training.model.columns: no member sees the feature(s) 'picture'."
    ]
    assert problems({"numbers": ["picture"], "image": ["amount_eur"]}) == [
        "E-MODEL-IMAGE training.model.members.image: family 'torch_image' reads one image, but no feature is an image."
    ]
    assert problems({"numbers": ["amount_eur"], "image": ["picture"]}, missing={"default": {"strategy": "drop"}}) == [
        "E-MODEL-FUSION training.missing.default: 'drop' would refuse rows that other members can score. "
        "Leave it out, or fill the gaps."
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"combine": "voting"}, "'columns' is for 'combine: fusion', got 'voting'"),
        (
            {"columns": {"numbers": ["amount"]}},
            "'columns' must name the features of each member: image, numbers, words",
        ),
        ({"columns": FUSION["columns"] | {"words": []}}, "'columns' must name the features of each member"),
    ],
    ids=["not a fusion", "a member without", "an empty list"],
)
def test_columns_belong_to_the_members_of_a_fusion(changes, message):
    with pytest.raises(ValidationError, match=message):
        Training.model_validate({"task": "binary", "model": FUSION | changes})
