"""Warm start against cold start: twenty nights of retraining, both ways on the same rows, one after the other.

    python -m benchmarks.warm_start --data FOLDER [--nights 20] [--only xgboost torch]

FOLDER holds `elec2/elec2.csv.gz` (half-hourly electricity prices, 48 rows a day; will the price rise?). The days are
published as the daily chain leaves them; then `snapshot`, `train`, `gate` and `promote` run each night as in a retrain,
in a home each for cold and warm. A warm night goes on from the champion of its home, which the gate may have kept.

Per night: seconds of the fit, and the log loss of the night's challenger on the next day, which no model has seen.
The interval of the mean difference is a bootstrap over nights (10,000 resamples, 95 %). Writes a Markdown table.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from pipelines.context import Context
from pipelines.home import REPOSITORY, Home
from pipelines.ledger import Ledger
from pipelines.models import load_model
from pipelines.settings.pipeline import Pipeline
from pipelines.storage.digests import table_digest
from pipelines.training import gate, promote, snapshot, train
from pipelines.training.metrics import metric

FIRST = date(1997, 6, 1)  # prices of the neighbouring state vary from May 1997
WINDOW, HOLDOUT = 300, 14
NUMBERS = ["period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer"]
MODELS: dict[str, dict[str, Any]] = {
    "xgboost": {"family": "xgboost", "rounds": 400, "parameters": {"max_depth": 5, "learning_rate": 0.05}},
    "torch": {"family": "torch", "epochs": 40, "batch_rows": 1024},
}
WARM = {"xgboost": {"rounds": 20}, "torch": {"epochs": 4}}
_RESAMPLES = 10_000


@dataclass(frozen=True)
class Night:
    """What one retrain of one night came to. `loss`: log loss on the next day."""

    seconds: float
    loss: float
    promoted: bool
    start: str


def settings(family: str, is_warm: bool) -> Pipeline:
    columns = {name: {"type": "number"} for name in NUMBERS}
    training = {
        "task": "binary",
        "model": MODELS[family],
        "window_partitions": WINDOW,
        "holdout_partitions": HOLDOUT,
        "warm_start": WARM[family] if is_warm else None,
    }
    return Pipeline.model_validate(
        {
            "name": "electricity",
            "owner": "benchmark",
            "start": FIRST,
            "source": {
                "format": "csv",
                "path": "none",
                "columns": {"interval_start": {"type": "timestamp"}, **columns, "class": {"type": "integer"}},
            },
            "key": ["interval_start"],
            "event_time": "interval_start",
            "features": {"columns": NUMBERS},
            "label": {"column": "class"},
            "training": training,
        }
    )


def context(root: Path, family: str, is_warm: bool, day: date) -> Context:
    pipeline, home = settings(family, is_warm), Home(root, REPOSITORY / "config")
    return Context(pipeline, home, Ledger(home.ledger_url), pipeline.parse(day.isoformat()), f"night-{day}")


def days_of(folder: Path, count: int) -> Iterator[tuple[date, pa.Table]]:
    table = csv.read_csv(folder / "elec2" / "elec2.csv.gz")
    at = table["interval_start"].cast(pa.timestamp("us", "UTC"))
    table = table.set_column(0, "interval_start", at)
    found = np.array([str(one) for one in at.cast(pa.date32()).to_pylist()])
    for number in range(count):
        day = FIRST + timedelta(days=number)
        yield day, table.filter(pa.array(found == day.isoformat()))


def publish(root: Path, days: list[tuple[date, pa.Table]]) -> None:
    """The tables `clean` and `features` of these days, and their accounting."""
    for day, rows in days:
        run, key = context(root, "xgboost", False, day), day.isoformat()
        ids = pa.array([f"{key}:{number:09d}" for number in range(rows.num_rows)])
        rows = rows.append_column("row_id", ids).append_column("partition", pa.array([key] * rows.num_rows))
        for table, content in (("clean", rows), ("features", rows.drop_columns(["class"]))):
            run.publish(table, run.snapshot(table), content, table_digest(content), {})
        counts = {"read": rows.num_rows, "clean": rows.num_rows, "quarantined": 0, "duplicate": 0, "reason": None}
        run.ledger.set_accounting(run.name, key, state="clean", run_id="daily", **counts)


def night(run: Context, tomorrow: pa.Table) -> Night:
    snapshot_id = snapshot(run)["snapshot_id"]
    trained = train(run, snapshot_id)
    version = int(trained["version"])
    is_better = gate(run, snapshot_id, version)["outcome"] == "PROMOTE"
    if is_better:
        promote(run, version)
    elif run.ledger.champion(run.name) is None:  # something must be gone on from
        why = {"action": "promote", "reason": "the first one", "actor": "benchmark", "run_id": run.run_id}
        run.ledger.change_champion(run.name, version, expected_seq=0, effective_from=run.partition.end, **why)
    scores = load_model(run, version).predict(tomorrow)
    loss = metric("log_loss", tomorrow["class"].to_numpy().astype(float), scores)
    return Night(float(trained["seconds"]), loss, is_better, str(trained.get("warm_start", "cold")))


def compared(family: str, days: list[tuple[date, pa.Table]], nights: int, folder: Path) -> list[tuple[Night, Night]]:
    """Cold and warm, night by night. The night before the first one gives both homes the same first champion."""
    homes = {is_warm: folder / f"{family}-{is_warm}" for is_warm in (False, True)}
    for root in homes.values():
        shutil.copytree(folder / "tables", root)
    found = []
    first = len(days) - nights - 2
    for number in range(first, first + nights + 1):
        day, (_, tomorrow) = days[number][0], days[number + 1]
        both = [night(context(homes[is_warm], family, is_warm, day), tomorrow) for is_warm in (False, True)]
        if number > first:
            found.append((both[0], both[1]))
            logging.getLogger("benchmark").info("%s %s: %s", family, day, both)
    return found


def line(family: str, nights: list[tuple[Night, Night]]) -> str:
    cold, warm = (np.array([pair[side].seconds for pair in nights]) for side in (0, 1))
    apart = np.array([pair[1].loss - pair[0].loss for pair in nights])
    chance = np.random.default_rng(20260101)
    means = chance.choice(apart, (_RESAMPLES, len(apart))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    losses = [float(np.mean([pair[side].loss for pair in nights])) for side in (0, 1)]
    promoted = [sum(pair[side].promoted for pair in nights) for side in (0, 1)]
    warm_nights = sum(pair[1].start.startswith("from") for pair in nights)
    return (
        f"| {family} | {warm_nights} of {len(nights)} | {np.median(cold):.2f} | {np.median(warm):.2f} | "
        f"{np.median(cold) / np.median(warm):.1f} | {losses[0]:.4f} | {losses[1]:.4f} | "
        f"{apart.mean():+.4f} ({low:+.4f} to {high:+.4f}) | {promoted[0]}, {promoted[1]} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--nights", type=int, default=20)
    parser.add_argument("--only", nargs="*", default=list(MODELS), choices=list(MODELS))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("benchmark").setLevel(logging.INFO)
    days = list(days_of(arguments.data, WINDOW + arguments.nights + 2))
    print(
        "| family | warm nights | cold s | warm s | ratio | cold log loss | warm log loss | difference | promoted |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as place:
        publish(Path(place, "tables"), days)
        for family in arguments.only:
            print(line(family, compared(family, days, arguments.nights, Path(place))), flush=True)


if __name__ == "__main__":
    main()
