"""Families and tasks through the steps: frozen, trained, judged, promoted, and the next day scored and released."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipelines.models import load_model
from pipelines.training import evaluate, gate, promote, snapshot, train
from tests.model.feeds import TRAINING, at, day
from tests.scoring import run_all

DAYS = ("2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04")
NEXT = "2026-03-05"
NETWORK = {"family": "torch", "hidden_layers": [8, 2], "dropout": 0.0, "epochs": 20, "batch_rows": 64}
pytestmark = pytest.mark.slow


def sklearn(name: str, **parameters: Any) -> dict[str, Any]:
    return {"family": "sklearn", "estimator": name, "parameters": parameters}


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "elastic net": ({}, sklearn("LogisticRegression", l1_ratio=0.5, solver="saga")),
    "support vectors": ({}, sklearn("SVC")),
    "neighbours": ({}, sklearn("KNeighborsClassifier", n_neighbors=15)),
    "naive Bayes": ({}, sklearn("GaussianNB")),
    "boosted trees": ({}, sklearn("HistGradientBoostingClassifier", max_iter=20, max_depth=2)),
    "stacking": (
        {},
        {
            "family": "ensemble",
            "combine": "stacking",
            "members": {"trees": {"family": "xgboost", "rounds": 10}, "plain": sklearn("LogisticRegression")},
            "folds": 3,
        },
    ),
    "quantile": ({"task": "quantile", "quantile": 0.8}, {"family": "xgboost", "rounds": 30}),
    "anomaly": ({"task": "anomaly"}, sklearn("IsolationForest", n_estimators=30)),
    "autoencoder": ({"task": "anomaly"}, {**NETWORK, "learning_rate": 0.01}),
}


def rows(task: str, partition: str, count: int = 300) -> list[dict[str, Any]]:
    """Fraud above 60 EUR, one in ten labels wrong; anomalies are one in fifteen, far above all others."""
    random = np.random.default_rng(int(partition[-2:]))
    amounts = random.uniform(0, 100, count)
    frauds = (amounts > 60) ^ (random.random(count) < 0.1)
    if task == "anomaly":
        frauds = np.arange(count) % 15 == 0
        amounts = np.where(frauds, amounts + 200, amounts)
    return [
        {"amount_eur": float(amount), "is_fraud": int(fraud), "country": "DE" if fraud else "FR"}
        for amount, fraud in zip(amounts, frauds, strict=True)
    ]


def settings(changes: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    training = TRAINING | {"task": "binary", "model": model, "missing": {"default": {"strategy": "mode"}}} | changes
    found: dict[str, Any] = {"training": training, "gate": {"policy": "bootstrap"}, "audit": {"max_shift": 5.0}}
    found["features"] = {"columns": ["amount_eur"]}
    if training["task"] == "anomaly":  # which the amount alone tells
        found["gate"] |= {"leakage": None}
    if training["task"] == "quantile":  # of the amount, which is higher where the country is Germany
        found |= {"label": {"column": "amount_eur"}, "features": {"columns": ["country"]}}
    return found


@pytest.mark.parametrize("name", CASES)
def test_a_family_goes_through_the_chain(new_home, name):
    changes, model = CASES[name]
    task = changes.get("task", "binary")
    run = new_home(DAYS[-1], **settings(changes, model))
    for partition in (*DAYS, NEXT):
        day(run, partition, rows(task, partition))
    snapshot_id = snapshot(run)["snapshot_id"]
    version = train(run, snapshot_id)["version"]
    evaluate(run, snapshot_id, version)
    decision = gate(run, snapshot_id, version)
    assert decision["outcome"] == "PROMOTE", decision["reasons"]
    promote(run, version)
    assert run_all(at(run, NEXT))["state"] == "done"
    assert load_model(run, version).task == task
    assert run.ledger.model(run.name, version)["record"]["family"] == model["family"]
