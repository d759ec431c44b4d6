"""Models without labels through the steps: frozen, trained, judged, promoted, scored, released, monitored, rebuilt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipelines.context import Context
from pipelines.models import load_model
from pipelines.monitoring import monitor
from pipelines.training import evaluate, gate, promote, replay, snapshot, train
from tests.model.feeds import TRAINING, at, day
from tests.scoring import run_all

DAYS = ("2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04")
pytestmark = pytest.mark.slow


def sklearn(name: str, **parameters: Any) -> dict[str, Any]:
    return {"family": "sklearn", "estimator": name, "parameters": parameters}


def settings(task: str, model: dict[str, Any], **gate_settings: Any) -> dict[str, Any]:
    return {
        "label": None,
        "training": TRAINING | {"task": task, "model": model, "missing": {"default": {"strategy": "median"}}},
        "features": {"columns": ["amount_eur"]},
        "gate": {"policy": "bootstrap", **gate_settings},
        "audit": {"max_shift": 5.0},
        "monitor": {"report": "never"},
    }


def amounts(partition: str, shift: float = 0.0, strange: float = 0.0) -> list[dict[str, Any]]:
    """Half of the payments near 10 EUR, a third near 50, the others near 90; to one in fifty `strange` is added."""
    random = np.random.default_rng(int(partition[-2:]))
    centres = np.resize([10.0] * 3 + [50.0] * 2 + [90.0], 300)
    values = random.normal(centres, 2.0) + shift
    values[::50] += strange
    return [{"amount_eur": float(value)} for value in values]


def retrained(run: Context) -> tuple[int, dict[str, Any]]:
    """The new version and what the gate said; promoted where it may be."""
    snapshot_id = snapshot(run)["snapshot_id"]
    version = train(run, snapshot_id)["version"]
    evaluate(run, snapshot_id, version)
    decision = gate(run, snapshot_id, version)
    if decision["outcome"] == "PROMOTE":
        promote(run, version)
    return version, decision


def test_segments_keep_their_numbers_over_nights(new_home):
    # A margin below 0: what is as good is renewed.
    run = new_home(DAYS[-1], **settings("segments", sklearn("KMeans", n_clusters=3), margin=-0.1))
    for partition in (*DAYS, "2026-03-05", "2026-03-06"):
        day(run, partition, amounts(partition))
    first, decision = retrained(run)
    assert decision["outcome"] == "PROMOTE", decision["reasons"]
    assert decision["reasons"] == ["there is no champion yet: nothing to agree with"]
    assert run_all(at(run, "2026-03-05"))["state"] == "done"
    released = run.snapshot("predictions").read(["2026-03-05"])
    near = dict(zip(np.round(_amounts(run, "2026-03-05"), -1), released["predicted_label"].to_pylist(), strict=True))
    # The largest segment is the first.
    assert (near[10.0], near[50.0], near[90.0]) == ("segment_1", "segment_2", "segment_3")
    columns = [released[f"score_segment_{number}"].to_numpy() for number in (1, 2, 3)]
    assert np.sum(columns, axis=0) == pytest.approx(np.ones(released.num_rows))
    later = at(run, "2026-03-06", "retrain-2")
    summary = monitor(at(run, "2026-03-05"))
    assert summary["decision"] == "OK", summary
    second, decision = retrained(later)
    assert decision["outcome"] == "PROMOTE", decision["reasons"]
    assert "adjusted Rand index" in run.ledger.decisions(run.name, "gate")[-1]["numbers"]["checks"][-1]["text"]
    record = run.ledger.model(run.name, second)["record"]
    assert (record["classes"], record["facts"]["named_after"]) == (["segment_1", "segment_2", "segment_3"], first)
    table = run.snapshot("features").read(["2026-03-06"])
    both = [load_model(run, version).predict(table).argmax(axis=1) for version in (first, second)]
    assert np.mean(both[0] == both[1]) > 0.95
    for version in (first, second):
        assert replay(at(run, "2026-03-07", "replay"), version)["verdict"] == "equal"


def test_rows_that_move_to_another_segment_are_watched(new_home):
    run = new_home(DAYS[-1], **settings("segments", sklearn("KMeans", n_clusters=3)))
    later = ("2026-03-05", "2026-03-06", "2026-03-07")
    for partition in (*DAYS, *later):
        day(run, partition, amounts(partition))
    day(run, "2026-03-08", [{"amount_eur": 90.0 + number % 5} for number in range(250)] + amounts("2026-03-08")[:50])
    retrained(run)
    for partition in (*later, "2026-03-08"):
        assert run_all(at(run, partition))["state"] == "done"
    monitor(at(run, "2026-03-07"))
    assert run.ledger.decisions(run.name, "drift")[-1]["numbers"]["score_psi"] is None  # too few releases before
    monitor(at(run, "2026-03-08"))
    last = run.ledger.decisions(run.name, "drift")[-1]
    assert last["numbers"]["score_psi"] > 0.25
    assert [one for one in last["reasons"] if "The segment" in one], last["reasons"]


def _amounts(run: Context, partition: str) -> np.ndarray:
    return run.snapshot("features").read([partition])["amount_eur"].to_numpy()


def test_segments_that_would_change_their_meaning_are_held(new_home):
    run = new_home(DAYS[-1], **settings("segments", sklearn("KMeans", n_clusters=3), margin=-1.0, min_agreement=0.99))
    for partition in DAYS:
        day(run, partition, amounts(partition))
    retrained(run)
    random = np.random.default_rng(1)
    for partition in ("2026-03-05", "2026-03-06", "2026-03-07", "2026-03-08"):
        day(run, partition, [{"amount_eur": float(value)} for value in random.uniform(0, 100, 300)])
    changed = at(run, "2026-03-08", "retrain-2", **settings("segments", sklearn("KMeans", n_clusters=5), margin=-1.0))
    version, decision = retrained(changed)
    assert decision["outcome"] == "HOLD"
    assert "adjusted Rand index" in decision["reasons"][0]
    # Three keep a known number, and the two that are new have numbers that were never given.
    assert load_model(run, version).classes == [f"segment_{number}" for number in (1, 2, 3, 4, 5)]


def test_rows_without_structure_make_no_first_segments(new_home):
    run = new_home(DAYS[-1], **settings("segments", sklearn("KMeans", n_clusters=3), floor=0.8))
    random = np.random.default_rng(1)
    for partition in DAYS:
        day(run, partition, [{"amount_eur": float(value)} for value in random.uniform(0, 100, 300)])
    _, decision = retrained(run)
    assert decision["outcome"] == "REJECT"
    assert decision["reasons"][0].startswith("mean silhouette 0.")
    assert decision["reasons"][0].endswith("on 300 rows, floor 0.8")


DETECTORS = {
    "forest": sklearn("IsolationForest", n_estimators=50),
    "covariance": sklearn("EllipticEnvelope"),
    "autoencoder": {"family": "torch", "hidden_layers": [8, 2], "epochs": 20, "batch_rows": 64, "learning_rate": 0.01},
}


@pytest.mark.parametrize("name", DETECTORS)
def test_anomalies_without_labels_are_found_and_renewed(new_home, name):
    run = new_home(DAYS[-1], **settings("anomaly", DETECTORS[name]))
    for partition in (*DAYS, "2026-03-05", "2026-03-06"):
        day(run, partition, amounts(partition, strange=500.0))
    _, decision = retrained(run)
    assert decision["outcome"] == "PROMOTE", decision["reasons"]
    assert run_all(at(run, "2026-03-05"))["state"] == "done"
    released = run.snapshot("predictions").read(["2026-03-05"])
    strangest = np.argsort(-released["score"].to_numpy())[:6]
    assert set(strangest) == set(np.flatnonzero(_amounts(run, "2026-03-05") > 300))
    second, decision = retrained(at(run, "2026-03-06", "retrain-2"))
    assert decision["outcome"] == "PROMOTE", decision["reasons"]
    assert decision["reasons"][-1].startswith("champion version 1 ranks the rows that the challenger finds strangest")
    assert replay(at(run, "2026-03-07", "replay"), second)["verdict"] == "equal"


def test_a_detector_that_flags_half_of_a_day_is_held(new_home):
    run = new_home(DAYS[-1], **settings("anomaly", DETECTORS["covariance"]))
    for partition in DAYS:
        day(run, partition, amounts(partition, shift=200.0 if partition == DAYS[-1] else 0.0))
    _, decision = retrained(run)
    assert decision["outcome"] == "HOLD"
    assert decision["reasons"][0].startswith(
        "100.00% of the holdout lie above the score that 1.00% of the training rows"
    )


def test_a_pipeline_without_labels_asks_for_a_first_model_when_it_has_rows(new_home):
    run = new_home(DAYS[-1], **settings("segments", sklearn("KMeans", n_clusters=3)))
    run = at(run, DAYS[-1], **settings("segments", sklearn("KMeans")), retrain={"first_after_partitions": 4})
    for partition in DAYS:
        day(run, partition, amounts(partition))
    summary = monitor(run)
    assert summary["decision"] == "RETRAIN"
    assert "1,200 rows in 4 partitions suffice" in summary["reasons"][0]
