"""A training in a process of its own, which tests kill: `python -m tests.model.fit_child KIND CHECKPOINTS RESULT`.

Writes the sha256 of the model's files to RESULT when it is done.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipelines.models.artifact import artifact_sha256
from pipelines.models.checkpoints import Checkpoints
from pipelines.models.fitting import Recipe, Rows, fit
from pipelines.settings.training import Training
from pipelines.storage.durable import write_bytes
from pipelines.storage.files import LocalFiles

ROWS = 3000
SAMPLED = {"subsample": 0.5, "colsample_bytree": 0.7, "max_depth": 4}
KINDS = {
    "xgboost": {
        "family": "xgboost",
        "rounds": 60,
        "early_stopping_rounds": 20,
        "checkpoint_rounds": 7,
        "parameters": SAMPLED,
    },
    "torch": {"family": "torch", "hidden_layers": [32], "epochs": 12, "batch_rows": 64, "checkpoint_epochs": 2},
    "ensemble": {
        "family": "ensemble",
        "combine": "stacking",
        "folds": 2,
        "members": {
            "trees": {"family": "xgboost", "rounds": 14, "checkpoint_rounds": 7, "parameters": SAMPLED},
            "network": {"family": "torch", "hidden_layers": [8], "epochs": 2, "checkpoint_epochs": 1},
        },
    },
    "torchrun": {
        "family": "torch",
        "hidden_layers": [32],
        "epochs": 12,
        "batch_rows": 64,
        "checkpoint_epochs": 2,
        "processes": 2,
    },
}


def recipe(kind: str) -> Recipe:
    training = Training.model_validate({"task": "binary", "model": KINDS[kind]})
    return Recipe(training, {"a": "number", "b": "number", "kind": "category"}, ["0", "1"], 1)


def rows() -> Rows:
    random = np.random.default_rng(0)
    table = pa.table(
        {"a": random.normal(size=ROWS), "b": random.normal(size=ROWS), "kind": random.choice(list("xyz"), ROWS)}
    )
    noise = random.normal(scale=0.5, size=ROWS)
    return Rows(table, (table["a"].to_numpy() * table["b"].to_numpy() + noise > 0) * 1.0)


def fitted(kind: str, checkpoints: Checkpoints | None) -> str:
    """sha256 of the model's files; the last fifth of the rows stops the search for rounds or epochs.

    Several processes do without the search: each start of them takes seconds.
    """
    late = None if kind == "torchrun" else np.arange(ROWS) >= ROWS * 4 // 5
    return artifact_sha256(fit(recipe(kind), rows(), late, checkpoints).to_files())


if __name__ == "__main__":
    sha256 = fitted(sys.argv[1], Checkpoints(LocalFiles(Path(sys.argv[2]))))
    write_bytes(Path(sys.argv[3]), sha256.encode())
