"""Whether MLflow, given a registered version, answers as it scored when it was registered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.context import Context
from pipelines.errors import ModelError
from pipelines.serving.package import package_sha256
from pipelines.training.registry import fetch_package
from pipelines.training.sample import TOLERANCE

_SECONDS = 300.0  # MLflow alone takes some to start
_MOST_SHOWN = 5


def require_package(context: Context, version: int) -> dict[str, Any]:
    """The record of a version that can be served.

    Raises:
        ModelError: E-SERVE-PACKAGE when it was registered before versions could be.
    """
    record: dict[str, Any] = context.ledger.model(context.name, version)["record"]
    if "package_sha256" not in record:
        what = "it was registered before versions were packed for MLflow"
        fix = f"Train it again, or serve a later one: nightshift history {context.name}"
        raise ModelError("E-SERVE-PACKAGE", f"{context.name} version {version}", what, fix)
    return record


def check_serving(context: Context, version: int) -> dict[str, Any]:
    """Fetches the version from MLflow and lets `mlflow models predict` answer its recorded rows, without pickle.

    `verdict` is 'equal', 'close' (within 1e-6, as on another machine), or 'differs', with the rows that do.

    Raises:
        ModelError: E-SERVE-PACKAGE, E-MODEL-HASH when MLflow holds other files than were registered, E-SERVE-FAILED.
        StorageError: E-REG-DOWN when MLflow does not answer.
    """
    record, started = require_package(context, version), time.monotonic()
    with context.scratch("serving") as scratch:
        folder = fetch_package(context, version, scratch / "model")
        found, wanted = package_sha256(folder), record["package_sha256"]
        if found != wanted:
            # Before anything of it is run: a package holds code.
            what = f"what MLflow holds must have sha256 {wanted[:16]}..., got {found[:16]}..."
            raise ModelError(
                "E-MODEL-HASH", f"{context.name} version {version}", what, "It was changed. Do not serve it."
            )
        answers = _ask_mlflow(context, folder, request(record))
    recorded = np.asarray(record["sample"]["scores"], dtype=np.float64)
    return {"version": version, **_compared(answers, recorded), "seconds": round(time.monotonic() - started, 1)}


def request(record: Mapping[str, Any], rows: int | None = None) -> dict[str, Any]:
    """The first `rows` recorded rows as MLflow's server wants them."""
    values = record["sample"]["values"]
    data = [list(row) for row in zip(*values.values(), strict=True)]
    return {"dataframe_split": {"columns": list(values), "data": data[:rows]}}


def _ask_mlflow(context: Context, folder: Path, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """MLflow's answer, from a process of its own: in this one the product's code is loaded already."""
    paths = folder.with_name("request.json"), folder.with_name("answer.json")
    paths[0].write_text(json.dumps(asked, allow_nan=False))
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "predict",
        "--model-uri",
        str(folder),
        "--env-manager",
        "local",
    ]
    command += ["--content-type", "json", "--input-path", str(paths[0]), "--output-path", str(paths[1])]
    environment = {**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    try:
        done = subprocess.run(
            command, env=environment, cwd=folder.parent, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError("E-SERVE-FAILED", context.name, f"MLflow took more than {_SECONDS:g} s") from error
    if done.returncode or not paths[1].exists():
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise ModelError("E-SERVE-FAILED", context.name, f"MLflow could not answer: {last[:300]}")
    answers: list[dict[str, Any]] = json.loads(paths[1].read_text())["predictions"]
    return answers


def _compared(answers: list[dict[str, Any]], recorded: np.ndarray) -> dict[str, Any]:
    scores = np.array([_scores(one, recorded.ndim) for one in answers], dtype=np.float64).reshape(recorded.shape)
    apart = np.nan_to_num(np.abs(scores - recorded), nan=np.inf)
    largest = float(apart.max(initial=0.0))
    rows = np.flatnonzero(apart.reshape(len(recorded), -1).max(axis=1, initial=0.0) > TOLERANCE)
    return {
        "verdict": "equal" if largest == 0 else "close" if largest <= TOLERANCE else "differs",
        "rows": len(recorded),
        "largest_difference": largest if np.isfinite(largest) else None,
        "differences": [
            f"row {row}: recorded {recorded[row].tolist()}, answered {scores[row].tolist()}"
            for row in rows[:_MOST_SHOWN]
        ],
    }


def _scores(answered: Mapping[str, Any], dimensions: int) -> list[Any] | Any:
    """The score, or those of all classes in order."""
    if dimensions == 1:
        return answered["score"]
    return [value for name, value in answered.items() if name.startswith("score_")]
