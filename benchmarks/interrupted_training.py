"""A training of about three minutes, killed five times at random moments, against the same one left alone.

    python -m benchmarks.interrupted_training [--seconds 180] [--kills 5] [--only xgboost torch]

Each training is a process of its own, ended by SIGKILL and started again as Airflow does; the moments are drawn over
the first 80 % of the time that the unbroken one took. Rows and columns are sampled (XGBoost), neurons drop out
(torch): the random state matters. Simulated rows, one thread. Writes a Markdown table; exit code 1 when a model
differs in one byte.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.models.artifact import artifact_sha256
from pipelines.models.checkpoints import Checkpoints
from pipelines.models.fitting import Recipe, Rows, fit
from pipelines.settings.training import Training
from pipelines.storage.durable import write_bytes
from pipelines.storage.files import LocalFiles

FAMILIES = ("xgboost", "torch")
_ROWS = 100_000
_COLUMNS = 20
_PROBED = {"xgboost": 60, "torch": 3}  # rounds or epochs that tell how long one takes
_KEEP = 3


def model(family: str, length: int) -> dict[str, Any]:
    """`length` rounds or epochs in the search and at most as many in the fit on all rows."""
    if family == "xgboost":
        sampled = {"max_depth": 6, "learning_rate": 0.05, "subsample": 0.5, "colsample_bytree": 0.7}
        stop = {"rounds": length, "early_stopping_rounds": length, "checkpoint_rounds": 25}
        return {"family": "xgboost", **stop, "parameters": sampled}
    stop = {"epochs": length, "early_stopping_epochs": length, "checkpoint_epochs": 1}
    return {"family": "torch", **stop, "batch_rows": 1024, "learning_rate": 0.0003}


def rows() -> Rows:
    chance = np.random.default_rng(1)
    values = chance.normal(size=(_ROWS, _COLUMNS))
    groups = chance.choice(list("abcdef"), _ROWS)
    hidden = values[:, 0] * values[:, 1] + np.sin(2 * values[:, 2]) + (groups == "c") - 0.5
    target = (hidden + chance.normal(scale=0.7, size=_ROWS) > 0) * 1.0
    columns = {f"x{number}": values[:, number] for number in range(_COLUMNS)}
    return Rows(pa.table({**columns, "kind": groups}), target)


def train(family: str, length: int, checkpoints: Checkpoints | None) -> str:
    """sha256 of the model's files."""
    training = Training.model_validate({"task": "binary", "model": model(family, length)})
    found = rows()
    types = {name: "category" if name == "kind" else "number" for name in found.table.column_names}
    late = np.arange(len(found)) >= len(found) * 4 // 5
    recipe = Recipe(training, types, ["0", "1"], threads=1)
    return artifact_sha256(fit(recipe, found, late, checkpoints).to_files())


def start(family: str, length: int, folder: Path) -> subprocess.Popen[bytes]:
    child = ["--child", str(folder), "--only", family, "--length", str(length)]
    return subprocess.Popen([sys.executable, "-m", "benchmarks.interrupted_training", *child])


def unbroken(family: str, length: int, folder: Path) -> tuple[str, float]:
    """The model's sha256, and seconds with the start of the process."""
    started = time.monotonic()
    if start(family, length, folder).wait():
        raise SystemExit(f"the training of {family} failed")
    return (folder / "result").read_text(), time.monotonic() - started


def broken(family: str, length: int, folder: Path, moments: list[float]) -> tuple[str, float, int]:
    """As `unbroken`, with the number of kills; `moments` in seconds of work since the first start."""
    began, kills = time.monotonic(), 0
    for moment in moments:
        child = start(family, length, folder)
        try:
            child.wait(timeout=max(0.1, moment - (time.monotonic() - began)))
        except subprocess.TimeoutExpired:
            child.kill()
        kills += child.wait() == -signal.SIGKILL
    sha256, _ = unbroken(family, length, folder)
    return sha256, time.monotonic() - began, kills


def length_for(family: str, seconds: float) -> int:
    """Rounds or epochs that take about so long, by a short training (after another one, for the imports)."""
    train(family, 1, None)
    started = time.monotonic()
    train(family, _PROBED[family], None)
    return max(10, round(seconds * _PROBED[family] / (time.monotonic() - started)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=20260101)
    parser.add_argument("--only", nargs="*", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--length", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        checkpoints = Checkpoints(LocalFiles(arguments.child / "checkpoints"), keep=_KEEP)
        sha256 = train(arguments.only[0], arguments.length, checkpoints)
        write_bytes(arguments.child / "result", sha256.encode())
        return 0
    chance, is_equal = random.Random(arguments.seed), True
    print("| family | rounds or epochs | unbroken s | killed s | kills | at second | same bytes |")
    print("|---|---|---|---|---|---|---|")
    for family in arguments.only:
        length = length_for(family, arguments.seconds)
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            expected, alone = unbroken(family, length, Path(one))
            moments = sorted(chance.uniform(0, 0.8 * alone) for _ in range(arguments.kills))
            found, together, kills = broken(family, length, Path(other), moments)
        is_equal &= found == expected
        told = ", ".join(f"{moment:.0f}" for moment in moments)
        same = f"yes ({found[:8]})" if found == expected else f"NO ({expected[:8]}, {found[:8]})"
        print(f"| {family} | {length} | {alone:.0f} | {together:.0f} | {kills} | {told} | {same} |", flush=True)
    return 0 if is_equal else 1


if __name__ == "__main__":
    sys.exit(main())
