"""`device: cuda` is checked before a fit and asked of the model after it; it never becomes the CPU without a word."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.errors import ExhaustedError, ModelError, ResourceError
from pipelines.home import REPOSITORY
from pipelines.models import device as devices
from pipelines.models.device import (
    CPU,
    Device,
    GpuMemoryError,
    confirm,
    for_family,
    gpu_trouble,
    resolve,
    smaller_if_needed,
)
from pipelines.models.fitting import Recipe, Rows, fit
from pipelines.settings.pipeline import Resources
from pipelines.settings.training import Training

CUDA = Device("cuda", "cuda")


@pytest.fixture
def _one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine whose driver shows a GPU and whose libraries are built for it."""
    monkeypatch.setattr(devices, "gpu_count", lambda: 1)
    monkeypatch.setattr(devices, "_is_built_for_cuda", lambda _family: True)


@pytest.fixture
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "gpu_count", lambda: 0)


def resources(**given: Any) -> Resources:
    return Resources.model_validate(given)


@pytest.mark.usefixtures("_no_gpu")
def test_cuda_without_a_gpu_is_refused_for_good() -> None:
    with pytest.raises(ModelError, match=r"^E-GPU-MISSING cards 2026-03-01: .*no GPU is visible.*allow_cpu") as caught:
        resolve(resources(device="cuda"), "cards 2026-03-01")
    assert not caught.value.retryable


@pytest.mark.usefixtures("_no_gpu")
@pytest.mark.parametrize(
    ("given", "facts"),
    [
        pytest.param({}, {"device": "cpu"}, id="cpu by default"),
        pytest.param(
            {"device": "auto"}, {"device": "cpu", "device_note": "no GPU is visible to this process"}, id="auto"
        ),
        pytest.param(
            {"device": "cuda", "allow_cpu": True},
            {"device": "cpu", "device_note": "no GPU is visible to this process; 'allow_cpu' is set"},
            id="allowed",
        ),
    ],
)
def test_the_cpu_is_used_where_it_may_be_and_the_reason_is_kept(given: dict[str, Any], facts: dict[str, str]) -> None:
    assert resolve(resources(**given), "cards").facts == facts


@pytest.mark.usefixtures("_one_gpu")
@pytest.mark.parametrize("wanted", ["cuda", "auto"])
def test_a_gpu_that_is_there_is_used(wanted: str) -> None:
    device = for_family(resolve(resources(device=wanted), "cards"), "xgboost", "cards")
    assert device.facts == {"device": "cuda"}


@pytest.mark.parametrize(
    ("family", "built", "processes", "why"),
    [
        pytest.param("sklearn", True, 1, "scikit-learn's estimators run on the CPU alone", id="scikit-learn"),
        pytest.param("xgboost", False, 1, "built without CUDA.*in place of 'xgboost-cpu'", id="CPU build of XGBoost"),
        pytest.param("torch", False, 1, "built without CUDA.*'torch' for CUDA", id="CPU build of PyTorch"),
        pytest.param("torch", True, 2, "2 processes need a GPU each and 1 are visible", id="one GPU for two"),
    ],
)
def test_a_family_that_cannot_use_the_gpu_is_refused(
    monkeypatch: pytest.MonkeyPatch, family: str, built: bool, processes: int, why: str
) -> None:
    monkeypatch.setattr(devices, "gpu_count", lambda: 1)
    monkeypatch.setattr(devices, "_is_built_for_cuda", lambda _family: built)
    with pytest.raises(ModelError, match=f"E-GPU-MISSING.*{why}"):
        for_family(CUDA, family, "cards", processes)
    assert for_family(Device("cuda", "auto"), family, "cards", processes).kind == "cpu"
    assert for_family(CPU, family, "cards", processes) is CPU


@pytest.mark.parametrize("used", ["cuda", "cuda:0", "cuda:3"])
def test_the_device_that_was_asked_for_is_confirmed(used: str) -> None:
    confirm(CUDA, used, "'XGBoost'")


@pytest.mark.usefixtures("_one_gpu")
def test_a_fit_that_fell_back_to_the_cpu_is_refused() -> None:
    """XGBoost really falls back here, with no more than a warning, as it does on a machine whose GPU went away."""
    table = pa.table({"x": np.arange(100.0)})
    recipe = Recipe(Training.model_validate({"task": "binary"}), {"x": "number"}, ["0", "1"], 1, CUDA)
    with (
        pytest.warns(UserWarning, match="changed from GPU to CPU"),
        pytest.raises(ModelError, match=r"E-GPU-FALLBACK 'XGBoost': .*'cuda', but says 'cpu'. Nothing was kept"),
    ):
        fit(recipe, Rows(table, (np.arange(100) > 50) * 1.0), None)


XGBOOST_MEMORY = """[12:00:00] /workspace/src/common/device_vector.cu:23: Memory allocation error on worker 0: bad_alloc
- Free memory: 1.5GB
- Requested memory: 26GB
"""
TORCH_MEMORY = """CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.10 GiB
of which 1.25 GiB is free."""


@pytest.mark.parametrize(
    ("text", "need", "free"),
    [
        pytest.param(XGBOOST_MEMORY, "26GB", "1.5GB", id="XGBoost"),
        pytest.param(TORCH_MEMORY, "20.00 GiB", "1.25 GiB", id="PyTorch"),
        pytest.param("cudaErrorMemoryAllocation: out of memory", "unknown", "unknown", id="without figures"),
    ],
)
def test_out_of_memory_is_told_with_need_and_free(text: str, need: str, free: str) -> None:
    trouble = gpu_trouble(text, "'torch'")
    assert isinstance(trouble, GpuMemoryError)
    assert (trouble.need, trouble.free) == (need, free)


def test_a_lost_gpu_is_worth_another_try_and_a_wrong_label_is_no_gpu_trouble() -> None:
    lost = gpu_trouble("CUDA error: an illegal memory access was encountered", "'torch'")
    assert isinstance(lost, ResourceError)
    assert (lost.code, lost.retryable) == ("E-GPU-LOST", True)
    assert gpu_trouble("label must be in [0,1]", "'XGBoost'") is None


def test_out_of_memory_is_tried_once_with_less() -> None:
    tried: list[bool] = []

    def work(is_small: bool) -> str:
        tried.append(is_small)
        if not is_small:
            raise GpuMemoryError("26GB", "1.5GB")
        return "fitted"

    assert smaller_if_needed(work, "'torch'") == "fitted"
    assert tried == [False, True]


def test_out_of_memory_twice_is_final_and_not_the_cpu() -> None:
    def work(is_small: bool) -> str:
        raise GpuMemoryError("13GB" if is_small else "26GB", "1.5GB")

    with pytest.raises(ExhaustedError, match=r"E-GPU-OOM 'torch': .*13GB needed, 1.5GB free.*Nothing ran on the CPU"):
        smaller_if_needed(work, "'torch'")


def test_without_a_visible_gpu_the_answer_is_quick_and_needs_no_library() -> None:
    """CUDA_VISIBLE_DEVICES is empty, so that the claim holds on a GPU machine, too."""
    code = (
        "import sys; from pipelines.models.device import resolve; from pipelines.settings.pipeline import Resources\n"
        "try: resolve(Resources(device='cuda'), 'cards')\n"
        "except RuntimeError as error: print(error.code, {'torch', 'xgboost'} & set(sys.modules))"
    )
    started = time.monotonic()
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env={"CUDA_VISIBLE_DEVICES": "", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "E-GPU-MISSING set()"
    assert time.monotonic() - started < 10
