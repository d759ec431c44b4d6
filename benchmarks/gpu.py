"""Rows per second of training and scoring: XGBoost and PyTorch on a GPU against this machine's CPU cores.

python -m benchmarks.gpu [--rows 1000000] [--cpus N] [--families xgboost torch]

Seeded rows with 30 numeric features and one category. Training counts rows times rounds (or epochs); scoring counts
rows. Each figure is one run after a warm-up on a tenth of the rows. Without a GPU only the CPU is measured, and said.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.errors import ModelError
from pipelines.models.device import CPU, Device, for_family, gpu_count
from pipelines.models.fitting import Recipe, Rows, fit
from pipelines.models.model import Model
from pipelines.settings.training import Training

FEATURES = 30
MODELS: dict[str, dict[str, Any]] = {
    "xgboost": {"family": "xgboost", "rounds": 100, "early_stopping_rounds": None, "parameters": {"max_depth": 8}},
    "torch": {
        "family": "torch",
        "epochs": 3,
        "early_stopping_epochs": None,
        "batch_rows": 8192,
        "deterministic": False,
    },
    "torch bf16": {
        "family": "torch",
        "epochs": 3,
        "early_stopping_epochs": None,
        "batch_rows": 8192,
        "deterministic": False,
        "precision": "bf16",
    },
}


def table(rows: int) -> pa.Table:
    random = np.random.default_rng(0)
    numbers = {f"x{index:02d}": random.normal(size=rows).astype(np.float32) for index in range(FEATURES)}
    return pa.table({**numbers, "kind": pa.array(random.choice(list("abcdefgh"), rows))})


def label(given: pa.Table) -> np.ndarray:
    x = [given[f"x{index:02d}"].to_numpy() for index in range(4)]
    noise = np.random.default_rng(1).normal(scale=0.5, size=given.num_rows)
    return (x[0] * x[1] + x[2] - x[3] + noise > 0) * 1.0


def recipe(name: str, device: Device, cpus: int) -> Recipe:
    types = {**{f"x{index:02d}": "number" for index in range(FEATURES)}, "kind": "category"}
    training = Training.model_validate({"task": "binary", "model": MODELS[name]})
    return Recipe(training, types, ["0", "1"], cpus, device)


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def measured(name: str, device: Device, rows: int, cpus: int) -> tuple[float, float, str]:
    """Rows times passes per second in training, rows per second in scoring, and the device that was used."""
    given = table(rows)
    data = Rows(given, label(given))
    small = np.arange(rows) < max(1, rows // 10)
    fit(recipe(name, device, cpus), data.take(small), None)
    training, fitted = seconds(lambda: fit(recipe(name, device, cpus), data, None))
    model = Model.from_files(fitted.to_files(), cpus, device)
    model.predict(given.slice(0, max(1, rows // 10)))
    scoring, _ = seconds(lambda: model.predict(given))
    passes = fitted.facts.get("rounds") or fitted.facts["epochs"]
    return rows * passes / training, rows / scoring, model.used_device()["device"]


def devices(name: str) -> list[Device]:
    """The CPU, and the GPU where this family can use one; else why not is printed."""
    family = str(MODELS[name]["family"])
    if not gpu_count():
        return [CPU]
    try:
        return [CPU, for_family(Device("cuda", "cuda"), family, "benchmark")]
    except ModelError as error:
        print(f"{name}: {error}")
        return [CPU]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--cpus", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--families", nargs="+", choices=sorted(MODELS), default=list(MODELS))
    given = parser.parse_args()
    if not gpu_count():
        print("No GPU is visible here: the CPU alone is measured.\n")
    print(f"{given.rows:,} rows, {FEATURES} numbers and one category, {given.cpus} CPU cores.\n")
    print("| model | device | training, rows x rounds or epochs per s | scoring, rows per s |")
    print("|---|---|---|---|")
    for name in given.families:
        for device in devices(name):
            training, scoring, used = measured(name, device, given.rows, given.cpus)
            print(f"| {name} | {used} | {training:,.0f} | {scoring:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
