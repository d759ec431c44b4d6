"""What released scores and matured labels say from published tables: score distribution, label rate, concept."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.context import Context
from pipelines.monitoring.evidence import Evidence, gather
from pipelines.settings.monitor import Monitor
from tests.builders import context, payments, pipeline, put, utc

ROWS = 200
SETTINGS: dict[str, Any] = {"monitor": {"report": "never"}}


def publish(root: Path, day: int, score: np.ndarray, label: np.ndarray) -> Context:
    """A day of clean rows with labels, and its scores as released by version 1."""
    key = f"2026-03-{day:02d}"
    run = context(root, key, **SETTINGS)
    rows = [
        {
            "row_id": f"{key}:{number:04d}",
            "payment_id": f"{key}-{number}",
            "paid_at": utc(key) + timedelta(minutes=number),
            "is_fraud": int(one),
        }
        for number, one in enumerate(label)
    ]
    clean = payments(rows, key)
    put(run, "clean", clean)
    columns = {
        "row_id": clean["row_id"],
        "payment_id": clean["payment_id"],
        "score": pa.array(score),
        "model_version": pa.array([1] * len(rows), pa.int64()),
        "is_hindsight": pa.array([False] * len(rows)),
        "release_id": pa.array(["r"] * len(rows)),
        "partition": clean["partition"],
    }
    put(run, "predictions", pa.table(columns))
    accounting = {"read": ROWS, "clean": ROWS, "quarantined": 0, "duplicate": 0, "reason": None, "run_id": "r"}
    run.ledger.set_accounting(run.name, key, state="clean", **accounting)
    run.ledger.record_release(
        run.name,
        key,
        release_id=f"r-{key}",
        model_version=1,
        row_count=ROWS,
        digest="d",
        path="p",
        is_hindsight=False,
        run_id="r",
    )
    return run


def day_of(seed: int, rate: float = 0.0, blind: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated scores and their labels; `rate` lifts the scores, `blind` labels do not follow them."""
    random = np.random.default_rng(seed)
    score = random.beta(1, 4, ROWS) * (1 - rate) + rate
    return score, (random.random(ROWS) < (random.permutation(1 - score) if blind else score)).astype(float)


def found(root: Path, days: list[tuple[np.ndarray, np.ndarray]], reference: int = 0) -> Evidence:
    """Evidence of the last day; the first ones are the champion's reference."""
    runs = [publish(root, number, *day) for number, day in enumerate(days, start=1)]
    keys = [run.key for run in runs[:reference]]
    model = {"version": 1, "as_of": utc("2026-03-01") + timedelta(days=reference), "record": {}}
    with runs[-1].engine("monitor") as engine:
        return gather(runs[-1], engine, {"version": 1}, model, keys)


@pytest.mark.slow
def test_quiet_scores_and_labels_say_nothing(tmp_path: Path) -> None:
    evidence = found(tmp_path, [day_of(seed) for seed in range(8)], reference=4)
    assert (evidence.grade, evidence.reasons) == ("quiet", ())
    assert evidence.concept["what"] == "the mean squared error of the probability"


@pytest.mark.slow
def test_shifted_scores_are_watched(tmp_path: Path) -> None:
    evidence = found(tmp_path, [*[day_of(seed) for seed in range(6)], day_of(7, rate=0.3)])
    assert any(reason.startswith("SHIFT The score shifted: PSI") for reason in evidence.reasons)
    assert any(reason.startswith("ESTIMATE today's scores expect") for reason in evidence.reasons)


def test_label_rate_far_from_the_reference_is_watched(tmp_path: Path) -> None:
    score, _ = day_of(1)
    evidence = found(tmp_path, [*[day_of(seed) for seed in range(6)], (score, np.ones(ROWS))], reference=6)
    (reason,) = [text for text in evidence.reasons if text.startswith("LABEL_RATE")]
    assert "the newest matured labels average 1, in the reference 0.2" in reason


def test_three_reference_partitions_do_not_know_what_label_rate_is_unusual(tmp_path: Path) -> None:
    evidence = found(tmp_path, [*[day_of(seed) for seed in range(3)], day_of(3, rate=0.1)], reference=3)
    assert evidence.label_rate["limit"] > 50
    assert not any(text.startswith("LABEL_RATE") for text in evidence.reasons)


@pytest.mark.slow
def test_labels_that_no_longer_follow_the_scores_raise_an_alarm(tmp_path: Path) -> None:
    evidence = found(tmp_path, [*[day_of(seed) for seed in range(10)], *[day_of(20 + n, blind=True) for n in range(3)]])
    assert evidence.grade == "alarm"
    assert evidence.reasons[0].startswith("CONCEPT the mean squared error of the probability of released scores")
    assert evidence.concept["since"] == "2026-03-11"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        pytest.param({"psi_watch": 0.2, "psi_retrain": 0.1}, "'psi_watch' must not be above", id="watch above retrain"),
        pytest.param(
            {"weekday_profile": "always", "reference_partitions": 7}, "needs 'reference_partitions'", id="one of a day"
        ),
        pytest.param({"false_alarm_rate": 0.0}, "greater than 0", id="no false alarm is never any alarm"),
    ],
)
def test_senseless_settings_are_refused(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Monitor(**values)


def test_weekdays_need_days() -> None:
    with pytest.raises(ValueError, match="needs 'partition: day', got 'week'"):
        pipeline(partition="week", monitor={"weekday_profile": "always"})
