"""Late, corrected and missing labels: what is known when, which days wait, and where labels are missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.context import Context
from pipelines.monitoring import monitor
from pipelines.monitoring.evidence import gather
from pipelines.monitoring.label_shares import judgeable, label_shares, missing_pattern
from pipelines.training import snapshot
from pipelines.training.dataset import read_frozen
from tests.builders import put, utc
from tests.model.feeds import LATE_LABELS, TRAINING, arrivals, at, context, day
from tests.scoring import promote

DAYS = ("2026-03-01", "2026-03-02", "2026-03-03")


def label(min_share: float | None = None, **changes: Any) -> dict[str, Any]:
    return LATE_LABELS | {"label": LATE_LABELS["label"] | {"min_share": min_share} | changes}


@pytest.fixture
def run(tmp_path: Path) -> Context:
    """Three days of four payments each; labels arrive a day later, a few of them much later or corrected."""
    made = context(tmp_path, "2026-03-04", **label())
    for partition in DAYS:
        day(made, partition, [{"amount_eur": float(number)} for number in range(4)])
    arrivals(made, "2026-03-02", [(f"2026-03-01-{number}", number % 2) for number in range(3)])  # the last is late
    arrivals(made, "2026-03-03", [("2026-03-02-0", 1), ("2026-03-01-0", 1)])  # one of four; a correction
    arrivals(made, "2026-03-04", [(f"2026-03-03-{number}", number % 2) for number in range(4)])
    arrivals(made, "2026-03-05", [("2026-03-01-3", 1), ("2026-03-01-0", 0)])  # late; corrected once more
    arrivals(made, "2026-03-06", [(f"2026-03-02-{number}", number % 2) for number in (1, 2, 3)])  # late
    return made


def told(run: Context, partition: str, as_of: str) -> dict[str, float]:
    """Labels of one day as a retrain of another day freezes them, by the payment's number."""
    here = at(run, as_of, training=TRAINING, **label())
    frozen = read_frozen(here, snapshot(here)["snapshot_id"])
    rows = [row for part in ("train", "holdout") for row in frozen.table(here, part).to_pylist()]
    return {row["payment_id"][-1]: row["target_value"] for row in rows if row["partition"] == partition}


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [
        pytest.param("2026-03-03", {"0": 1.0, "1": 1.0, "2": 0.0}, id="corrected, the last not there yet"),
        pytest.param("2026-03-04", {"0": 1.0, "1": 1.0, "2": 0.0}, id="nothing new"),
        pytest.param(
            "2026-03-05", {"0": 0.0, "1": 1.0, "2": 0.0, "3": 1.0}, id="corrected again, the late one is used"
        ),
    ],
)
def test_a_retrain_knows_the_labels_of_its_own_day(run: Context, as_of: str, expected: dict[str, float]) -> None:
    """Whenever it runs: all arrivals are there already."""
    assert told(run, "2026-03-01", as_of) == expected


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [
        ("2026-03-01", [0.0, 0.0, 0.0]),
        ("2026-03-03", [0.75, 0.25, 0.0]),
        ("2026-03-05", [1.0, 0.25, 1.0]),
        ("2026-03-06", [1.0, 1.0, 1.0]),
    ],
)
def test_shares_of_labelled_rows_are_those_of_the_moment(run: Context, as_of: str, expected: list[float]) -> None:
    with run.engine("monitor") as engine:
        assert label_shares(at(run, as_of), engine, DAYS) == dict(zip(DAYS, expected, strict=True))


def test_a_day_with_too_few_labels_waits_and_an_excluded_one_is_never_judged(run: Context) -> None:
    settings = label(min_share=0.5) | {"training": TRAINING | {"exclude_partitions": ["2026-03-03"]}}
    with run.engine("monitor") as engine:
        found = judgeable(at(run, "2026-03-05", **settings), engine, DAYS)
        later = judgeable(at(run, "2026-03-06", **settings), engine, DAYS)
        unasked = judgeable(at(run, "2026-03-05", **label()), engine, DAYS, measured=DAYS[:1])
    assert (found.partitions, found.waiting) == (["2026-03-01"], {"2026-03-02": 0.25})
    assert found.sentence == (
        "fewer than 50% of the rows have a label in '2026-03-02: 25%'; judged when their labels arrive "
        "(label.min_share)."
    )
    assert (later.partitions, later.sentence) == (["2026-03-01", "2026-03-02"], "")
    assert (unasked.partitions, unasked.shares) == (list(DAYS), {"2026-03-01": 1.0})


def test_a_training_leaves_out_the_day_that_waits_and_says_so(run: Context) -> None:
    here = at(run, "2026-03-05", training=TRAINING, **label(min_share=0.5))
    found = snapshot(here)
    frozen = read_frozen(here, found["snapshot_id"])
    assert [*frozen.training_partitions, *frozen.holdout_partitions] == ["2026-03-01", "2026-03-03"]
    assert "in '2026-03-02: 25%'" in found["waiting"]
    without = snapshot(at(run, "2026-03-05", training=TRAINING, **label()))
    assert (without["unlabelled"], "waiting" in without) == (3, False)


def release(run: Context, partition: str, scores: list[float]) -> None:
    here = at(run, partition, **label())
    count = len(scores)
    rows = {
        "row_id": [f"{partition}:{number:09d}" for number in range(count)],
        "score": scores,
        "model_version": pa.array([1] * count, pa.int64()),
        "is_hindsight": [False] * count,
        "partition": [partition] * count,
    }
    put(here, "predictions", pa.table(rows))
    values = {"release_id": partition, "model_version": 1, "row_count": count, "digest": "d", "path": "p"}
    run.ledger.record_release(run.name, partition, is_hindsight=False, run_id="r", **values)


MODEL: dict[str, Any] = {"version": 1, "as_of": utc("2026-02-28"), "record": {"holdout_metrics": {"roc_auc": 0.9}}}


def evidence(run: Context, as_of: str, **changes: Any) -> Any:
    here = at(run, as_of, **(label(min_share=0.5) | changes))
    with here.engine("monitor") as engine:
        return gather(here, engine, {"version": 1}, MODEL, [])


def test_a_day_is_judged_when_its_labels_arrive_and_past_decisions_stay(run: Context) -> None:
    for partition in DAYS:
        release(run, partition, [0.1, 0.9, 0.2, 0.8])
    window = {"training": TRAINING | {"holdout_partitions": 3}}
    waiting, later = evidence(run, "2026-03-05", **window), evidence(run, "2026-03-06", **window)
    assert waiting.realised.partitions == ("2026-03-01", "2026-03-03")
    assert waiting.labels["waiting"] == ["2026-03-02"]
    assert waiting.notes == (
        "WAITING fewer than 50% of the rows have a label in '2026-03-02: 25%'; judged when their labels arrive "
        "(label.min_share).",
    )
    assert not [reason for reason in waiting.reasons if reason.startswith("WAITING")]  # no alarm by itself
    assert (later.realised.partitions, later.notes) == (DAYS, ())
    assert later.realised.rows == 12
    # Asked again as of the 5th, now that everything has arrived: the same answer.
    assert evidence(run, "2026-03-05", **window) == waiting


def test_the_monitors_record_says_what_waits(run: Context) -> None:
    settings = label(min_share=0.5) | {"monitor": {"report": "never"}}
    for partition in DAYS:
        release(run, partition, [0.1, 0.9, 0.2, 0.8])
    day(run, "2026-03-05", [{"amount_eur": float(number)} for number in range(4)])
    here = at(run, "2026-03-05", **settings)
    run.ledger.record_model(
        run.name, run_id="train-1", mlflow_run_id=None, artifact_uri="none", artifact_sha256="a" * 64,
        as_of=MODEL["as_of"], record=MODEL["record"] | {"features": ["amount_eur"], "classes": ["0", "1"]},
    )  # fmt: skip
    promote(here, 1, utc("2026-02-28"))
    assert monitor(here)["decision"] == "OK"
    (decision,) = run.ledger.decisions(run.name, "drift", "2026-03-05")
    assert [reason[:26] for reason in decision["reasons"]] == ["WAITING fewer than 50% of "]
    assert decision["numbers"]["labels"]["shares"] == {"2026-03-01": 1.0, "2026-03-02": 0.25, "2026-03-03": 1.0}
    assert decision["numbers"]["labels"]["waiting"] == ["2026-03-02"]
    assert decision["numbers"]["realised"]["partitions"] == ["2026-03-01", "2026-03-03"]


def test_more_waiting_days_than_a_window_has_are_worth_a_look(run: Context) -> None:
    for partition in DAYS:
        release(run, partition, [0.1, 0.9, 0.2, 0.8])
    found = evidence(run, "2026-03-04", training=TRAINING, **label(min_share=0.9))
    assert found.labels["waiting"] == ["2026-03-01", "2026-03-02"]  # three of four, one of four
    assert found.realised.partitions == ("2026-03-03",)
    assert [reason.split()[0] for reason in found.reasons] == ["WAITING"]


def test_labels_that_are_missing_for_high_scores_are_seen(run: Context) -> None:
    """On the 2nd the one label is that of the lowest score; of the 1st and the 3rd all are there."""
    for partition in DAYS:
        release(run, partition, [0.1, 0.2, 0.8, 0.9])
    here = at(run, "2026-03-05", **label(), gate={"slices": ["country"]})
    with here.engine("monitor") as engine:
        one = missing_pattern(here, engine, ["2026-03-02"], 1)
        all_ = missing_pattern(here, engine, DAYS, 1)
        other = missing_pattern(here, engine, DAYS, 2)
    assert [(row["value"], row["rows"], row["share"]) for row in one["score"]] == [
        *((1, 1, 1.0), (2, 1, 0.0), (3, 1, 0.0), (4, 1, 0.0)),
    ]
    assert one["country"] == [{"value": "DE", "rows": 4, "share": 0.25}]
    assert all_["country"] == [{"value": "DE", "rows": 12, "share": 0.75}]
    assert other == {}
