"""Monitor from published tables to decision: quiet days stay quiet, a dead or shifted column retrains."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.context import Context
from pipelines.monitoring import monitor
from tests.builders import context, put

ROWS = 300
FIRST = 14  # reference partitions: 1 to 14 March; the champion scores from the 15th
SETTINGS: dict[str, Any] = {
    "features": {"columns": ["amount_eur", "country"]},
    "monitor": {"report": "never", "min_new_labels": 0, "cooldown_partitions": 0},
}
IMPORTANCE = {"amount_eur": 0.7, "country": 0.3, "noise": 0.0}
Change = Callable[[dict[str, Any]], None]


def day(number: int) -> str:
    return f"2026-03-{number:02d}"


def frame(number: int, change: Change | None = None, rows: int = ROWS) -> dict[str, Any]:
    """Feature columns of one day; the same generator every day, so that days differ by chance alone."""
    random = np.random.default_rng(number)
    columns: dict[str, Any] = {
        "amount_eur": random.lognormal(3, 1, rows),
        "country": random.choice(["AT", "DE", "FR"], rows, p=[0.2, 0.5, 0.3]).tolist(),
        "noise": random.normal(size=rows),
    }
    if change:
        change(columns)
    return columns


def publish_day(root: Path, number: int, change: Change | None = None, rows: int = ROWS, **settings: Any) -> Context:
    run = context(root, day(number), **(SETTINGS | settings))
    columns = frame(number, change, rows)
    table = pa.table(
        {
            "row_id": pa.array([f"{number:016d}:{row:09d}" for row in range(rows)], pa.string()),
            "payment_id": pa.array([f"{number}-{row}" for row in range(rows)], pa.string()),
            "paid_at": pa.array([run.partition.start + timedelta(seconds=row) for row in range(rows)]).cast(
                pa.timestamp("us", "UTC")
            ),
            "amount_eur": pa.array(columns["amount_eur"], pa.float64()),
            "country": pa.array(columns["country"], pa.string()),
            "noise": pa.array(columns["noise"], pa.float64()),
            "partition": pa.array([run.key] * rows, pa.string()),
        }
    )
    put(run, "features", table)
    accounting = {"read": rows, "clean": rows, "quarantined": 0, "duplicate": 0, "reason": None}
    run.ledger.set_accounting(run.name, run.key, state="clean", run_id=run.run_id, **accounting)
    return run


def promote(run: Context, as_of: int = FIRST + 1, version_run: str = "retrain-1") -> int:
    """A champion trained on everything before the morning of day `as_of`, in force from then on."""
    moment = run.pipeline.parse(day(as_of)).start
    version = run.ledger.record_model(
        run.name,
        run_id=version_run,
        as_of=moment,
        mlflow_run_id=None,
        artifact_uri="file:///nowhere",
        artifact_sha256="0" * 64,
        record={"features": list(IMPORTANCE), "importance": IMPORTANCE, "metrics": {"roc_auc": 0.8}},
    )
    run.ledger.change_champion(
        run.name,
        version,
        expected_seq=version - 1,
        effective_from=moment,
        action="promote",
        reason="test",
        actor="test",
        run_id=version_run,
    )
    return version


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    for number in range(1, FIRST + 1):
        run = publish_day(tmp_path, number)
    promote(run)
    return tmp_path


def _die(columns: dict[str, Any]) -> None:
    columns["amount_eur"] = [None] * len(columns["amount_eur"])


def _freeze(columns: dict[str, Any]) -> None:
    columns["country"] = ["DE"] * len(columns["country"])


def _change_unit(columns: dict[str, Any]) -> None:
    columns["amount_eur"] = columns["amount_eur"] * 100


def _lose_some(columns: dict[str, Any]) -> None:
    columns["amount_eur"] = [value if row % 10 else None for row, value in enumerate(columns["amount_eur"])]


def _rename_category(columns: dict[str, Any]) -> None:
    columns["country"] = ["Germany" if country == "DE" else country for country in columns["country"]]


def _kill_noise(columns: dict[str, Any]) -> None:
    columns["noise"] = [0.0] * len(columns["noise"])


def test_quiet_day_is_ok(trained: Path) -> None:
    summary = monitor(publish_day(trained, 15))
    assert (summary["decision"], summary["reasons"], summary["trigger"]) == ("OK", [], False)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(_die, "DEAD_COLUMN 'amount_eur' (70% of the model's importance) is null", id="all null"),
        pytest.param(_freeze, "DEAD_COLUMN 'country' (30% of the model's importance) holds one value", id="constant"),
        pytest.param(_change_unit, "SHIFT 'amount_eur'", id="euros became cents"),
        pytest.param(_lose_some, "NULLS 'amount_eur' (70% of the model's importance): missing values 0.0%", id="nulls"),
        pytest.param(_rename_category, "SHIFT 'country'", id="a category was renamed"),
    ],
)
def test_broken_important_column_retrains_on_its_second_day(trained: Path, change: Change, reason: str) -> None:
    first = monitor(publish_day(trained, 15, change))
    second = monitor(publish_day(trained, 16, change))
    assert (first["decision"], second["decision"]) == ("WATCH", "RETRAIN")
    assert (first["trigger"], second["trigger"]) == (False, True)
    assert first["reasons"][0].startswith(reason)


def test_dead_column_that_does_not_matter_is_only_watched(trained: Path) -> None:
    decisions = [monitor(publish_day(trained, number, _kill_noise))["decision"] for number in (15, 16, 17)]
    assert decisions == ["WATCH"] * 3


def test_renamed_category_reports_the_share_of_new_ones(trained: Path) -> None:
    reasons = monitor(publish_day(trained, 15, _rename_category))["reasons"]
    (reason,) = [text for text in reasons if text.startswith("NEW_CATEGORIES 'country'")]
    assert "% of rows hold categories that the reference never held, limit 5.6%" in reason


def test_empty_partition_is_no_data_and_no_vote(trained: Path) -> None:
    monitor(publish_day(trained, 15, _die))
    assert monitor(publish_day(trained, 16, rows=0))["decision"] == "NO_DATA"
    assert monitor(publish_day(trained, 17, _die))["decision"] == "RETRAIN"


def test_partition_without_features_is_skipped_without_a_decision(trained: Path) -> None:
    run = context(trained, day(15), **SETTINGS)
    assert monitor(run)["state"] == "skipped"
    assert run.ledger.decisions(run.name, "drift") == []


def test_same_inputs_same_decision_and_same_bytes(trained: Path) -> None:
    run = publish_day(trained, 15, _change_unit)
    path = run.home.root / "reports" / run.name / "drift" / "2026-03-15.parquet"
    first = monitor(run)
    content = path.read_bytes()
    assert monitor(run) == first
    assert path.read_bytes() == content
    (decision,) = run.ledger.decisions(run.name, "drift", run.key)  # the retry replaced its own
    assert decision["outcome"] == "WATCH"


def test_later_partitions_do_not_change_an_earlier_decision(trained: Path) -> None:
    run = publish_day(trained, 15, _die)
    first = monitor(run)
    for number in (16, 17):
        monitor(publish_day(trained, number, _die))
    again = monitor(context(trained, day(15), "backfill", **SETTINGS))
    assert (again["decision"], again["reasons"]) == (first["decision"], first["reasons"])


def test_backfill_of_a_past_day_decides_but_never_triggers(trained: Path) -> None:
    runs = [publish_day(trained, number, _die) for number in (15, 16, 17)]
    assert [monitor(run)["trigger"] for run in runs[:2]] == [False, True]
    monitor(runs[2])
    again = monitor(context(trained, day(16), "backfill", **SETTINGS))
    assert (again["decision"], again["trigger"]) == ("RETRAIN", False)


def test_replaced_champion_is_not_replaced_twice(trained: Path) -> None:
    monitor(publish_day(trained, 15, _die))
    run = publish_day(trained, 16, _die)
    assert monitor(run)["trigger"]
    promote(run, as_of=17, version_run="retrain-2")
    again = monitor(context(trained, day(16), "again", **SETTINGS))
    assert (again["decision"], again["trigger"]) == ("RETRAIN", False)


def test_same_alarm_of_another_run_does_not_start_a_second_retrain(trained: Path) -> None:
    monitor(publish_day(trained, 15, _die))
    run = publish_day(trained, 16, _die)
    assert monitor(run)["trigger"]
    assert monitor(run)["trigger"], "a killed task that is tried again must still start the retrain"
    assert not monitor(context(trained, day(16), "manual", **SETTINGS))["trigger"]


def test_votes_against_an_earlier_champion_do_not_count(trained: Path) -> None:
    monitor(publish_day(trained, 15, _die))
    promote(publish_day(trained, 16), as_of=17, version_run="retrain-2")
    assert monitor(publish_day(trained, 17, _die))["decision"] == "WATCH"


def test_cooldown_after_a_retrain_was_asked_for(trained: Path) -> None:
    slow = {"monitor": SETTINGS["monitor"] | {"cooldown_partitions": 2}}
    found = [monitor(publish_day(trained, number, _die, **slow))["decision"] for number in range(15, 21)]
    # The champion is new on the 15th and 16th; the 17th asks; two partitions of rest; the 20th asks again.
    assert found == ["WATCH", "WATCH", "RETRAIN", "WATCH", "WATCH", "RETRAIN"]


def test_numbers_of_every_column_are_written(trained: Path) -> None:
    run = publish_day(trained, 15, _die)
    monitor(run)
    table = pq.read_table(run.home.root / "reports" / run.name / "drift" / "2026-03-15.parquet")
    assert table["column"].to_pylist() == ["amount_eur", "country", "noise"]
    assert table["nulls"].to_pylist() == [ROWS, 0, 0]
    assert [sum(counts) for counts in table["counts"].to_pylist()] == [0, ROWS, ROWS]


def test_without_champion_and_labels_nothing_is_asked_for(tmp_path: Path) -> None:
    summary = monitor(publish_day(tmp_path, 1))
    assert summary["decision"] == "OK"
    assert summary["reasons"][0].startswith("BOOTSTRAP no champion yet; 0 matured labels")
