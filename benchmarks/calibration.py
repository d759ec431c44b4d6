"""What calibration and intervals are worth on real data; two Markdown tables.

python -m benchmarks.calibration --data FOLDER [--only NAME ...]

FOLDER holds `telco_churn/Telco-Customer-Churn.csv`, `adult/adult.parquet`, `elec2/elec2.csv.gz` and
`bike_sharing/hour.csv.gz`. Rows without time are shuffled once, and the last fifth is the holdout. Of 'rolling'
data the figures are those of ten weeks together, each scored by models of the 56 days before it, the last 11 of which
are kept back, as a nightly pipeline does.

`as it is`: the model of all training rows. `kept back`: what the product does. `refitted`: the model of all rows, with
what was learnt of the one that had not seen the last ones; the product does not do it, as nothing proves it right.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from benchmarks import family_table
from pipelines.models.fitting import Recipe, Rows, fit
from pipelines.models.model import Model
from pipelines.settings.training import Training
from pipelines.training.metrics import metric

COVERAGE = 0.9
FIGURES = ("log_loss", "brier", "calibration_error", "roc_auc")
MISSING = {"missing": {"default": {"strategy": "mode"}}}
_TELCO_NUMBERS = ("tenure", "MonthlyCharges", "TotalCharges")
_TRAINED_DAYS, _KEPT_DAYS, _LATER_DAYS, _WINDOWS = 56, 11, 7, 10


def sklearn(name: str, **parameters: Any) -> dict[str, Any]:
    return {"family": "sklearn", "estimator": name, "parameters": parameters}


CLASSIFIERS = {
    "naive Bayes": sklearn("GaussianNB"),
    "random forest": sklearn("RandomForestClassifier"),
    "logistic regression": sklearn("LogisticRegression", max_iter=300),
    "XGBoost": {"family": "xgboost"},
}
REGRESSORS = {
    "ridge": sklearn("Ridge"),
    "random forest": sklearn("RandomForestRegressor"),
    "XGBoost": {"family": "xgboost"},
}


@dataclass(frozen=True)
class Split:
    """`kept`: mask `(n_rows,)` of the latest training rows."""

    rows: Rows
    kept: np.ndarray
    later: Rows


@dataclass(frozen=True)
class Data:
    name: str
    types: dict[str, str]
    splits: list[Split]


def one_split(name: str, rows: Rows, types: dict[str, str]) -> Data:
    """The last fifth is the holdout, the last fifth of the rest is kept back."""
    place = np.arange(len(rows)) / len(rows)
    early = place < 0.8
    return Data(name, types, [Split(rows.take(early), (place[early] >= 0.64), rows.take(~early))])


def rolling(name: str, rows: Rows, day: np.ndarray, types: dict[str, str]) -> Data:
    """`day`: number of each row's day, rising."""
    step = (int(day.max()) - _TRAINED_DAYS - _LATER_DAYS) // _WINDOWS
    splits = []
    for end in (_TRAINED_DAYS + step * number for number in range(1, _WINDOWS + 1)):
        inside = (day >= end - _TRAINED_DAYS) & (day < end)
        splits.append(
            Split(
                rows.take(inside), day[inside] >= end - _KEPT_DAYS, rows.take((day >= end) & (day < end + _LATER_DAYS))
            )
        )
    return Data(name, types, splits)


def telco(folder: Path) -> Data:
    table = family_table.telco_churn(folder)
    names = [name for name in table.column_names if name != "label"]
    types = {name: "number" if name in _TELCO_NUMBERS else "category" for name in names}
    return one_split("telco_churn", Rows(table, _numbers(table["label"])), types)


def adult(folder: Path) -> Data:
    table = family_table.adult(folder)
    names = [name for name in table.column_names if name != "label"]
    types = {name: "number" if pa.types.is_integer(table[name].type) else "category" for name in names}
    columns = {
        name: table[name].cast(pa.float64() if kind == "number" else pa.string()) for name, kind in types.items()
    }
    return one_split("adult", Rows(pa.table(columns), _numbers(table["label"])), types)


def electricity(folder: Path) -> Data:
    """The price of the half hour itself is left out: its label is whether it is above its mean."""
    table = csv.read_csv(folder / "elec2" / "elec2.csv.gz").sort_by("interval_start")
    types = dict.fromkeys(("period", "nswdemand", "vicprice", "vicdemand", "transfer"), "number")
    rows = Rows(pa.table({name: table[name].cast(pa.float64()) for name in types}), _numbers(table["class"]))
    return rolling("elec2, rolling", rows, _days(table["interval_start"]), types)


def bicycles(folder: Path) -> Iterator[Data]:
    table = csv.read_csv(folder / "bike_sharing" / "hour.csv.gz").sort_by("observed_at")
    names = ("hr", "weekday", "workingday", "weathersit", "temp", "atemp", "hum", "windspeed", "mnth", "holiday")
    types = dict.fromkeys(names, "number")
    rows = Rows(pa.table({name: table[name].cast(pa.float64()) for name in types}), _numbers(table["cnt"]))
    order = np.random.default_rng(1).permutation(len(rows))
    mixed = Rows(rows.table.take(pa.array(order)), rows.target[order])
    yield one_split("bike_sharing, shuffled", mixed, types)
    yield rolling("bike_sharing, rolling", rows, _days(table["observed_at"]), types)
    yield one_split("bike_sharing, 19 months, then 5", rows, types)


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)


def _days(column: pa.ChunkedArray) -> np.ndarray:
    days = column.cast(pa.timestamp("s")).to_numpy().astype("datetime64[D]").astype(np.int64)
    return np.asarray(days - days.min())


def fitted(data: Data, split: Split, settings: dict[str, Any]) -> Model:
    training = Training.model_validate(MISSING | settings)
    classes = ["0", "1"] if training.task == "binary" else []
    return fit(Recipe(training, data.types, classes, threads=1), split.rows, split.kept)


def calibrated(data: Data, name: str, model: dict[str, Any]) -> Iterator[str]:
    """Three rows of the table."""
    settings, started = {"task": "binary", "model": model}, time.perf_counter()
    target = np.concatenate([split.later.target for split in data.splits])
    scores: dict[str, list[np.ndarray]] = {"as it is": [], "kept back": [], "refitted": []}
    chosen: Counter[str] = Counter()
    for split in data.splits:
        whole, kept = fitted(data, split, settings), fitted(data, split, settings | {"calibration": {}})
        chosen[kept.facts["uncertainty"]["calibration"]["method"]] += 1
        models = {"as it is": whole, "kept back": kept, "refitted": replace(whole, calibrator=kept.calibrator)}
        for way, one in models.items():
            scores[way].append(one.predict(split.later.table))
    methods = ", ".join(f"{method} {times}" if len(data.splits) > 1 else method for method, times in chosen.items())
    seconds = time.perf_counter() - started
    for way, found in scores.items():
        values = " | ".join(f"{metric(figure, target, np.concatenate(found)):.4f}" for figure in FIGURES)
        yield f"| {data.name} | {name} | {way} | {methods if way == 'kept back' else ''} | {values} |"
    print(f"  ({data.name}, {name}: {seconds:.0f} s)", flush=True)


def covered(data: Data, name: str, model: dict[str, Any]) -> Iterator[str]:
    """One row of the table: realised coverage and mean width, kept back and refitted; the least window."""
    settings = {"task": "regression", "model": model}
    inside: dict[str, list[np.ndarray]] = {"kept back": [], "refitted": []}
    widths = []
    for split in data.splits:
        kept = fitted(data, split, settings | {"intervals": {"coverage": COVERAGE}})
        whole = replace(fitted(data, split, settings), conformal=kept.conformal)
        widths.append(2 * kept.conformal.bound if kept.conformal else float("nan"))
        for way, one in (("kept back", kept), ("refitted", whole)):
            low, high = one.conformal.interval(one.predict(split.later.table))  # type: ignore[union-attr]
            inside[way].append((low <= split.later.target) & (split.later.target <= high))
    shares = [np.concatenate(found).mean() for found in inside.values()]
    least = f"{min(one.mean() for one in inside['kept back']):.3f}" if len(data.splits) > 1 else ""
    count = sum(len(one) for one in inside["kept back"])
    yield f"| {data.name} | {name} | {count:,} | {shares[0]:.3f} | {least} | {np.mean(widths):.0f} | {shares[1]:.3f} |"


def report(
    head: str, every: list[Data], models: dict[str, Any], lines: Callable[..., Iterator[str]], only: Any
) -> None:
    found = [
        line
        for data in every
        for name, model in models.items()
        if not only or name in only or data.name.split(",")[0] in only
        for line in lines(data, name, model)
    ]
    print(head, *found, sep="\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[])
    arguments = parser.parse_args()
    folder = arguments.data
    head = f"| data | model | | chosen | {' | '.join(FIGURES)} |\n|{'---|' * (4 + len(FIGURES))}"
    report(head, [telco(folder), adult(folder), electricity(folder)], CLASSIFIERS, calibrated, arguments.only)
    head = "| data | model | holdout rows | realised | least window | mean width | refitted |\n" + "|---" * 7 + "|"
    report(head, list(bicycles(folder)), REGRESSORS, covered, arguments.only)


if __name__ == "__main__":
    main()
