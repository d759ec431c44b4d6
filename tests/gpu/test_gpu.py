"""On a machine with an NVIDIA GPU: both families train and score on it, say so, and are as good as on the CPU.

Elsewhere these are skipped, with the reason; what happens without a GPU is tests/unit/test_device.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.errors import ModelError
from pipelines.models.checkpoints import Checkpoints
from pipelines.models.device import CPU, Device, for_family, gpu_count, resolve
from pipelines.models.fitting import Recipe, Rows, fit, fit_on_part
from pipelines.models.model import Model
from pipelines.settings.pipeline import Resources
from pipelines.settings.training import Training
from pipelines.storage.files import LocalFiles
from pipelines.training.metrics import metric

ROWS = 20_000
LATE = np.arange(ROWS) >= ROWS * 4 // 5
CUDA = Device("cuda", "cuda")
MODELS: dict[str, dict[str, Any]] = {
    "xgboost": {"family": "xgboost", "rounds": 100},
    "torch": {"family": "torch", "epochs": 15},
}


def _lacking(family: str) -> str:
    """Why there is nothing to test here; empty where there is."""
    if not gpu_count():
        return "no NVIDIA GPU is visible"
    try:
        for_family(CUDA, family, "tests")
    except ModelError as error:
        return str(error)
    return ""


pytestmark = pytest.mark.gpu
FAMILIES = [
    pytest.param(family, marks=pytest.mark.skipif(bool(why := _lacking(family)), reason=why or "-"), id=family)
    for family in MODELS
]


def table(rows: int = ROWS, seed: int = 1) -> pa.Table:
    random = np.random.default_rng(seed)
    return pa.table(
        {"a": random.normal(size=rows), "b": random.normal(size=rows), "kind": random.choice(list("xyz"), rows)}
    )


def answers(given: pa.Table, seed: int = 2) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(scale=0.5, size=given.num_rows)
    return (given["a"].to_numpy() * given["b"].to_numpy() + noise > 0) * 1.0


def recipe(family: str, device: Device, training: dict[str, Any] | None = None, **changes: Any) -> Recipe:
    settings = {"task": "binary", "model": MODELS[family] | changes, **(training or {})}
    types = {"a": "number", "b": "number", "kind": "category"}
    return Recipe(Training.model_validate(settings), types, ["0", "1"], 2, device)


def area(model: Model) -> float:
    fresh = table(5000, seed=7)
    return metric("roc_auc", answers(fresh, seed=8), model.predict(fresh))


@pytest.mark.parametrize("family", FAMILIES)
def test_trained_on_the_gpu_it_says_so_and_is_as_good_as_from_the_cpu(family: str) -> None:
    rows = Rows(table(), answers(table()))
    models = {device.kind: fit(recipe(family, device), rows, LATE) for device in (CUDA, CPU)}
    assert {kind: model.facts["device"] for kind, model in models.items()} == {"cuda": "cuda", "cpu": "cpu"}
    assert area(models["cuda"]) == pytest.approx(area(models["cpu"]), abs=0.01)


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_of_the_gpu_are_those_of_the_cpu(family: str) -> None:
    files = fit(recipe(family, CUDA), Rows(table(), answers(table())), None).to_files()
    on_gpu, on_cpu = Model.from_files(files, device=CUDA), Model.from_files(files)
    scores = on_gpu.predict(table(300_000, seed=3))
    assert on_gpu.used_device() == {"device": "cuda"}
    assert on_cpu.used_device() == {"device": "cpu"}
    assert scores == pytest.approx(on_cpu.predict(table(300_000, seed=3)), abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_training_on_the_gpu_goes_on_from_its_checkpoints(tmp_path: Any, family: str) -> None:
    checkpoints = Checkpoints(LocalFiles(tmp_path))
    changes = {"checkpoint_rounds": 30} if family == "xgboost" else {"checkpoint_epochs": 4}
    rows = Rows(table(), answers(table()))
    whole = fit(recipe(family, CUDA, **changes), rows, LATE, checkpoints)
    resumed = fit(recipe(family, CUDA, **changes), rows, LATE, checkpoints)
    assert area(resumed) == pytest.approx(area(whole), abs=0.005)


@pytest.mark.parametrize("family", FAMILIES)
def test_auto_takes_the_gpu(family: str) -> None:
    device = resolve(Resources(device="auto"), "tests")
    assert fit_on_part(recipe(family, device), Rows(table(), answers(table())), LATE).facts["device"] == "cuda"


@pytest.mark.skipif(
    bool(_lacking("xgboost") or _lacking("torch")), reason=_lacking("xgboost") or _lacking("torch") or "-"
)
def test_blocks_that_lie_on_the_host_train_the_same_model_on_the_gpu() -> None:
    """The smaller footprint that XGBoost is tried with when the GPU has no room."""
    rows = Rows(table(), answers(table()))
    models = [fit(recipe("xgboost", CUDA, {"max_rows_in_memory": most}), rows, None) for most in (5_000, 5_000_000)]
    assert area(models[0]) == pytest.approx(area(models[1]), abs=0.005)


@pytest.mark.parametrize("family", [one for one in FAMILIES if one.id == "torch"])
def test_bf16_and_deterministic_kernels_train_alike(family: str) -> None:
    rows = Rows(table(), answers(table()))
    half = fit(recipe(family, CUDA, precision="bf16"), rows, None)
    assert area(half) > 0.9
    one, two = (fit(recipe(family, CUDA), rows, None).to_files()["network.safetensors"] for _ in range(2))
    assert one == two
