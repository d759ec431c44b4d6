"""Every family and ensemble on real data: fitted, stored, loaded and scored, against two baselines; a Markdown table.

    python -m benchmarks.families --data FOLDER [--set NAME ...] [--only MODEL ...] [--rows N]

FOLDER holds telco_churn, adult, bike_sharing, elec2, california_housing, sms_spam and mnist_t10k as their sources gave
them. The last fifth of the rows is the holdout; rows without time are shuffled, once and for all. At most N of the
latest rows are used (10,000): support vectors and neighbours grow with their square. Metric as the gate's. "over
constant" and "over linear": the gain over the training mean (share, quantile) and over a plain linear model on all
features (of anomalies: the distance from the mean), with the 95 % interval of a paired bootstrap; `beats` or `loses`
where it does not hold 0. "same": the stored and reloaded model gives the same bytes of scores. This goes past the
steps; benchmarks/family_table.py goes through them.
"""

from __future__ import annotations

import argparse
import contextlib
import csv as text_files
import gzip
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from pipelines.errors import NightshiftError
from pipelines.models.estimators import ESTIMATORS
from pipelines.models.fitting import Recipe, Rows, fit
from pipelines.models.model import Model
from pipelines.settings.training import Training
from pipelines.training.bootstrap import compare
from pipelines.training.metrics import wanted_metric

Settings = dict[str, Any]
TREES: Settings = {"family": "xgboost", "rounds": 200}
TREE = {
    "binary": "DecisionTreeClassifier",
    "multiclass": "DecisionTreeClassifier",
    "regression": "DecisionTreeRegressor",
}
FOREST = {
    "binary": "RandomForestClassifier",
    "multiclass": "RandomForestClassifier",
    "regression": "RandomForestRegressor",
}
LINEAR: dict[str, Settings] = {
    "binary": {"estimator": "LogisticRegression", "parameters": {"max_iter": 300}},
    "multiclass": {"estimator": "LogisticRegression", "parameters": {"max_iter": 300}},
    "regression": {"estimator": "Ridge"},
    "quantile": {"estimator": "QuantileRegressor", "parameters": {"alpha": 0.0}},
    "anomaly": {"estimator": "KMeans", "parameters": {"n_clusters": 1}},
}
_LINEAR_QUANTILE_ROWS = 2_000  # its linear program takes seconds for these and minutes for ten times as many
_LAGS = 8


@dataclass(frozen=True)
class DataSet:
    """`read` gives features and a column `label` (0/1, class numbers or values), oldest first."""

    read: Callable[[Path], pa.Table]
    tasks: tuple[str, ...]
    training: Settings = field(default_factory=dict)
    quantile_of: str | None = None  # the number whose 0.9 quantile is asked for; default the label


def telco_churn(folder: Path) -> pa.Table:
    kinds = {name: pa.float64() for name in ("tenure", "MonthlyCharges", "TotalCharges")}
    options = csv.ConvertOptions(column_types=kinds, null_values=[" ", ""])
    table = csv.read_csv(folder / "telco_churn" / "Telco-Customer-Churn.csv", convert_options=options)
    label = pc.equal(table["Churn"], "Yes").cast(pa.float64())
    return _shuffled(table.drop_columns(["customerID", "Churn"]).append_column("label", label))


def adult(folder: Path) -> pa.Table:
    table = parquet.read_table(folder / "adult" / "adult.parquet")
    label = pc.starts_with(table["class"].cast(pa.string()), ">").cast(pa.float64())
    return _shuffled(table.drop_columns(["class", "fnlwgt"]).append_column("label", label))


def bike_sharing(folder: Path) -> pa.Table:
    table = csv.read_csv(folder / "bike_sharing" / "hour.csv.gz")
    # 'casual' and 'registered' add up to the label.
    table = table.drop_columns(["instant", "dteday", "observed_at", "casual", "registered", "yr"])
    return table.rename_columns({"cnt": "label"})


def elec2(folder: Path) -> pa.Table:
    """With the prices and demands of the last four hours as an entity's last events."""
    table = csv.read_csv(folder / "elec2" / "elec2.csv.gz").drop_columns(["interval_start"])
    table = table.rename_columns({"class": "label"})
    for column in ("nswprice", "nswdemand"):
        values = table[column].to_numpy().astype(float)
        for step in range(1, _LAGS + 1):
            earlier = np.concatenate([np.full(step, np.nan), values[:-step]])
            table = table.append_column(f"{column}_lag_{step}", pa.array(earlier, from_pandas=True))
    return table


def california_housing(folder: Path) -> pa.Table:
    """Whether a block of houses is dear; in order of a made-up time."""
    table = csv.read_csv(folder / "california_housing" / "california_housing_reference.csv")
    kept = [name for name in table.column_names if pa.types.is_floating(table.schema.field(name).type)]
    kept = [name for name in kept if not name.startswith(("y_pred", "clf_target"))]
    label = table["clf_target"].cast(pa.float64())
    return table.sort_by("timestamp").select(kept).append_column("label", label)


def sms_spam(folder: Path) -> pa.Table:
    with (folder / "sms_spam" / "sms.tsv").open(encoding="utf-8") as lines:
        rows = list(text_files.reader(lines, delimiter="\t", quoting=text_files.QUOTE_NONE))
    rows = list({text: (label, text) for label, text in rows}.values())  # 403 are there twice
    label = [float(one == "spam") for one, _ in rows]
    return _shuffled(pa.table({"message": [text for _, text in rows], "label": label}))


def mnist_t10k(folder: Path) -> pa.Table:
    """Each pixel that is ever set is a number."""
    place = folder / "mnist_t10k"
    pixels = np.frombuffer(gzip.decompress((place / "t10k-images-idx3-ubyte.gz").read_bytes())[16:], np.uint8)
    digits = np.frombuffer(gzip.decompress((place / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:], np.uint8)
    pixels = pixels.reshape(len(digits), -1).astype(np.float64)
    used = np.flatnonzero(pixels.any(axis=0)).tolist()
    columns = {f"pixel_{number}": pixels[:, number] for number in used}
    return _shuffled(pa.table(columns | {"label": digits.astype(np.float64)}))


def _shuffled(table: pa.Table) -> pa.Table:
    return table.take(pa.array(np.random.default_rng(1).permutation(table.num_rows)))


TFIDF = {"encode": {"message": {"encoder": "tfidf", "max_features": 1000}}}
SETS = {
    "telco_churn": DataSet(telco_churn, ("binary", "quantile", "anomaly"), quantile_of="monthlycharges"),
    "adult": DataSet(adult, ("binary",)),
    "bike_sharing": DataSet(bike_sharing, ("regression", "quantile")),
    "elec2": DataSet(elec2, ("binary",)),
    "california_housing": DataSet(california_housing, ("binary",)),
    "sms_spam": DataSet(sms_spam, ("binary",), TFIDF),
    "mnist_t10k": DataSet(mnist_t10k, ("multiclass",)),
}


def cases(task: str, has_lags: bool) -> Iterator[tuple[str, Settings]]:
    """Name and model of everything that does the task."""
    if task != "anomaly":
        yield "xgboost", TREES
    yield "torch", {"family": "torch"} | ({"hidden_layers": [32, 8]} if task == "anomaly" else {})
    for network in ("cnn", "lstm") if has_lags else ():
        yield f"torch_sequence {network}", {"family": "torch_sequence", "network": network}
    for name, own in ESTIMATORS.items():
        if task in own.tasks:
            yield name, {"family": "sklearn", "estimator": name}
    if task not in TREE:
        return
    plain, forest, tree = (
        {"family": "sklearn", **one} for one in (LINEAR[task], _named(FOREST[task]), _named(TREE[task]))
    )
    members = {"trees": TREES, "plain": plain, "forest": forest}
    for combine in ("voting", "weighted", "stacking"):
        yield f"{combine} of three", {"family": "ensemble", "combine": combine, "members": members}
    yield "bagging of trees", {"family": "ensemble", "combine": "bagging", "members": {"tree": tree}}


def _named(estimator: str) -> Settings:
    return {"estimator": estimator}


@dataclass(frozen=True)
class Question:
    """One task on one data set, with the scores of its baselines on the holdout."""

    training: Settings
    types: dict[str, str]
    classes: list[str]
    rows: Rows
    holdout: Rows

    def recipe(self, model: Settings) -> Recipe:
        return Recipe(Training.model_validate(self.training | {"model": model}), self.types, self.classes, threads=1)

    @property
    def metric(self) -> str:
        return wanted_metric(self.recipe(TREES).training)

    def constant(self) -> np.ndarray:
        target, count = self.rows.target, len(self.holdout)
        if self.training["task"] == "multiclass":
            return np.tile(np.bincount(target.astype(int), minlength=len(self.classes)) / len(target), (count, 1))
        if self.training["task"] == "quantile":
            return np.full(count, np.quantile(target, self.training["quantile"]))
        return np.full(count, target.mean())

    def linear(self) -> np.ndarray:
        rows, task = self.rows, self.training["task"]
        if task == "quantile":
            rows = rows.take(np.arange(len(rows)) % max(1, len(rows) // _LINEAR_QUANTILE_ROWS) == 0)
        return fit(self.recipe({"family": "sklearn", **LINEAR[task]}), rows, None).predict(self.holdout.table)


def question(data: DataSet, task: str, table: pa.Table) -> Question:
    label = data.quantile_of if task == "quantile" and data.quantile_of else "label"
    left_out = {"label", label} | ({"totalcharges"} if label == "monthlycharges" else set())
    types = {one.name: _kind(one) for one in table.schema if one.name not in left_out}
    modes = {name: {"strategy": "mode"} for name, kind in types.items() if kind == "category"}
    gaps: Settings = {"default": {"strategy": "median"}, **modes}
    gaps |= {name: {"strategy": "constant", "value": ""} for name, kind in types.items() if kind == "text"}
    training = {"task": task, "missing": gaps, **data.training} | ({"quantile": 0.9} if task == "quantile" else {})
    target = table[label].to_numpy().astype(np.float64)
    classes = [str(number) for number in range(int(target.max()) + 1)] if task != "regression" else []
    is_holdout = np.arange(table.num_rows) >= table.num_rows * 4 // 5
    rows = Rows(table, target)
    return Question(training, types, classes, rows.take(~is_holdout), rows.take(is_holdout))


def _kind(column: pa.Field) -> str:
    if column.name == "message":
        return "text"
    return "number" if pa.types.is_integer(column.type) or pa.types.is_floating(column.type) else "category"


def line(asked: Question, model: Settings, constant: np.ndarray, linear: np.ndarray) -> str:
    """The cells behind data set, model and task."""
    rows, late = asked.rows, np.arange(len(asked.rows)) >= len(asked.rows) * 4 // 5
    started = time.perf_counter()
    fitted = fit(asked.recipe(model), rows, late)
    seconds = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        fitted.save(Path(folder) / "model")
        size = sum(path.stat().st_size for path in (Path(folder) / "model").iterdir()) / 1e6
        loaded = Model.load(Path(folder) / "model")
    scores = fitted.predict(asked.holdout.table)
    same = "yes" if np.array_equal(loaded.predict(asked.holdout.table), scores) else "NO"
    value, over_constant = _against(asked, scores, constant)
    _, over_linear = _against(asked, scores, linear)
    return f"{asked.metric} | {value:.4f} | {over_constant} | {over_linear} | {seconds:.1f} | {size:.2f} | {same}"


def _against(asked: Question, scores: np.ndarray, other: np.ndarray) -> tuple[float, str]:
    found = compare(
        asked.metric, asked.holdout.target, scores, other, confidence=0.975, resamples=300, seed=1, groups=None
    )
    verdict = "beats" if found.lower > 0 else "loses" if found.upper < 0 else "even"
    return found.challenger, f"{verdict} {found.gain:+.4f} [{found.lower:+.4f}, {found.upper:+.4f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--rows", type=int, default=10_000)
    arguments = parser.parse_args()
    print("| data | model | task | metric | holdout | over constant | over linear | fit s | MB | same |")
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for name in arguments.set:
        table = SETS[name].read(arguments.data)
        table = table.rename_columns([column.lower().replace("-", "_") for column in table.column_names])
        table = table.slice(max(0, table.num_rows - arguments.rows))
        for task in SETS[name].tasks:
            asked = question(SETS[name], task, table)
            constant, linear = asked.constant(), asked.linear()
            for model_name, model in cases(task, any("_lag_" in column for column in asked.types)):
                if arguments.only and model_name not in arguments.only:
                    continue
                try:
                    cells = line(asked, model, constant, linear)
                except NightshiftError as error:
                    cells = str(error)
                print(f"| {name} | {model_name} | {task} | {cells} |", flush=True)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
