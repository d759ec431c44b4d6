"""Realised and estimated quality, by hand and against scikit-learn."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.context import Context
from pipelines.monitoring.evidence import gather
from pipelines.monitoring.labels import labelled, matured
from pipelines.monitoring.quality import (
    METRICS,
    brier,
    estimated_quality,
    log_loss,
    measures_of,
    realised_quality,
    roc_auc,
)
from tests.builders import context, payments, put, utc

Y = np.array([1.0, 0.0, 1.0, 0.0])


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        pytest.param([0.9, 0.1, 0.8, 0.2], 1.0, id="all pairs in order"),
        pytest.param([0.5, 0.5, 0.5, 0.5], 0.5, id="ties count half"),
        pytest.param([0.9, 0.8, 0.1, 0.2], 0.5, id="two of four pairs"),
    ],
)
def test_roc_auc_by_hand(score: list[float], expected: float) -> None:
    assert roc_auc(Y, np.array(score)) == expected


def test_roc_auc_of_one_class_cannot_be_told() -> None:
    assert np.isnan(roc_auc(np.ones(3), np.array([0.1, 0.2, 0.3])))


def test_metrics_agree_with_scikit_learn() -> None:
    from sklearn import metrics

    random = np.random.default_rng(1)
    y, score = random.integers(0, 2, 500).astype(float), random.random(500).round(2)
    assert roc_auc(y, score) == pytest.approx(metrics.roc_auc_score(y, score))
    assert log_loss(y, score.clip(0.01, 0.99)) == pytest.approx(metrics.log_loss(y, score.clip(0.01, 0.99)))
    assert brier(y, score) == pytest.approx(metrics.brier_score_loss(y, score))


def test_drop_is_positive_when_worse_for_both_directions() -> None:
    random = np.random.default_rng(2)
    y, score = random.integers(0, 2, 400).astype(float), random.random(400)
    higher = realised_quality(METRICS["binary"], "roc_auc", 0.9, y, score, ["d"], True, seed=1)
    lower = realised_quality(METRICS["binary"], "log_loss", 0.3, y, score, ["d"], True, seed=1)
    assert higher is not None
    assert lower is not None
    assert higher.drop_low < higher.drop < higher.drop_high
    assert higher.drop == pytest.approx(0.9 - higher.value, abs=1e-5)
    assert lower.drop == pytest.approx(lower.value - 0.3, abs=1e-5)
    assert lower.drop > 0


def test_bounds_repeat_with_the_same_seed() -> None:
    y, score = np.tile(Y, 50), np.linspace(0, 1, 200)
    runs = {realised_quality(METRICS["binary"], "roc_auc", 0.9, y, score, ["d"], True, seed=4) for _ in range(3)}
    assert len(runs) == 1


def test_estimated_quality_by_hand() -> None:
    # One row at 0.9, one at 0.2. Accuracy: (0.9 + 0.8) / 2. Positives 1.1, negatives 0.9.
    # Pairs in order: 0.2 of negatives tie within each bin (half), positive 0.9 stands above the negative 0.8.
    found = estimated_quality(np.array([0.2, 0.9]), np.array([1, 1]))
    in_order = 0.2 * 0.8 / 2 + 0.9 * (0.8 + 0.1 / 2)
    assert found["accuracy"] == pytest.approx(0.85)
    assert found["positive_share"] == pytest.approx(0.55)
    assert found["roc_auc"] == pytest.approx(in_order / (1.1 * 0.9), rel=1e-5)


def test_estimate_meets_what_calibrated_scores_show() -> None:
    random = np.random.default_rng(5)
    chance = random.beta(1, 4, 200_000)
    y = (random.random(200_000) < chance).astype(float)
    bins = (chance * 1000).astype(int)
    rows = np.bincount(bins, minlength=1000)
    mean = np.bincount(bins, chance, 1000)[rows > 0] / rows[rows > 0]
    found = estimated_quality(mean, rows[rows > 0])
    assert found["roc_auc"] == pytest.approx(roc_auc(y, chance), abs=0.005)
    assert found["log_loss"] == pytest.approx(log_loss(y, chance), abs=0.005)


# -- labels from published tables --------------------------------------------------------------------------------

LATE: dict[str, Any] = {"label": {"column": "is_fraud", "delay_days": 2}, "monitor": {"report": "never"}}


def rows_of(partition: str, labels: list[int | None]) -> pa.Table:
    start = utc(partition)
    return payments(
        [
            {
                "row_id": f"{partition}:{number}",
                "payment_id": f"{partition}-{number}",
                "paid_at": start + timedelta(minutes=number),
                "is_fraud": label,
            }
            for number, label in enumerate(labels)
        ],
        partition,
    )


def test_labels_mature_with_their_delay(tmp_path: Path) -> None:
    run = context(tmp_path, "2026-03-04", **LATE)
    keys = ["2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04"]
    # The 4th ends on the 5th at midnight: two days earlier is the end of the 2nd.
    assert matured(run, keys) == ["2026-03-01", "2026-03-02"]


def test_latest_arrival_of_a_separate_label_counts(tmp_path: Path) -> None:
    run = context(tmp_path, "2026-03-02", **_separate())
    put(context(tmp_path, "2026-03-01", **_separate()), "clean", rows_of("2026-03-01", [None, None]))
    arrivals = {
        "2026-03-01": [("2026-03-01-0", 1), ("2026-03-01-1", 1)],
        "2026-03-02": [("2026-03-01-0", 0)],  # corrected
        "2026-03-03": [("2026-03-01-1", 0)],  # later than the monitored partition: not yet known
    }
    for key, labels in arrivals.items():
        table = pa.table(
            {
                "payment_id": [name for name, _ in labels],
                "is_fraud": pa.array([label for _, label in labels], pa.int64()),
                "row_id": [f"{key}:{name}" for name, _ in labels],
                "partition": [key] * len(labels),
            }
        )
        put(context(tmp_path, key, **_separate()), "labels_chargebacks", table)
    with run.engine("monitor") as engine:
        table = labelled(run, engine, ["2026-03-01"])
        assert table is not None
        found = engine.table(table, order_by=["row_id"]).to_pydict()
    assert dict(zip(found["row_id"], found["label"], strict=True)) == {"2026-03-01:0": 0, "2026-03-01:1": 1}


def _separate() -> dict[str, Any]:
    columns = {"payment_id": {"type": "id"}, "is_fraud": {"type": "integer"}}
    source = {"format": "csv", "path": "labels/{partition}.csv", "columns": columns}
    return {
        "label": {"column": "is_fraud", "source": "chargebacks"},
        "label_sources": {"chargebacks": {"source": source, "column": "is_fraud"}},
    }


def test_realised_quality_of_released_scores(tmp_path: Path) -> None:
    runs = [_released(tmp_path, f"2026-03-{number:02d}") for number in (3, 4)]
    model = {"version": 1, "as_of": utc("2026-03-02"), "record": {"holdout_metrics": {"roc_auc": 0.95}}}
    with runs[1].engine("monitor") as engine:
        found = gather(runs[1], engine, {"version": 1}, model, [])
    assert found.realised is not None
    assert (found.realised.value, found.realised.rows) == (1.0, 40)
    assert found.realised.partitions == ("2026-03-03", "2026-03-04")
    assert found.realised.covers_newest
    assert found.new_labels == 40
    assert found.estimated["positive_share"] == pytest.approx(0.5)


def test_hindsight_and_other_versions_are_not_realised_quality(tmp_path: Path) -> None:
    run = _released(tmp_path, "2026-03-03", version=2)
    model = {"version": 1, "as_of": utc("2026-03-02"), "record": {"holdout_metrics": {"roc_auc": 0.95}}}
    with run.engine("monitor") as engine:
        assert gather(run, engine, {"version": 1}, model, []).realised is None


def _released(root: Path, partition: str, version: int = 1) -> Context:
    """20 rows whose scores order the labels perfectly, clean and released."""
    run = context(root, partition)
    labels: list[int | None] = [0, 1] * 10
    clean = rows_of(partition, labels)
    put(run, "clean", clean)
    put(
        run,
        "predictions",
        pa.table(
            {
                "row_id": clean["row_id"],
                "payment_id": clean["payment_id"],
                "score": pa.array([0.75 if label else 0.25 for label in labels]),
                "model_version": pa.array([version] * 20, pa.int64()),
                "is_hindsight": pa.array([False] * 20),
                "release_id": pa.array(["r"] * 20),
                "partition": clean["partition"],
            }
        ),
    )
    accounting = {"read": 20, "clean": 20, "quarantined": 0, "duplicate": 0, "reason": None, "run_id": "r"}
    run.ledger.set_accounting(run.name, partition, state="clean", **accounting)
    run.ledger.record_release(
        run.name,
        partition,
        release_id=f"r-{partition}",
        model_version=version,
        row_count=20,
        digest="d",
        path="p",
        is_hindsight=False,
        run_id="r",
    )
    return run


def test_anomalies_and_quantiles_have_measures_of_their_own() -> None:
    y, score = np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.9, 0.8, 0.7, 0.1])
    assert METRICS["anomaly"]["pr_auc"][0](y, score) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    ((name, (loss, more_is_better)),) = measures_of("quantile", 0.9).items()
    assert (name, more_is_better) == ("pinball_0.9", False)
    assert loss(np.array([10.0, 20.0]), np.array([12.0, 18.0])) == pytest.approx((0.2 + 1.8) / 2)
