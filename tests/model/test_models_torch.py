"""The PyTorch family: what it learns, that its bytes and scores repeat, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from pipelines.errors import ModelError
from pipelines.models import torch_fitting, torch_training
from pipelines.models.allowed import takes_integers
from pipelines.models.device import GpuMemoryError
from pipelines.models.fitting import Rows, fit, fit_on_part
from pipelines.models.model import Model
from pipelines.settings.families import TorchMLP
from pipelines.settings.training import Training
from pipelines.training.metrics import metrics
from tests.model.test_models_families import ROWS, recipe, table, target

LATE = np.arange(ROWS) >= 120
SMALL = {"family": "torch", "hidden_layers": [16], "epochs": 12, "batch_rows": 32, "learning_rate": 0.01}


def network(task: str = "binary", missing: dict[str, Any] | None = None, changes: dict[str, Any] | None = None) -> Any:
    return recipe(task, {**SMALL, **(changes or {})}, missing)


def rows(task: str = "binary") -> Rows:
    return Rows(table(), target(task))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_network_is_fitted_saved_loaded_and_scores_alike(tmp_path: Path, task: str) -> None:
    model = fit(network(task), rows(task), LATE)
    scores = model.predict(table(50, seed=2))
    assert scores.shape == ((50, 3) if task == "multiclass" else (50,))
    assert np.isfinite(scores).all()
    if task == "multiclass":
        assert scores.sum(axis=1) == pytest.approx(np.ones(50))
    model.save(tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["model.json", "network.safetensors"]
    assert np.array_equal(Model.load(tmp_path / "model").predict(table(50, seed=2)), scores)
    assert sum(model.importance().values()) == pytest.approx(1)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(task: str) -> None:
    one, two = (fit(network(task), rows(task), LATE).to_files() for _ in range(2))
    assert one == two
    other = replace(network(task), training=network(task).training.model_copy(update={"seed": 7}))
    assert fit(other, rows(task), LATE).to_files()["network.safetensors"] != one["network.safetensors"]


@pytest.mark.parametrize(
    ("task", "metric", "least", "most"),
    [
        pytest.param("binary", "roc_auc", 0.97, 1.0, id="binary"),
        pytest.param("multiclass", "accuracy", 0.75, 1.0, id="multiclass"),
        # The deviation of the target is about 30.
        pytest.param("regression", "rmse", 0.0, 10.0, id="regression"),
    ],
)
def test_a_network_learns_what_rows_it_never_saw_confirm(task: str, metric: str, least: float, most: float) -> None:
    complete = Rows(table(600, gaps=False), np.empty(0))
    amounts = complete.table["amount_eur"].to_numpy()
    answers = {"binary": (amounts > 50) * 1.0, "multiclass": amounts // 34, "regression": amounts}[task]
    model = fit(network(task), Rows(complete.table, answers), np.arange(600) >= 480)
    fresh = table(300, seed=5, gaps=False)
    amounts = fresh["amount_eur"].to_numpy()
    truth = {"binary": (amounts > 50) * 1.0, "multiclass": amounts // 34, "regression": amounts}[task]
    assert least <= metrics(task, truth, model.predict(fresh))[metric] <= most


def test_a_product_of_two_features_is_learnt_which_no_linear_model_can() -> None:
    random = np.random.default_rng(3)
    given = pa.table({name: random.normal(size=2000) for name in ("a", "b")})
    truth = (given["a"].to_numpy() * given["b"].to_numpy() > 0) * 1.0
    scores = {}
    for name, model in {
        "network": {**SMALL, "hidden_layers": [32], "batch_rows": 64},
        "linear": {"family": "sklearn", "estimator": "LogisticRegression"},
    }.items():
        one = replace(recipe("binary", model), types={"a": "number", "b": "number"})
        fitted = fit_on_part(one, Rows(given, truth), np.arange(2000) >= 1600)
        scores[name] = metrics("binary", truth[1600:], fitted.predict(given.slice(1600)))["roc_auc"]
    assert scores["network"] > 0.95
    assert scores["linear"] < 0.6


def test_bytes_do_not_depend_on_the_number_of_cpus() -> None:
    one, four = (fit(replace(network(), threads=threads), rows(), LATE).to_files() for threads in (1, 4))
    assert one == four


def test_a_score_does_not_depend_on_the_rows_around_it() -> None:
    """Shards and batches cut the rows anywhere; a matrix product of other size has other last bits."""
    model = fit(network(), rows(), None)
    many = table(10_000, seed=4)
    whole = model.predict(many)
    parts = [many.slice(start, size) for start, size in ((0, 1), (1, 4096), (4097, 77), (4174, 5826))]
    assert np.array_equal(np.concatenate([model.predict(part) for part in parts]), whole)


def test_bf16_learns_and_its_scores_are_float32s() -> None:
    full, half = (
        fit(network(changes={"precision": precision}), rows(), LATE).predict(table(100, seed=2))
        for precision in ("float32", "bf16")
    )
    assert not np.array_equal(full, half)
    assert np.abs(full - half).max() < 0.1


def test_early_stopping_keeps_the_best_epoch_and_fits_all_rows_for_as_many() -> None:
    """Labels that are noise: the loss on later rows is least early on."""
    noise = Rows(table(), np.random.default_rng(1).integers(0, 2, ROWS) * 1.0)
    settings = network(changes={"epochs": 60, "early_stopping_epochs": 3, "learning_rate": 0.05})
    stopped = fit_on_part(settings, noise, LATE)
    assert stopped.facts["epochs"] < 20
    assert fit(settings, noise, LATE).facts["epochs"] == stopped.facts["epochs"]


def test_a_row_of_weight_zero_is_not_learnt_from() -> None:
    flipped = np.where(LATE, 1 - target("binary"), target("binary"))
    weight = np.where(LATE, 0.0, 1.0)
    model = fit(network(changes={"epochs": 40}), Rows(table(), flipped, weight), None)
    fresh = table(200, seed=5, gaps=False)
    answers = (fresh["amount_eur"].to_numpy() > 50) * 1.0
    assert metrics("binary", answers, model.predict(fresh))["roc_auc"] > 0.95


def test_strange_values_at_scoring_are_survived() -> None:
    model = fit(network(), rows(), None)
    strange = pa.table({"country": ["??", None], "age_days": [10**12, None], "amount_eur": [float("inf"), 1e300]})
    assert np.isfinite(model.predict(strange)).all()
    assert model.predict(table(0)).shape == (0,)


def test_a_number_that_nobody_fills_is_refused_and_a_category_is_not() -> None:
    with pytest.raises(ModelError, match=r"E-TRAIN-MISSING feature 'amount_eur'.*15 of 150"):
        fit(network(missing={"country": {"strategy": "native"}}), rows(), None)
    model = fit(network(missing={"amount_eur": {"strategy": "median"}}), rows(), None)
    assert np.isfinite(model.predict(table())).all()


def test_a_learning_rate_that_blows_up_is_a_model_error() -> None:
    with pytest.raises(ModelError, match=r"E-TRAIN-FIT 'torch': the loss is no number any more in epoch \d+"):
        fit(network("regression", changes={"learning_rate": 1e30}), rows("regression"), None)


def test_training_leaves_the_process_as_it_was() -> None:
    torch.manual_seed(5)
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.get_rng_state()
    fit(network(changes={"epochs": 1}), rows(), None)
    after = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.get_rng_state()
    assert before[:2] == after[:2]
    assert torch.equal(before[2], after[2])


def test_less_gpu_memory_is_the_same_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """The retry takes a batch in parts: the sums differ in their last bits, the model does not."""
    real, tried = torch_training.train_network, []

    def short_of_memory(plan: Any, *others: Any) -> Any:
        tried.append(plan.is_small)
        if not plan.is_small:
            raise GpuMemoryError("26GB", "1.5GB")
        return real(plan, *others)

    monkeypatch.setattr(torch_fitting, "train_network", short_of_memory)
    without_dropout = network(changes={"dropout": 0.0})
    small = fit(without_dropout, rows(), None).predict(table(50, seed=2))
    assert tried == [False, True]
    monkeypatch.undo()
    usual = fit(without_dropout, rows(), None).predict(table(50, seed=2))
    assert small == pytest.approx(usual, abs=1e-4)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[: len(content) // 2], id="cut"),
        pytest.param(lambda content: b"\x80\x04cposix\nsystem\n", id="a pickle"),  # noqa: ARG005
    ],
)
def test_damaged_weights_are_no_model(damage: Any) -> None:
    files = fit(network(changes={"epochs": 1}), rows(), None).to_files()
    with pytest.raises(ModelError, match="E-MODEL-FORMAT"):
        Model.from_files({**files, "network.safetensors": damage(files["network.safetensors"])})


def test_weights_of_another_shape_are_no_model() -> None:
    files = fit(network(changes={"epochs": 1}), rows(), None).to_files()
    other = fit(network(changes={"epochs": 1, "hidden_layers": [8]}), rows(), None).to_files()
    with pytest.raises(ModelError, match="E-MODEL-FORMAT"):
        Model.from_files({**files, "network.safetensors": other["network.safetensors"]})


def test_tuned_parameters_are_the_settings_themselves() -> None:
    chosen = network().with_parameters({"epochs": 3, "learning_rate": 0.5}).training.model
    assert isinstance(chosen, TorchMLP)
    assert (chosen.epochs, chosen.learning_rate, chosen.batch_rows) == (3, 0.5, 32)
    assert takes_integers("torch", "batch_rows", 16)
    assert not takes_integers("torch", "dropout", 0)


def test_the_settings_fit_the_union() -> None:
    assert isinstance(Training.model_validate({"task": "binary", "model": SMALL}).model, TorchMLP)
