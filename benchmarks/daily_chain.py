"""What the daily chain costs: every step of one large partition in a process of its own, wall time and peak memory.

    python -m benchmarks.daily_chain [--rows 1000000] [--history-rows 30000]

Writes a Markdown table to standard output. A step's time includes the start of its Python process and its imports, as
under Airflow. The pipeline is the demo's, fed with payments of the same shape.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import yaml

from pipelines.home import REPOSITORY, Home
from pipelines.ledger import Ledger

NAME = "card_payments"
HISTORY = ("2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04", "2026-03-05", "2026-03-06")
LARGE = "2026-03-07"
DAILY = ("ingest", "validate", "deduplicate", "build_features", "score", "audit", "release", "monitor")
STEP = """
import json, sys
from pipelines.runs.steps import call_step
name, partition, step, given = sys.argv[1:5]
print(json.dumps(call_step(name, partition, "bench", step, arguments=json.loads(given)), default=str))
"""


@dataclass(frozen=True)
class Cost:
    step: str
    seconds: float
    peak_mib: int
    summary: dict[str, object]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--history-rows", type=int, default=30_000)
    parser.add_argument("--keep", help="folder that is not removed afterwards")
    arguments = parser.parse_args()
    root = Path(arguments.keep or tempfile.mkdtemp(prefix="nightshift-bench-"))
    try:
        home = prepare(root)
        random = np.random.default_rng(1)
        for partition in HISTORY:
            write_day(root, partition, arguments.history_rows, random)
            run_partition(home, partition, DAILY[:4])
        retrain(home, HISTORY[-1])
        write_day(root, LARGE, arguments.rows, random)
        print_table(run_partition(home, LARGE, DAILY), arguments.rows)
    finally:
        if not arguments.keep:
            shutil.rmtree(root, ignore_errors=True)


def prepare(root: Path) -> Home:
    """A home and a configuration of its own, with one scoring shard and room for the whole partition in one GX run."""
    config = root / "config"
    shutil.copytree(REPOSITORY / "config", config, dirs_exist_ok=True)
    shutil.copytree(REPOSITORY / "expectations", root / "expectations", dirs_exist_ok=True)
    path = config / "pipelines" / f"{NAME}.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["score"] = {"shards": 1}
    settings["validate"] = settings["validate"] | {"volume": {"max_ratio": 1e9}, "gx_row_limit": 20_000_000}
    settings["audit"] = {"max_shift": 1e9}
    path.write_text(yaml.safe_dump(settings, sort_keys=False, default_flow_style=False))
    return Home.resolve(root / "home", config)


def write_day(root: Path, partition: str, rows: int, random: np.random.Generator) -> None:
    """Payments, their labels (into the next day's file) and card terms, straight from numpy."""
    inbox = root / "home" / "inbox"
    cards = max(rows // 20, 50)
    start = np.datetime64(partition, "s")
    paid_at = np.sort(start + random.integers(0, 86_400, rows).astype("timedelta64[s]"))
    prefix = partition.replace("-", "")[2:]
    fraud = random.random(rows) < 0.05
    amount = np.exp(random.normal(3.3, 0.8, rows)) * np.where(fraud, 2.5, 1.0)
    ids = pa.array([f"{prefix}{number:08d}" for number in range(rows)])
    payments = pa.table(
        {
            "payment_id": ids,
            "card_id": pa.array([f"{card:06d}" for card in random.integers(0, cards, rows)]),
            "merchant_id": pa.array([f"M{merchant:04d}" for merchant in random.integers(0, 2000, rows)]),
            "paid_at": _seconds(paid_at),
            "received_at": _seconds(paid_at + random.integers(0, 300, rows).astype("timedelta64[s]")),
            "amount_eur": np.round(np.maximum(amount, 0.01), 2),
            "country": random.choice(["DE", "FR", "NL", "AT", "PL", "ES"], rows),
            "channel": random.choice(["online", "pos"], rows),
            "merchant_category": random.choice(["grocery", "fuel", "travel", "gaming"], rows),
            "device_score": np.round(np.where(fraud, random.beta(4, 3, rows), random.beta(2, 6, rows)), 4),
        }
    )
    _write(payments, inbox / "payments" / f"{partition}.csv.gz")
    labels = pa.table({"payment_id": ids, "is_fraud": fraud.astype(np.int8)})
    _write(labels, inbox / "chargebacks" / f"{np.datetime64(partition) + 1}.csv")
    terms = pa.table(
        {
            "card_id": [f"{card:06d}" for card in range(cards)],
            "card_type": random.choice(["debit", "credit"], cards),
            "valid_from": ["2025-01-01 00:00:00"] * cards,
            "credit_limit_eur": random.choice([500, 1000, 5000], cards),
        }
    )
    _write(terms, inbox / "cards" / f"{partition}.csv")


def _seconds(moments: np.ndarray) -> list[str]:
    return [text.replace("T", " ") for text in np.datetime_as_string(moments, unit="s")]


def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    options = pacsv.WriteOptions(quoting_style="none")
    if path.suffix == ".gz":
        with pa.CompressedOutputStream(str(path), "gzip") as stream:
            pacsv.write_csv(table, stream, options)
    else:
        pacsv.write_csv(table, path, options)


def run_partition(home: Home, partition: str, steps: tuple[str, ...]) -> list[Cost]:
    costs = []
    for step in steps:
        costs.append(run_step(home, partition, step))
        print(f"{partition} {step}: {costs[-1].seconds:.1f} s, {costs[-1].peak_mib:,} MiB", file=sys.stderr)
    return costs


def run_step(home: Home, partition: str, step: str, given: dict[str, object] | None = None) -> Cost:
    """Runs one step in a fresh process and measures that process."""
    started = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-c", STEP, NAME, partition, step, json.dumps(given or {})],
        env={**os.environ, **home.environment()},
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert child.stdout is not None
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        raise SystemExit(f"{step} of {partition} ended with {os.waitstatus_to_exitcode(status)}")
    summary = json.loads(output.strip().splitlines()[-1])
    return Cost(step, time.perf_counter() - started, usage.ru_maxrss // 1024, summary)


def retrain(home: Home, partition: str) -> None:
    snapshot = run_step(home, partition, "snapshot").summary["snapshot_id"]
    version = run_step(home, partition, "train", {"snapshot_id": snapshot}).summary["version"]
    both = {"snapshot_id": snapshot, "version": version}
    run_step(home, partition, "evaluate", both)
    decision = run_step(home, partition, "gate", both).summary
    run_step(home, partition, "promote", {"version": version})
    if Ledger(home.ledger_url).champion(NAME) is None:
        raise SystemExit(f"the benchmark needs a champion, the gate said {decision}")


def print_table(costs: list[Cost], rows: int) -> None:
    print("\n| step | seconds | rows per second | peak MiB |\n|---|---|---|---|\n", end="")
    for cost in costs:
        print(f"| {cost.step} | {cost.seconds:.1f} | {rows / cost.seconds:,.0f} | {cost.peak_mib:,} |")
    total = sum(cost.seconds for cost in costs)
    print(f"| all | {total:.1f} | {rows / total:,.0f} | {max(cost.peak_mib for cost in costs):,} |")


if __name__ == "__main__":
    main()
