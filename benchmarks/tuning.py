"""What pruning and several workers are worth: searches on one real data set, by seed; a Markdown table.

python -m benchmarks.tuning --data FOLDER [--rows N] [--trials 40] [--seeds 3] [--family xgboost|torch] [--workers 2]

FOLDER holds `adult/adult.parquet` (48,842 people, census of 1994; label: more than 50,000 dollars a year). A fixed
shuffle stands for time: trials learn from the first 60 %, are judged on the next 20 %, and the best parameters are
judged once more on the last 20 %, which no trial saw. One thread per worker; CPU seconds are those of the whole
search and do not depend on what else the machine does, elapsed seconds do.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.models.fitting import fit
from pipelines.models.recipe import Recipe, Rows
from pipelines.settings.training import Training
from pipelines.training.metrics import metric
from pipelines.training.tuning_search import Search, best_of, work
from pipelines.training.tuning_study import PRUNED, Studies

FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "xgboost": (
        {"family": "xgboost", "rounds": 200, "early_stopping_rounds": 20},
        {
            "max_depth": [2, 10],
            "learning_rate": {"kind": "float", "low": 0.01, "high": 0.5, "log": True},
            "subsample": [0.5, 1.0],
            "min_child_weight": {"kind": "float", "low": 1, "high": 50, "log": True},
        },
    ),
    "torch": (
        {"family": "torch", "hidden_layers": [32], "epochs": 15, "early_stopping_epochs": 3, "batch_rows": 1024},
        {"learning_rate": {"kind": "float", "low": 1e-5, "high": 0.1, "log": True}, "dropout": [0.0, 0.6]},
    ),
}
PRUNERS: dict[str, dict[str, dict[str, Any] | None]] = {
    "xgboost": {
        "none": None,
        "median": {"kind": "median", "every": 10, "warmup": 20},
        "halving": {"kind": "halving", "every": 10},
        "hyperband": {"kind": "hyperband", "every": 10},
    },
    "torch": {
        "none": None,
        "median": {"kind": "median", "every": 1, "warmup": 2},
        "halving": {"kind": "halving", "every": 1},
        "hyperband": {"kind": "hyperband", "every": 1},
    },
}


@dataclass(frozen=True)
class People:
    """Rows for the trials, which of them judge, and the rows that no trial sees."""

    types: dict[str, str]
    rows: Rows
    late: np.ndarray
    later: Rows


def people(folder: Path, rows: int) -> People:
    table = pq.read_table(folder / "adult" / "adult.parquet")
    label = table.column_names[-1]
    target = np.asarray([">50K" in value for value in table[label].to_pylist()]) * 1.0
    order = np.random.default_rng(1).permutation(table.num_rows)[:rows]
    table, target = table.drop_columns(label).take(pa.array(order)), target[order]
    columns = {
        name: table[name].cast(pa.float64() if _is_number(table, name) else pa.string()) for name in table.column_names
    }
    whole = Rows(pa.table(columns), target)
    types = {name: "number" if _is_number(table, name) else "category" for name in table.column_names}
    is_seen = np.arange(len(whole)) < len(whole) * 8 // 10
    seen = whole.take(is_seen)
    return People(types, seen, np.arange(len(seen)) >= len(seen) * 3 // 4, whole.take(~is_seen))


def _is_number(table: pa.Table, name: str) -> bool:
    kind = table.schema.field(name).type
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def settings(family: str, pruner: str, trials: int, seed: int, workers: int) -> Training:
    model, ranges = FAMILIES[family]
    tuning = {"trials": trials, "ranges": ranges, "pruner": PRUNERS[family][pruner], "workers": workers}
    missing = {"default": {"strategy": "mode"}}
    return Training.model_validate(
        {"task": "binary", "model": model, "tuning": tuning, "seed": seed, "missing": missing}
    )


def take_part(url: str, training: Training, data: People) -> None:
    assert training.tuning
    recipe = Recipe(training, data.types, ["no", "yes"], threads=1)
    work(Search(Studies(url), "benchmark", training.tuning, (), recipe, data.rows, data.late, "roc_auc"))


def searched(training: Training, data: People) -> tuple[float, float, int, float]:
    """CPU seconds, elapsed seconds, pruned trials, and the best parameters' ROC AUC on the rows that no trial saw."""
    assert training.tuning
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/studies.db"
        started, used = time.perf_counter(), _cpu_seconds()
        others = [
            multiprocessing.get_context("spawn").Process(target=take_part, args=(url, training, data))
            for _ in range(training.tuning.workers - 1)
        ]
        for other in others:
            other.start()
        take_part(url, training, data)
        for other in others:
            other.join()
        elapsed, used = time.perf_counter() - started, _cpu_seconds() - used
        trials = Studies(url).trials("benchmark")
    best = best_of(trials, "roc_auc")
    assert best
    recipe = Recipe(training, data.types, ["no", "yes"], threads=1).with_parameters(best["parameters"])
    model = fit(recipe, data.rows, data.late)
    value = metric("roc_auc", data.later.target, model.predict(data.later.table))
    return used, elapsed, sum(row["state"] == PRUNED for row in trials), value


def _cpu_seconds() -> float:
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, whose))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=48_842)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--family", choices=sorted(FAMILIES), default="xgboost")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    data = people(given.data, given.rows)
    print("| pruner | CPU s | elapsed s | pruned of all | roc_auc on unseen rows, by seed |\n|---|---|---|---|---|")
    for pruner in PRUNERS[given.family]:
        found = [
            searched(settings(given.family, pruner, given.trials, seed, given.workers), data)
            for seed in range(given.seeds)
        ]
        used, elapsed = (statistics.median(one[place] for one in found) for place in (0, 1))
        pruned, values = sum(one[2] for one in found), " ".join(f"{one[3]:.4f}" for one in found)
        total = given.trials * given.seeds
        print(f"| {pruner} | {used:.0f} | {elapsed:.0f} | {pruned} of {total} | {values} |", flush=True)


if __name__ == "__main__":
    main()
