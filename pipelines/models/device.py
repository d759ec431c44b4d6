"""Which device a model is fitted and scored on: asked of the driver before the work, of the model after it."""

from __future__ import annotations

import ctypes
import gc
import importlib
import logging
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from pipelines.errors import ExhaustedError, ModelError, ResourceError
from pipelines.settings.pipeline import Resources

log = logging.getLogger("nightshift")

Kind = Literal["cpu", "cuda"]
Result = TypeVar("Result")
_NO_GPU = "no GPU is visible to this process"
_FIX = "Run it where a GPU is (resources.<step>.queue), or set device: auto, or allow_cpu: true."
_OUT_OF_MEMORY = re.compile(r"out of memory|cudaErrorMemoryAllocation|bad_alloc|Memory allocation error", re.IGNORECASE)
_LOST = re.compile(r"CUDA error|cudaError|CUDA driver|No CUDA GPUs|NVIDIA driver|CUBLAS|cuDNN|NCCL|Xid", re.IGNORECASE)


@dataclass(frozen=True)
class Device:
    """`kind` is what is used, `wanted` what the settings say; `note` is why the two differ, where they do."""

    kind: Kind
    wanted: str = "cpu"
    allow_cpu: bool = False
    note: str = ""

    @property
    def facts(self) -> dict[str, str]:
        """For summaries and records."""
        return {"device": self.kind} | ({"device_note": self.note} if self.note else {})

    def without_gpu(self, why: str, where: str) -> Device:
        """This device where the GPU cannot be used: the CPU if that is allowed.

        Raises:
            ModelError: E-GPU-MISSING when the settings say 'cuda' and nothing else.
        """
        if self.wanted == "cuda" and not self.allow_cpu:
            raise ModelError("E-GPU-MISSING", where, f"'device: cuda' must find a GPU, but {why}", _FIX)
        note = f"{why}; 'allow_cpu' is set" if self.wanted == "cuda" else why
        log.warning("%s: on the CPU, because %s", where, note)
        return replace(self, kind="cpu", note=note)


CPU = Device("cpu")


def resolve(resources: Resources, where: str) -> Device:
    """The device that a step with these resources works on. Takes milliseconds and imports no library.

    Raises:
        ModelError: E-GPU-MISSING, final: another attempt on this machine finds no GPU either.
    """
    if resources.device == "cpu":
        return CPU
    device = Device("cuda", resources.device, resources.allow_cpu)
    return device if gpu_count() else device.without_gpu(_NO_GPU, where)


def for_family(device: Device, family: str, where: str, processes: int = 1) -> Device:
    """`device`, or the CPU where this family of models cannot use a GPU in this installation.

    Raises:
        ModelError: E-GPU-MISSING as in `resolve`; also when there are fewer GPUs than processes.
    """
    if device.kind == "cpu" or family == "ensemble":  # of which each member is asked
        return device
    if family == "sklearn":
        return device.without_gpu("scikit-learn's estimators run on the CPU alone", where)
    if not _is_built_for_cuda(family):
        package = "'xgboost' in place of 'xgboost-cpu'" if family == "xgboost" else "'torch' for CUDA"
        return device.without_gpu(f"the {family} installed here was built without CUDA (install {package})", where)
    if processes > gpu_count():
        why = f"{processes} processes need a GPU each and {gpu_count()} are visible"
        return device.without_gpu(why, where)
    return device


def confirm(device: Device, used: str, where: str) -> None:
    """Holds the device that the model itself says it used against the one it was given.

    Raises:
        ModelError: E-GPU-FALLBACK when it worked elsewhere; libraries do that with a mere warning.
    """
    if used.partition(":")[0] != device.kind:
        raise ModelError(
            "E-GPU-FALLBACK",
            where,
            f"the model must have worked on '{device.kind}', but says '{used}'",
            "Nothing was kept. Look at the driver (nvidia-smi) and at the library's build, then run it again.",
        )


def gpu_count() -> int:
    """GPUs that CUDA gives to this process, CUDA_VISIBLE_DEVICES included: the driver's own answer; 0 without one."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


def booster_device(booster: object) -> str:
    """'cpu', 'cuda' or 'cuda:0': what XGBoost fell back to shows here and nowhere else."""
    import json

    config = json.loads(booster.save_config())  # type: ignore[attr-defined]
    return str(config["learner"]["generic_param"]["device"])


class GpuMemoryError(Exception):
    """The GPU had no room: `need` and `free` as the library told them."""

    def __init__(self, need: str, free: str) -> None:
        self.need, self.free = need, free
        super().__init__(f"{need} needed, {free} free")


def gpu_trouble(text: str, where: str) -> Exception | None:
    """What a library's message means when it is about the GPU: out of memory, or lost; None when it is not."""
    if _OUT_OF_MEMORY.search(text):
        return GpuMemoryError(
            _said(text, r"(?:Requested memory|Tried to allocate|requested)\D{0,4}([\d.,]+ ?\w+)"),
            _said(text, r"(?:Free memory\D{0,4}([\d.,]+ ?\w+)|of which ([\d.,]+ ?\w+) is free)"),
        )
    if _LOST.search(text):
        return ResourceError(
            "E-GPU-LOST",
            where,
            f"the GPU failed: {text.strip().splitlines()[0][:300]}",
            "The next attempt goes on from the last checkpoint. If it fails again, look at nvidia-smi.",
        )
    return None


def smaller_if_needed(work: Callable[[bool], Result], where: str) -> Result:
    """`work(False)`; when the GPU has no room for it, `work(True)` once, which must take less. Never the CPU.

    Raises:
        ExhaustedError: E-GPU-OOM when there was no room for the smaller one either.
    """
    try:
        return work(False)
    except GpuMemoryError as error:
        log.warning("%s: E-GPU-OOM %s; once more with a smaller footprint", where, error)
    _release_gpu_memory()
    try:
        return work(True)
    except GpuMemoryError as error:
        raise ExhaustedError(
            "E-GPU-OOM",
            where,
            f"the GPU has no room: {error.need} needed, {error.free} free, also with a smaller footprint",
            "See with nvidia-smi who else uses it; take a smaller batch or model, or another GPU. "
            "Nothing ran on the CPU.",
        ) from error


def _release_gpu_memory() -> None:
    gc.collect()
    if torch := sys.modules.get("torch"):
        torch.cuda.empty_cache()


def _is_built_for_cuda(family: str) -> bool:
    with suppress(ImportError):
        if family == "xgboost":
            return bool(importlib.import_module(family).build_info()["USE_CUDA"])
        return bool(importlib.import_module("torch").cuda.is_available())
    return False


def _said(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    return next((one for one in found.groups() if one), "unknown") if found else "unknown"
