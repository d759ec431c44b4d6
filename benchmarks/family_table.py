"""Every family and ensemble through the chain on real data: trained, registered, judged, reloaded, a night scored.

    python -m benchmarks.family_table --data FOLDER [--set NAME ...] [--only MODEL ...]

FOLDER holds `telco_churn`, `bike_sharing`, `adult`, `elec2`, `sms_spam` and `mnist_t10k` as their sources gave them.
Rows lie in nine partitions, in order of time (churn, incomes, messages and digits have none and are shuffled): six to
learn from, two held out, one as the next night. Ingest to features run once for each data set, and each model then
goes through the steps of a retrain and of that night in a copy of the home, with the bootstrap gate against a constant
and a plain linear model. `same`: the model that scoring loads gives the scores of training, bit for bit; `night`: its
released rows, or the error.
"""

from __future__ import annotations

import argparse
import contextlib
import csv as text_files
import gzip
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from PIL import Image
from pyarrow import csv, parquet

from pipelines.errors import NightshiftError
from pipelines.home import Home
from pipelines.models import load_model
from pipelines.models.estimators import ESTIMATORS
from pipelines.runs.step import open_context
from pipelines.runs.steps import call_step
from pipelines.training.dataset import read_frozen
from pipelines.training.sample import predictions_digest

START = datetime(2026, 3, 1, tzinfo=UTC)
PARTITIONS, HELD_OUT = 9, 2
MOST_ROWS = 9_000  # the latest: support vectors and processes grow with the square and the cube of the rows
DAYS = [(START + timedelta(days=number)).strftime("%Y-%m-%d") for number in range(PARTITIONS)]
Settings = dict[str, Any]
TREES: Settings = {"family": "xgboost", "rounds": 200}
PLAIN = {"binary": "LogisticRegression", "regression": "Ridge"}
FOREST = {"binary": "RandomForestClassifier", "regression": "RandomForestRegressor"}
TREE = {"binary": "DecisionTreeClassifier", "regression": "DecisionTreeRegressor"}


@dataclass(frozen=True)
class DataSet:
    """`rows` reads the folder: features and a column `label`, in the order in which they become known."""

    name: str
    tasks: tuple[str, ...]
    rows: Callable[[Path], pa.Table]
    training: Settings = field(default_factory=dict)
    groups: dict[str, Settings] = field(default_factory=dict)  # feature groups
    families: tuple[str, ...] = ()  # all when empty


def telco_churn(folder: Path) -> pa.Table:
    kinds = {name: pa.float64() for name in ("tenure", "MonthlyCharges", "TotalCharges")}
    options = csv.ConvertOptions(column_types=kinds, null_values=[" ", ""])
    table = csv.read_csv(folder / "telco_churn" / "Telco-Customer-Churn.csv", convert_options=options)
    label = pc.equal(table["Churn"], "Yes").cast(pa.int64())
    return _shuffled(table.drop_columns(["customerID", "Churn"]).append_column("label", label))


def adult(folder: Path) -> pa.Table:
    table = parquet.read_table(folder / "adult" / "adult.parquet")
    label = pc.starts_with(table["class"].cast(pa.string()), ">").cast(pa.int64())
    return _shuffled(table.drop_columns(["class", "fnlwgt"]).append_column("label", label))


def bike_sharing(folder: Path) -> pa.Table:
    table = csv.read_csv(folder / "bike_sharing" / "hour.csv.gz")
    leaks = ["instant", "dteday", "observed_at", "casual", "registered", "yr"]  # the first two add up to the label
    return table.drop_columns(leaks).rename_columns({"cnt": "label"})


def elec2(folder: Path) -> pa.Table:
    table = csv.read_csv(folder / "elec2" / "elec2.csv.gz")
    table = table.append_column("region", pa.array(["NSW"] * table.num_rows))
    return table.drop_columns(["interval_start"]).rename_columns({"class": "label"})


def sms_spam(folder: Path) -> pa.Table:
    with (folder / "sms_spam" / "sms.tsv").open(encoding="utf-8") as lines:
        rows = list(text_files.reader(lines, delimiter="\t", quoting=text_files.QUOTE_NONE))
    rows = [[label, text] for text, label in {text: label for label, text in rows}.items()]  # 403 are there twice
    messages, labels = [text for _, text in rows], [int(label == "spam") for label, _ in rows]
    return _shuffled(pa.table({"message": messages, "label": labels}))


def mnist_t10k(folder: Path) -> pa.Table:
    def read(name: str, skipped: int) -> np.ndarray:
        with gzip.open(folder / "mnist_t10k" / name) as content:
            return np.frombuffer(content.read()[skipped:], np.uint8)

    digits = read("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
    labels = read("t10k-labels-idx1-ubyte.gz", 8)
    return _shuffled(pa.table({"digit": [_png(one) for one in digits], "label": labels.astype(np.int64)}))


def _png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def _shuffled(table: pa.Table) -> pa.Table:
    return table.take(pa.array(np.random.default_rng(1).permutation(table.num_rows)))


TFIDF = {"encode": {"message": {"encoder": "tfidf", "max_features": 1000}}}
_LABEL_RULE = {
    "type": "expect_column_values_to_not_be_null",
    "kwargs": {"column": "label"},
    "severity": "critical",
    "meta": {"rule_id": "LABEL_KNOWN"},
}
_KINDS = {"message": "text", "digit": "image"}
LAGS = {"kind": "lag", "columns": ["nswprice", "nswdemand"], "steps": 8}
# Of these models each pixel is a feature: linear ones are the linear baseline of images, the others need no hours.
ON_PIXELS = (
    *("LogisticRegression", "LinearDiscriminantAnalysis", "DecisionTreeClassifier", "RandomForestClassifier"),
    *("ExtraTreesClassifier", "KNeighborsClassifier", "GaussianNB", "BernoulliNB", "SVC", "MLPClassifier"),
)
SETS = [
    DataSet("telco_churn", ("binary", "anomaly"), telco_churn),
    DataSet("bike_sharing", ("regression", "quantile"), bike_sharing),
    DataSet("adult", ("binary",), adult, families=("xgboost", "torch", "LogisticRegression", "ensemble")),
    DataSet(
        "elec2",
        ("binary",),
        elec2,
        groups={"recent": {"name": "recent", "entity": ["region"], "owner": "benchmarks", "features": [LAGS]}},
        families=("xgboost", "torch", "torch_sequence", "LogisticRegression", "ensemble"),
    ),
    DataSet("sms_spam", ("binary",), sms_spam, TFIDF, families=("xgboost", "torch", "sklearn")),
    DataSet("mnist_t10k", ("multiclass",), mnist_t10k, families=("torch_image", "xgboost", *ON_PIXELS)),
]


def cases(data: DataSet) -> Iterator[tuple[str, str, Settings]]:
    """Name, task and model."""
    for task in data.tasks:
        for name, model in _models(data, task):
            if not data.families or {name.partition(" ")[0], model["family"]} & set(data.families):
                yield name, task, model


def _models(data: DataSet, task: str) -> Iterator[tuple[str, Settings]]:
    if task != "anomaly":
        yield "xgboost", TREES
    yield "torch", {"family": "torch"} | ({"hidden_layers": [32, 8]} if task == "anomaly" else {})
    if data.groups:
        for network in ("cnn", "lstm"):
            yield f"torch_sequence {network}", {"family": "torch_sequence", "network": network}
    if data.name == "mnist_t10k":
        for network in ("cnn", "resnet"):
            yield f"torch_image {network}", {"family": "torch_image", "network": network, "epochs": 10}
    for name, own in ESTIMATORS.items():
        if task in own.tasks:
            yield name, {"family": "sklearn", "estimator": name}
    if task not in PLAIN:
        return
    single = {"trees": TREES, "plain": _sklearn(PLAIN[task]), "forest": _sklearn(FOREST[task])}
    for combine in ("voting", "weighted", "stacking"):
        yield f"{combine} of three", {"family": "ensemble", "combine": combine, "members": single}
    yield "bagging of trees", {"family": "ensemble", "combine": "bagging", "members": {"tree": _sklearn(TREE[task])}}


def _sklearn(name: str) -> Settings:
    return {"family": "sklearn", "estimator": name}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", nargs="*", default=[one.name for one in SETS], choices=[one.name for one in SETS])
    parser.add_argument("--only", nargs="*", default=[])
    arguments = parser.parse_args()
    print("| data | model | task | metric | holdout | constant | linear | gate | train s | MB | same | night |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for data in SETS:
        if data.name in arguments.set:
            with tempfile.TemporaryDirectory() as folder:
                table_of(data, arguments.data, Path(folder), arguments.only)


def table_of(data: DataSet, source: Path, folder: Path, only: list[str]) -> None:
    """A line for each model of one data set."""
    table = data.rows(source)
    table = table.rename_columns([name.lower().replace("-", "_") for name in table.column_names])
    table = table.slice(max(0, table.num_rows - MOST_ROWS))
    history = Home(folder / "history", folder / "config")
    feed(table, history.root / "inbox")
    configure(data, table, history.config, None)
    for partition in DAYS:
        for step in ("ingest", "validate", "deduplicate", "build_features"):
            call_step(data.name, partition, f"daily-{partition}", step, home=history)
    for number, (name, task, model) in enumerate(cases(data)):
        if only and name not in only:
            continue
        home = Home(folder / f"home-{number}", folder / "config")  # MLflow keeps connections: each its own path
        shutil.copytree(history.root, home.root)
        configure(data, table, home.config, {"task": task, "model": model, **_own(task, table)})
        print(f"| {data.name} | {name} | {task} | {' | '.join(line(data.name, home))} |", flush=True)
        shutil.rmtree(home.root)


def _own(task: str, table: pa.Table) -> Settings:
    texts = [name for name in features_of(table) if _kind(table.schema.field(name)) == "category"]
    missing = {name: {"strategy": "mode"} for name in texts}
    own: Settings = {"missing": {"default": {"strategy": "median"}, **missing}}
    return own | ({"quantile": 0.9} if task == "quantile" else {})


def feed(table: pa.Table, inbox: Path) -> None:
    """One file per day, rows spread evenly over it."""
    inbox.mkdir(parents=True)
    bounds = np.linspace(0, table.num_rows, PARTITIONS + 1).astype(int)
    for number, (first, last) in enumerate(pairwise(bounds)):
        part = table.slice(first, last - first)
        start = int((START + timedelta(days=number)).timestamp() * 1e6)
        times = start + np.linspace(0, 86_399_000_000, part.num_rows).astype(np.int64)
        part = part.append_column("row", pa.array([f"{first + row}" for row in range(part.num_rows)]))
        part = part.append_column("seen_at", pa.array(times, pa.timestamp("us", "UTC")))
        parquet.write_table(part, inbox / f"{DAYS[number]}.parquet")


def features_of(table: pa.Table) -> list[str]:
    return [name for name in table.column_names if name not in ("label", "region")]


def _kind(column: pa.Field) -> str:
    if column.name in _KINDS:
        return _KINDS[column.name]
    return "number" if pa.types.is_integer(column.type) or pa.types.is_floating(column.type) else "category"


def configure(data: DataSet, table: pa.Table, config: Path, training: Settings | None) -> None:
    """The pipeline's file; with `training` also what a retrain and a scored night need."""
    columns: Settings = {field.name: {"type": _kind(field)} for field in table.schema if field.name != "label"}
    if "digit" in columns:
        columns["digit"] = {"type": "image", "image": {"size": 28, "color": "gray"}}
    columns |= {"label": {"type": "integer"}, "row": {"type": "id", "required": True}}
    columns |= {"seen_at": {"type": "timestamp", "required": True}}
    pipeline: Settings = {
        "name": data.name,
        "owner": "benchmarks",
        "start": DAYS[0],
        "source": {"format": "parquet", "path": "${NIGHTSHIFT_STORAGE}/inbox/{partition}.parquet", "columns": columns},
        "key": ["row"],
        "event_time": "seen_at",
        "features": {"lookback": "7d", "columns": features_of(table), "groups": list(data.groups)},
        "monitor": {"report": "never"},
        "audit": {"max_shift": 5.0},
    }
    if training:
        own = {"window_partitions": PARTITIONS - 1, "holdout_partitions": HELD_OUT}
        pipeline |= {"label": {"column": "label"}, "training": {**own, **data.training, **training}}
        pipeline["gate"] = {"policy": "bootstrap"}
    suite = {"name": data.name, "expectations": [_LABEL_RULE]}
    (config.parent / "expectations").mkdir(exist_ok=True)
    (config.parent / "expectations" / f"{data.name}.json").write_text(json.dumps(suite))
    for folder, name, content in (
        ("pipelines", data.name, pipeline),
        *(("features", group, settings) for group, settings in data.groups.items()),
    ):
        (config / folder).mkdir(parents=True, exist_ok=True)
        (config / folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def line(name: str, home: Home) -> list[str]:
    """Cells behind data, model and task. What a step refuses is the cell of that step."""
    last_known, night = DAYS[-2], DAYS[-1]
    given: Settings = {}
    try:
        given["snapshot_id"] = call_step(name, last_known, "retrain", "snapshot", home=home)["snapshot_id"]
        trained = call_step(name, last_known, "retrain", "train", given, home=home)
        given["version"] = trained["version"]
        found = call_step(name, last_known, "retrain", "evaluate", given, home=home)
        gate = call_step(name, last_known, "retrain", "gate", given, home=home)["outcome"]
    except NightshiftError as error:
        return [str(error)]
    numbers = [_number(found.get(one)) for one in ("challenger", "constant", "linear")]
    context = open_context(name, last_known, "retrain", home)
    model = load_model(context, given["version"])
    digest = predictions_digest(model.predict(read_frozen(context, given["snapshot_id"]).table(context, "holdout")))
    record = context.ledger.model(name, given["version"])["record"]
    same = "yes" if digest == record["predictions_digest"] else "NO"
    size = f"{sum(len(content) for content in model.to_files().values()) / 1e6:.2f}"
    scored = _night(name, home, night, given["version"]) if gate == "PROMOTE" else "not promoted"
    return [found["metric"], *numbers, gate, f"{trained['seconds']:.1f}", size, same, scored]


def _night(name: str, home: Home, night: str, version: int) -> str:
    try:
        call_step(name, DAYS[-2], "retrain", "promote", {"version": version}, home=home)
        call_step(name, night, "daily", "score", {"shard": 0}, home=home)
        for step in ("audit", "release"):
            summary = call_step(name, night, "daily", step, home=home)
    except NightshiftError as error:
        return str(error)
    return f"{summary['rows']:,} rows"


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.4f}"


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
