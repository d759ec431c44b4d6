"""A training that goes on from the champion: what it keeps, when it may not, who its parent was; its replay."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.context import Context
from pipelines.errors import ModelError
from pipelines.ledger import Row
from pipelines.models.artifact import artifact_sha256
from pipelines.models.checkpoints import Checkpoints
from pipelines.models.fitting import Recipe, Rows, fit
from pipelines.models.model import Model
from pipelines.settings.training import Training
from pipelines.storage.files import LocalFiles
from pipelines.training import evaluate, gate, promote, replay, snapshot, train, tune
from pipelines.training.dataset import Frozen, read_frozen
from pipelines.training.evaluation import seen_by
from pipelines.training.metrics import metric
from pipelines.training.mlflow_client import registry
from pipelines.training.warm_start import decide
from tests.builders import utc
from tests.model import feeds
from tests.model.feeds import TRAINING, at, day, learnable

TREES = {
    "family": "xgboost",
    "rounds": 20,
    "early_stopping_rounds": None,
    "checkpoint_rounds": 4,
    "parameters": {"max_depth": 3, "subsample": 0.7},
}
NETWORK = {"family": "torch", "hidden_layers": [16], "epochs": 6, "batch_rows": 64, "checkpoint_epochs": 1}
MORE = {"xgboost": {"rounds": 10}, "torch": {"epochs": 4}}
TYPES = {"a": "number", "b": "number", "kind": "category"}
LOSS = {"binary": "log_loss", "multiclass": "log_loss", "regression": "rmse"}


# -- fitting ------------------------------------------------------------------------------------------------------


def recipe(model: dict[str, Any], task: str = "binary") -> Recipe:
    settings = {"task": task, "model": model, "warm_start": MORE[str(model["family"])]}
    classes = {"binary": ["0", "1"], "multiclass": ["x", "y", "z"], "regression": []}[task]
    return Recipe(Training.model_validate(settings), TYPES, classes, 1)


def drawn(task: str, seed: int, shift: float = 0.0) -> Rows:
    """`shift` moves inputs and values: later rows are not like earlier ones."""
    chance = np.random.default_rng(seed)
    a, b = chance.normal(loc=shift, size=600), chance.normal(size=600)
    table = pa.table({"a": a, "b": b, "kind": chance.choice(list("xyz"), 600)})
    target = {"binary": (a > b) * 1.0, "multiclass": (a > b) * 1.0 + (a > 1), "regression": 100 + shift + a - b}[task]
    return Rows(table, np.asarray(target, dtype=np.float64))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_trees_are_added_to_the_parents_own(task: str) -> None:
    """The first rounds of the new booster are the parent, to the last bit, and the added ones lower its loss."""
    old, new = drawn(task, 1), drawn(task, 2, shift=0.3)
    parent = fit(recipe(TREES, task), old, None)
    model = fit(recipe(TREES, task), new, None, None, parent)
    x = parent.preprocess.transform(new.table, np.float32)
    assert np.array_equal(model.estimator[:20].inplace_predict(x), parent.estimator.inplace_predict(x))
    assert (model.facts["rounds"], model.facts["rounds_of_parent"]) == (30, 20)
    assert model.estimator.num_boosted_rounds() == 30
    losses = [metric(LOSS[task], new.target, one.predict(new.table)) for one in (parent, model)]
    assert losses[1] < 0.95 * losses[0]
    loaded = Model.from_files(model.to_files())
    assert np.array_equal(loaded.predict(new.table), model.predict(new.table))
    assert set(model.importance()) == set(TYPES)


def test_added_trees_correct_what_the_parent_really_says() -> None:
    """A tree without a split adds the mean of the residuals; margins taken from the new rows' bins give another one."""
    old, new = drawn("regression", 1), drawn("regression", 2, shift=0.3)
    parent = fit(recipe(TREES, "regression"), old, None)
    stump = {"min_split_loss": 1e12, "learning_rate": 1.0, "lambda": 0.0}
    model = fit(recipe(TREES | {"parameters": stump}, "regression"), new, None, None, parent)
    residual = float(np.mean(new.target - parent.predict(new.table)))
    assert abs(residual) > 0.01
    assert model.predict(new.table) - parent.predict(new.table) == pytest.approx(residual, abs=1e-4)


def test_added_trees_are_the_same_when_memory_is_short() -> None:
    parent = fit(recipe(TREES), drawn("binary", 1), None)
    usual = fit(recipe(TREES), drawn("binary", 2), None, None, parent)
    small = fit(replace(recipe(TREES), is_small=True), drawn("binary", 2), None, None, parent)
    assert small.to_files() == usual.to_files()


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_network_goes_on_from_the_parents_weights_and_scales(task: str) -> None:
    """Inputs and target keep the parent's scales: by those of the new rows the old weights would mean another thing."""
    old, new = drawn(task, 1), drawn(task, 2, shift=0.3)
    parent = fit(recipe(NETWORK, task), old, None)
    model = fit(recipe(NETWORK, task), new, None, None, parent)
    assert model.preprocess == parent.preprocess
    assert (model.estimator.center, model.estimator.scale) == (parent.estimator.center, parent.estimator.scale)
    assert (model.facts["epochs"], model.facts["epochs_of_parent"]) == (10, 6)
    losses = [metric(LOSS[task], new.target, one.predict(new.table)) for one in (parent, model)]
    assert losses[1] < losses[0]
    still = fit(recipe(NETWORK | {"learning_rate": 1e-12}, task), new, None, None, parent)
    assert still.predict(new.table) == pytest.approx(parent.predict(new.table), rel=1e-4)


class Died(Exception):
    """Stands for the end of the process right after a checkpoint."""


class Mortal(Checkpoints):
    def at(self, *parts: str) -> Mortal:
        return Mortal(self.files.at(*parts), self.keep, self.notes)

    def save(self, number: int, content: bytes, is_best: bool = False) -> None:
        super().save(number, content, is_best)
        raise Died


@pytest.mark.parametrize("settings", [TREES, NETWORK], ids=["xgboost", "torch"])
def test_a_warm_start_that_dies_after_every_checkpoint_ends_with_the_same_bytes(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    parent = fit(recipe(settings), drawn("binary", 1), None)
    expected = fit(recipe(settings), drawn("binary", 2), None, None, parent)
    deaths = 0
    while deaths < 20:
        try:
            found = fit(recipe(settings), drawn("binary", 2), None, Mortal(LocalFiles(tmp_path)), parent)
            break
        except Died:
            deaths += 1
    assert deaths >= 3
    assert artifact_sha256(found.to_files()) == artifact_sha256(expected.to_files())


# -- the chain ----------------------------------------------------------------------------------------------------

DAYS = tuple(f"2026-03-{number:02d}" for number in range(1, 8))
GATE = {"policy": "bootstrap", "margin": -1.0}
WARM = TRAINING | {"model": TREES, "warm_start": {"rounds": 5, "at_most": 2}}


def night(run: Context, partition: str, **training: Any) -> Context:
    return at(run, partition, run_id=f"retrain-{partition}", training=WARM | training, gate=GATE)


def trained(run: Context) -> int:
    snapshot_id = snapshot(run)["snapshot_id"]
    tune(run, snapshot_id)
    return int(train(run, snapshot_id)["version"])


def chosen(run: Context) -> int:
    snapshot_id = snapshot(run)["snapshot_id"]
    version = int(train(run, snapshot_id)["version"])
    crown(run, version)
    return version


def crown(run: Context, version: int) -> None:
    """Champion without a gate, which is none of this file's business."""
    current = run.ledger.champion(run.name)
    values = {"action": "promote", "reason": "test", "actor": "test", "run_id": run.run_id}
    seq = current["seq"] if current else 0
    assert run.ledger.change_champion(run.name, version, expected_seq=seq, effective_from=run.partition.end, **values)


def start_of(run: Context, version: int) -> dict[str, Any]:
    found: dict[str, Any] = run.ledger.model(run.name, version)["record"]["warm_start"]
    return found


@pytest.mark.slow
def test_nights_go_on_from_the_champion_and_begin_anew_when_it_is_time(new_home: Callable[..., Context]) -> None:
    """Cold, warm, warm, cold; each is replayed to the same bytes, and the gate compares with the parent itself."""
    run = new_home(DAYS[3])
    learnable(run, DAYS)
    first = night(run, DAYS[2])
    summary = train(first, snapshot(first)["snapshot_id"])
    assert summary["warm_start"] == "cold: there is no champion yet"
    crown(first, 1)
    second = night(run, DAYS[3])
    snapshot_id = snapshot(second)["snapshot_id"]
    summary = train(second, snapshot_id)
    sha256 = run.ledger.model(run.name, 1)["artifact_sha256"]
    assert summary["warm_start"] == f"from version 1 (sha256 {sha256[:16]}), 1 in a row"
    assert start_of(run, 2) == {"parent": {"version": 1, "sha256": sha256}, "in_a_row": 1, "seen": list(DAYS[:2])}
    record = run.ledger.model(run.name, 2)["record"]
    assert (record["facts"]["rounds"], record["facts"]["rounds_of_parent"]) == (25, 20)
    with registry(run) as client:
        tags = client.get_run(run.ledger.model(run.name, 2)["mlflow_run_id"]).data.tags
    assert tags["nightshift.warm_start"] == summary["warm_start"]
    card = run.reports.at("models").read("2.md")
    assert card is not None
    assert f"warm start: `{summary['warm_start']}`" in card.decode()
    evaluate(second, snapshot_id, 2)
    decision = gate(second, snapshot_id, 2)
    assert (decision["outcome"], decision["champion"]) == ("PROMOTE", 1)
    assert run.ledger.decisions(run.name, "gate")[-1]["numbers"]["champion_overlap"] == 0.0
    promote(second, 2)
    assert chosen(night(run, DAYS[4])) == 3
    assert (start_of(run, 3)["in_a_row"], start_of(run, 3)["seen"]) == (2, list(DAYS[:3]))
    assert seen_by(run.ledger.model(run.name, 3)["record"]) == set(DAYS[:4])
    assert chosen(night(run, DAYS[5])) == 4
    reason = "2 warm start(s) in a row are the most that 'warm_start.at_most' allows (champion: version 3)"
    assert start_of(run, 4) == {"reason": reason}
    shutil.rmtree(run.home.root / "staging")
    for version in (1, 2, 3, 4):
        result = replay(night(run, DAYS[6]), version)
        assert (result["verdict"], result["differences"]) == ("equal", []), version


@pytest.mark.slow
def test_a_replay_says_when_the_parents_files_are_gone(new_home: Callable[..., Context]) -> None:
    run = new_home(DAYS[3])
    learnable(run, DAYS[:5])
    chosen(night(run, DAYS[2]))
    assert chosen(night(run, DAYS[3])) == 2
    place = run.home.root / run.ledger.model(run.name, 1)["artifact_uri"]
    place.rename(place.with_name("aside"))
    with pytest.raises(
        ModelError, match=r"E-REPLAY-PARENT payments version 2: it was trained on from version 1 .* its files are gone"
    ):
        replay(night(run, DAYS[3]), 2)
    assert not [path for path in (run.home.root / "staging" / run.name / "replays").rglob("*") if path.is_file()]
    cold = replay(night(run, DAYS[3], warm_start=None), 2, settings="today")
    assert "config: start of the training from version 1 " in "\n".join(cold["differences"])
    assert cold["verdict"] == "different"
    place.with_name("aside").rename(place)
    deeper = TREES | {"parameters": {"max_depth": 4, "subsample": 0.7}}
    other = replay(night(run, DAYS[3], model=deeper), 2, settings="today")
    assert any(line.endswith("(champion: version 1)") and "max_depth 3 -> 4" in line for line in other["differences"])


@pytest.mark.slow
def test_a_retry_goes_on_from_the_parent_of_its_snapshot(new_home: Callable[..., Context]) -> None:
    """Another champion came between the snapshot and the training; a new snapshot takes that one."""
    run = new_home(DAYS[3])
    learnable(run, DAYS[:4])
    chosen(night(run, DAYS[2]))
    tonight = night(run, DAYS[3])
    pinned = snapshot(tonight)["snapshot_id"]
    other = at(run, DAYS[2], run_id="by-hand", training=WARM | {"seed": 3, "warm_start": None}, gate=GATE)
    assert chosen(other) == 2
    train(tonight, pinned)
    assert start_of(run, 3)["parent"]["version"] == 1
    anew = snapshot(tonight)["snapshot_id"]
    assert anew != pinned
    assert read_frozen(tonight, anew).warm_start["parent"]["version"] == 2  # type: ignore[index]


@pytest.mark.slow
def test_a_pinned_parent_that_is_damaged_stops_the_training(new_home: Callable[..., Context]) -> None:
    run = new_home(DAYS[3])
    learnable(run, DAYS[:4])
    chosen(night(run, DAYS[2]))
    tonight = night(run, DAYS[3])
    pinned = snapshot(tonight)["snapshot_id"]
    file = run.home.root / run.ledger.model(run.name, 1)["artifact_uri"] / "model.ubj"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"\x00")
    with pytest.raises(ModelError, match=r"E-TRAIN-PARENT payments .* goes on from version 1 .* E-MODEL-HASH"):
        train(tonight, pinned)
    assert [row["version"] for row in run.ledger.models(run.name)] == [1]
    file.write_bytes(content)
    assert train(tonight, pinned)["version"] == 2


# -- when it begins anew --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path) -> tuple[Context, Frozen, Row]:
    """A night with a champion that it can go on from: its context, its rows and the champion."""
    root = tmp_path_factory.mktemp("champion")
    (root / "mlflow").mkdir()
    shutil.copy(empty_mlflow, root / "mlflow" / "mlflow.db")
    run = feeds.context(root, DAYS[3])
    learnable(run, DAYS[:4])
    chosen(night(run, DAYS[2]))
    tonight = night(run, DAYS[3])
    return tonight, read_frozen(tonight, snapshot(tonight)["snapshot_id"]), run.ledger.model(run.name, 1)


def record(**changes: Any) -> Callable[[Context, Frozen, Row], tuple[Context, Frozen, Row]]:
    return lambda run, frozen, row: (run, frozen, row | {"record": row["record"] | changes})


def rows_of(**changes: Any) -> Callable[[Context, Frozen, Row], tuple[Context, Frozen, Row]]:
    return lambda run, frozen, row: (run, replace(frozen, **changes), row)


def settings(**changes: Any) -> Callable[[Context, Frozen, Row], tuple[Context, Frozen, Row]]:
    return lambda run, frozen, row: (night(run, run.key, **changes), frozen, row)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(
            settings(model=TREES | {"parameters": {"max_depth": 4, "subsample": 0.7}}),
            "other settings: training.model.parameters.max_depth 3 -> 4",
            id="another parameter",
        ),
        pytest.param(settings(model=NETWORK, warm_start={}), "another family: 'xgboost' -> 'torch'", id="family"),
        pytest.param(
            settings(missing={"amount_eur": {"strategy": "median"}}),
            'training.missing.amount_eur.strategy (absent) -> "median"',
            id="gaps filled otherwise",
        ),
        pytest.param(
            rows_of(types={"amount_eur": "category", "country": "category"}),
            'other features: amount_eur "number" -> "category"',
            id="type",
        ),
        pytest.param(rows_of(classes=["0", "1", "2"]), "other classes: '0', '1' -> '0', '1', '2'", id="class"),
        pytest.param(
            rows_of(holdout_partitions=[DAYS[1]]),
            f"it has learnt from '{DAYS[1]}', and the holdout begins with '{DAYS[1]}'",
            id="known holdout",
        ),
        pytest.param(
            record(warm_start={"in_a_row": 1, "seen": [DAYS[5]]}),
            f"it has learnt from '{DAYS[5]}', and the holdout begins with '{DAYS[3]}'",
            id="holdout known to its parent",
        ),
        pytest.param(
            settings(exclude_partitions=[DAYS[0]]),
            f"it has learnt from '{DAYS[0]}', excluded now",
            id="poisoned day",
        ),
        pytest.param(
            record(warm_start={"in_a_row": 1, "seen": ["2026-02-01"]}),
            "it has learnt from '2026-02-01', refused since",
            id="refused day",
        ),
        pytest.param(
            rows_of(row_digests={DAYS[0]: "other"}),
            f"it has learnt from '{DAYS[0]}', '{DAYS[1]}', whose rows are others now",
            id="corrected rows",
        ),
        pytest.param(
            record(warm_start={"in_a_row": 2, "seen": []}),
            "2 warm start(s) in a row are the most that 'warm_start.at_most' allows",
            id="too often",
        ),
        pytest.param(
            lambda run, frozen, row: (run, frozen, row | {"artifact_uri": "models/payments/none"}),
            "its files are gone",
            id="no files",
        ),
        pytest.param(
            lambda run, frozen, row: (run, frozen, row | {"artifact_sha256": "0" * 64}),
            "its files are others now",
            id="changed files",
        ),
    ],
)
def test_a_training_begins_anew_and_says_why(champion: Any, change: Any, reason: str) -> None:
    found = decide(*change(*champion))
    assert found is not None
    assert set(found) == {"reason"}
    assert reason in found["reason"]
    assert found["reason"].endswith("(champion: version 1)")


@pytest.mark.slow
def test_what_does_not_matter_does_not_stop_a_warm_start(champion: Any) -> None:
    run, frozen, row = champion
    longer = TREES | {"rounds": 99, "early_stopping_rounds": 5, "checkpoint_rounds": 7}
    other = night(run, run.key, seed=1, model=longer, window_partitions=30, min_rows=5, metric="log_loss")
    for context in (run, other):
        found = decide(context, frozen, row)
        assert found is not None
        assert found["parent"]["version"] == 1
    assert decide(night(run, run.key, warm_start=None), frozen, row) is None
    assert decide(run, frozen, None) == {"reason": "there is no champion yet"}


@pytest.mark.slow
def test_a_new_category_begins_anew_and_one_that_is_gone_does_not(new_home: Callable[..., Context]) -> None:
    """The parent's codes are kept: a country that it never saw would stay unknown for as long as it is gone on from."""
    run = new_home(DAYS[3])
    learnable(run, DAYS[:2])
    for key, country in ((DAYS[2], "DE"), (DAYS[3], "DE"), (DAYS[4], "AT"), (DAYS[5], "DE")):
        rows = [{"amount_eur": float(n), "is_fraud": int(n % 50 > 25), "country": country} for n in range(100)]
        day(run, key, rows)
    features = {"columns": ["amount_eur", "country"]}
    nights = [replace(night(run, key), pipeline=night(run, key).pipeline.model_copy()) for key in DAYS[2:6]]
    nights = [at(one, one.key, training=WARM, gate=GATE, features=features) for one in nights]
    chosen(nights[0])
    assert chosen(nights[1]) == 2
    assert start_of(run, 2)["parent"]["version"] == 1
    narrow = at(nights[2], DAYS[3], training=WARM | {"window_partitions": 2}, gate=GATE, features=features)
    narrow = replace(narrow, run_id="narrow")
    trained(narrow)
    assert "parent" in start_of(run, 3)  # FR stands in none of its rows
    trained(nights[3])
    assert start_of(run, 4) == {"reason": "new categories of 'country': 'AT' (champion: version 2)"}
    assert run.partition.start == utc(f"{DAYS[3]}T00:00:00")


@pytest.mark.slow
def test_two_processes_go_on_as_one_does() -> None:
    """The gradient of a batch is the same however many share it; the parent reaches every rank."""
    alone = NETWORK | {"dropout": 0.0}
    parent = fit(recipe(alone), drawn("binary", 1), None)
    new = drawn("binary", 2)
    one, two = (fit(recipe(settings), new, None, None, parent) for settings in (alone, alone | {"processes": 2}))
    assert two.facts["epochs"] == one.facts["epochs"] == 10
    assert two.predict(new.table) == pytest.approx(one.predict(new.table), abs=1e-4)
