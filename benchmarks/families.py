"""Every family and ensemble on one real data set: fitted, stored, loaded and scored; a Markdown table.

python -m benchmarks.families --data FOLDER [--only NAME ...]

FOLDER holds `telco_churn/Telco-Customer-Churn.csv` (7,043 customers, IBM sample data). The rows have no time, so
a fixed shuffle gives the last 20 % as the holdout. Tasks: `binary` (churn), `quantile` (0.9 of the monthly charges) and
`anomaly` (those who churn, never shown to the detector: a hard question, as most of them are nothing strange). "same":
the stored and reloaded model gives the same bytes of scores. This goes past the steps; the chain itself is in
tests/model/test_family_chain.py.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from pipelines.models.estimators import ESTIMATORS
from pipelines.models.fitting import Recipe, Rows, fit
from pipelines.models.model import Model
from pipelines.settings.training import Training
from pipelines.training.metrics import metric, wanted_metric

NUMBERS = ("tenure", "monthlycharges", "totalcharges")
_KINDS = {name: pa.float64() for name in ("tenure", "MonthlyCharges", "TotalCharges")}
TREES = {"family": "xgboost", "rounds": 200}
PLAIN = {"family": "sklearn", "estimator": "LogisticRegression", "parameters": {"max_iter": 300}}
FOREST = {"family": "sklearn", "estimator": "RandomForestClassifier", "parameters": {"min_samples_leaf": 5}}


def customers(folder: Path) -> pa.Table:
    table = csv.read_csv(
        folder / "telco_churn" / "Telco-Customer-Churn.csv",
        convert_options=csv.ConvertOptions(column_types=_KINDS, null_values=[" ", ""]),
    )
    table = table.rename_columns([name.lower() for name in table.column_names])
    order = np.random.default_rng(1).permutation(table.num_rows)
    return table.take(pa.array(order))


def cases() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, task and model."""
    yield "xgboost", "binary", TREES
    yield "torch", "binary", {"family": "torch"}
    for name, own in ESTIMATORS.items():
        for task in ("binary", "quantile", "anomaly"):
            if task in own.tasks:
                yield name, task, {"family": "sklearn", "estimator": name}
    members = {"trees": TREES, "plain": PLAIN, "forest": FOREST}
    for combine in ("voting", "weighted", "stacking"):
        yield f"{combine} of three", "binary", {"family": "ensemble", "combine": combine, "members": members}
    bagged = {"trees": {"family": "sklearn", "estimator": "DecisionTreeClassifier"}}
    yield "bagging of trees", "binary", {"family": "ensemble", "combine": "bagging", "members": bagged}
    yield "xgboost", "quantile", TREES
    yield "torch", "quantile", {"family": "torch"}
    yield "torch (autoencoder)", "anomaly", {"family": "torch", "hidden_layers": [32, 8]}


def line(name: str, task: str, model: dict[str, Any], table: pa.Table) -> str:
    """One row of the report."""
    settings = {"task": task, "model": model, "missing": {"default": {"strategy": "median"}, **_modes(table)}}
    training = Training.model_validate(settings | ({"quantile": 0.9} if task == "quantile" else {}))
    label = "monthlycharges" if task == "quantile" else "churn"
    target = table[label].to_numpy() if task == "quantile" else (table[label].to_numpy() == "Yes") * 1.0
    left_out = {"customerid", "churn", label} | ({"totalcharges"} if task == "quantile" else set())
    types = {
        column: "number" if column in NUMBERS else "category" for column in table.column_names if column not in left_out
    }
    is_holdout = np.arange(table.num_rows) >= table.num_rows * 4 // 5
    rows, later = Rows(table, target).take(~is_holdout), Rows(table, target).take(is_holdout)
    started = time.perf_counter()
    fitted = fit(Recipe(training, types, ["No", "Yes"], threads=1), rows, np.arange(len(rows)) >= len(rows) * 4 // 5)
    seconds = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        fitted.save(Path(folder) / "model")
        size = sum(path.stat().st_size for path in (Path(folder) / "model").iterdir()) / 1e6
        loaded = Model.load(Path(folder) / "model")
    scores, wanted = fitted.predict(later.table), wanted_metric(training)
    same = "yes" if np.array_equal(loaded.predict(later.table), scores) else "NO"
    value = metric(wanted, later.target, scores)
    return f"| {name} | {task} | {wanted} | {value:.4f} | {seconds:.1f} | {size:.2f} | {same} |"


def _modes(table: pa.Table) -> dict[str, Any]:
    return {name: {"strategy": "mode"} for name in table.column_names if name not in NUMBERS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[])
    arguments = parser.parse_args()
    table = customers(arguments.data)
    print("| model | task | metric | holdout | fit s | MB | same |\n|---|---|---|---|---|---|---|")
    for name, task, model in cases():
        if not arguments.only or name in arguments.only:
            print(line(name, task, model, table), flush=True)


if __name__ == "__main__":
    main()
