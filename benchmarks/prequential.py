"""Prequential quality of one home: each day scored by the model of the evening before, under three promotion policies.

    nightshift --home DIR run electricity --from 1997-03-01 --to 1997-06-30 --retrain-every 1
    python -m benchmarks.prequential --home DIR --pipeline electricity

`gated` are the scores that were released. `never` keeps the first champion for ever, `always` takes the newest
challenger of the evening before, whatever the gate said: both are scored here, by the artifacts that the run
registered, on the same rows.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import numpy as np
import pyarrow as pa

from pipelines.context import Context
from pipelines.home import Home
from pipelines.ledger import Ledger
from pipelines.models import load_model
from pipelines.runs.step import open_context

POLICIES = ("never", "always", "gated")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", required=True)
    parser.add_argument("--pipeline", required=True)
    arguments = parser.parse_args()
    home = Home.resolve(arguments.home)
    ledger = Ledger(home.ledger_url)
    released = sorted({row["partition"] for row in ledger.releases(arguments.pipeline) if row["state"] == "released"})
    truth, scores = [], defaultdict(list)
    for partition in released:
        run = open_context(arguments.pipeline, partition, "prequential", home)
        labels, by_policy = score_day(run)
        truth.append(labels)
        for policy in POLICIES:
            scores[policy].append(by_policy[policy])
    report(run, ledger, released, np.concatenate(truth), {name: np.concatenate(scores[name]) for name in POLICIES})


def score_day(run: Context) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Labels and the scores of each policy for the labelled rows of one day, in order of row id."""
    label = run.pipeline.label
    assert label is not None
    features = run.snapshot("features").read([run.key]).sort_by("row_id")
    clean = run.snapshot("clean").read([run.key], ["row_id", label.column]).sort_by("row_id")
    labels = clean[label.column].to_numpy(zero_copy_only=False).astype(float)
    known = np.isfinite(labels)
    found = {policy: predict(run, version, features)[known] for policy, version in versions(run).items()}
    return labels[known], found


def versions(run: Context) -> dict[str, int]:
    """Which model each policy scores this day with."""
    ledger, name, start = run.ledger, run.name, run.partition.start
    first, champion = ledger.champions(name)[0], ledger.champion(name, at=start)
    assert champion is not None
    newest = [row["version"] for row in ledger.models(name) if row["as_of"] <= start]
    return {"never": first["version"], "always": newest[-1], "gated": champion["version"]}


_models: dict[int, object] = {}


def predict(run: Context, version: int, features: pa.Table) -> np.ndarray:
    if version not in _models:
        _models[version] = load_model(run, version)
    return _models[version].predict(features)  # type: ignore[attr-defined]


def report(run: Context, ledger: Ledger, days: list[str], truth: np.ndarray, scores: dict[str, np.ndarray]) -> None:
    gates = ledger.decisions(run.name, "gate")
    promoted = sum(row["outcome"] == "PROMOTE" for row in gates)
    print(f"{run.name}: {len(days)} days {days[0]} to {days[-1]}, {len(truth):,} labelled rows, {len(gates)} retrains,")
    print(f"{promoted} promotions by the gate\n")
    binary = run.pipeline.training is not None and run.pipeline.training.task == "binary"
    print("| policy | accuracy | ROC AUC | log loss |" if binary else "| policy | RMSE | MAE |")
    print("|---|---|---|---|" if binary else "|---|---|---|")
    for policy in POLICIES:
        numbers = _binary(truth, scores[policy]) if binary else _regression(truth, scores[policy])
        print(f"| {policy} | " + " | ".join(f"{number:.4f}" for number in numbers) + " |")
    if binary:
        rate = max(truth.mean(), 1 - truth.mean())
        print(f"| the more frequent class | {rate:.4f} | 0.5 | |")
        print(f"| the class of half an hour before | {np.mean(truth[1:] == truth[:-1]):.4f} | | |")


def _binary(truth: np.ndarray, score: np.ndarray) -> tuple[float, float, float]:
    from sklearn.metrics import log_loss, roc_auc_score

    return (
        float(np.mean((score >= 0.5) == truth)),
        roc_auc_score(truth, score),
        log_loss(truth, np.clip(score, 1e-6, 1)),
    )


def _regression(truth: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    return float(np.sqrt(np.mean((truth - score) ** 2))), float(np.mean(np.abs(truth - score)))


if __name__ == "__main__":
    main()
