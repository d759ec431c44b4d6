"""The frozen training set: which rows, which side, which label, and nothing written twice."""

from __future__ import annotations

import pytest

from pipelines.errors import ConfigError, ModelError
from pipelines.training import snapshot
from pipelines.training.dataset import read_frozen
from tests.model.feeds import LATE_LABELS, TRAINING, arrivals, at, context, day
from tests.scoring import file_digests

DAYS = ("2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04")
BOTH = [{"amount_eur": 10.0, "is_fraud": 0}, {"amount_eur": 90.0, "is_fraud": 1}]


def frozen(run):
    summary = snapshot(run)
    assert summary["state"] == "done", summary
    return read_frozen(run, summary["snapshot_id"])


def rows(run, found, part):
    """(payment_id, target) in the order of the file."""
    table = found.table(run, part)
    return list(zip(table["payment_id"].to_pylist(), table["target_value"].to_pylist(), strict=True))


def in_row(tmp_path, partition="2026-03-04", days=DAYS, **changes):
    run = context(tmp_path, partition, **changes)
    for key in days:
        day(run, key, BOTH)
    return run


def test_the_holdout_is_later_than_all_training(tmp_path):
    found = frozen(in_row(tmp_path))
    assert found.training_partitions == ["2026-03-01", "2026-03-02", "2026-03-03"]
    assert found.holdout_partitions == ["2026-03-04"]
    assert (found.rows, found.positive_rate) == ({"train": 6, "holdout": 2}, 0.5)


def test_rows_are_in_order_of_time(tmp_path):
    run = in_row(tmp_path, days=["2026-03-02", "2026-03-01", "2026-03-04", "2026-03-03"])
    keys = [key for key, _ in rows(run, frozen(run), "train")]
    assert keys == [f"2026-03-0{number}-{row}" for number in (1, 2, 3) for row in (0, 1)]


def test_only_labels_that_matured_count(tmp_path):
    """With a delay of two days, at the end of the 4th the labels of the 3rd and 4th are not final."""
    found = frozen(in_row(tmp_path, label={"column": "is_fraud", "delay_days": 2}))
    assert (found.training_partitions, found.holdout_partitions) == (["2026-03-01"], ["2026-03-02"])


def test_a_young_pipeline_waits(tmp_path):
    run = in_row(tmp_path, days=DAYS[3:])
    assert snapshot(run) == {
        "state": "skipped",
        "reason": "1 accepted partitions have matured labels; training needs more than the 1 of the holdout",
    }


def test_later_days_do_not_exist_for_an_earlier_as_of(tmp_path):
    """The same home, asked as of the 3rd before and after the 4th arrived: same id, same bytes."""
    run = in_row(tmp_path, partition="2026-03-03", days=DAYS[:3])
    first = frozen(run)
    before = file_digests(first.files(run).folder)
    day(run, "2026-03-04", BOTH)
    again = snapshot(run)
    assert (again["state"], again["snapshot_id"]) == ("unchanged", first.snapshot_id)
    assert file_digests(first.files(run).folder) == before


def test_moving_as_of_moves_the_window_and_keeps_the_rows(tmp_path):
    run = in_row(tmp_path, training=TRAINING | {"window_partitions": 2})
    late, early = frozen(run), frozen(at(run, "2026-03-03"))
    assert (early.training_partitions, early.holdout_partitions) == (["2026-03-02"], ["2026-03-03"])
    assert (late.training_partitions, late.holdout_partitions) == (["2026-03-03"], ["2026-03-04"])
    assert rows(run, early, "holdout") == rows(run, late, "train")


@pytest.mark.parametrize("state", ["refused", "absent"])
def test_a_partition_that_was_not_accepted_is_left_out(tmp_path, state):
    run = in_row(tmp_path, days=DAYS[:3])
    day(run, "2026-03-04", BOTH, state=state)
    assert frozen(run).holdout_partitions == ["2026-03-03"]


def test_excluded_partitions_are_on_neither_side(tmp_path):
    run = in_row(tmp_path, training=TRAINING | {"exclude_partitions": ["2026-03-02", "2026-03-04"]})
    found = frozen(run)
    assert (found.training_partitions, found.holdout_partitions) == (["2026-03-01"], ["2026-03-03"])


def test_excluding_a_poisoned_day_gives_the_rows_that_were_there_without_it(tmp_path):
    clean = in_row(tmp_path / "clean", days=("2026-03-01", "2026-03-02", "2026-03-04"))
    poisoned = in_row(tmp_path / "poisoned", training=TRAINING | {"exclude_partitions": ["2026-03-03"]})
    assert frozen(clean).digests == frozen(poisoned).digests


def test_a_group_stands_on_one_side_only(tmp_path):
    run = context(tmp_path, "2026-03-02", training=TRAINING | {"group": ["card_id"]})
    day(run, "2026-03-01", [row | {"card_id": card} for row, card in zip([*BOTH, *BOTH], "abcd", strict=True)])
    day(run, "2026-03-02", [row | {"card_id": card} for row, card in zip(BOTH, "de", strict=True)])
    found = frozen(run)
    assert found.table(run, "train")["card_id"].to_pylist() == ["a", "b", "c"]
    assert found.table(run, "holdout")["card_id"].to_pylist() == ["d", "e"]
    assert (found.both_sides, found.rows) == (1, {"train": 3, "holdout": 2})


def test_every_matured_row_is_accounted_for(tmp_path):
    run = context(
        tmp_path,
        "2026-03-02",
        training=TRAINING | {"group": ["card_id"], "missing": {"amount_eur": {"strategy": "drop"}}},
    )
    unlabelled, incomplete = {"amount_eur": 1.0}, {"is_fraud": 1}
    day(run, "2026-03-01", [*BOTH, unlabelled, incomplete, BOTH[0] | {"card_id": "both"}])
    without = {"amount_eur": float("nan"), "is_fraud": 0}
    second = zip([*BOTH, BOTH[0], without], ("x", "y", "both", "z"), strict=True)
    day(run, "2026-03-02", [row | {"card_id": card} for row, card in second])
    found = frozen(run)
    assert (found.rows, found.unlabelled, found.incomplete) == ({"train": 2, "holdout": 3}, 1, 2)
    assert found.both_sides == 1
    assert sum(found.rows.values()) + found.unlabelled + found.incomplete + found.both_sides == 9


def late_labels(tmp_path, partition="2026-03-03", **changes):
    run = context(tmp_path, partition, **(LATE_LABELS | changes))
    for key in DAYS[:2]:
        day(run, key, [{"amount_eur": 10.0}, {"amount_eur": 90.0}, {"amount_eur": 50.0}])
    return run


def test_labels_from_another_source_the_latest_arrival_wins_and_rows_without_are_counted(tmp_path):
    run = late_labels(tmp_path)
    arrivals(run, "2026-03-02", [("2026-03-01-0", 1), ("2026-03-01-1", 1), ("2026-03-02-0", 0)])
    arrivals(run, "2026-03-03", [("2026-03-01-0", 0), ("2026-03-02-1", 1), ("elsewhere", 1)])
    found = frozen(run)
    assert rows(run, found, "train") == [("2026-03-01-0", 0.0), ("2026-03-01-1", 1.0)]
    assert rows(run, found, "holdout") == [("2026-03-02-0", 0.0), ("2026-03-02-1", 1.0)]
    assert found.unlabelled == 2


def test_a_correction_from_the_future_is_not_seen(tmp_path):
    run = late_labels(tmp_path)
    arrivals(run, "2026-03-02", [("2026-03-01-0", 1), ("2026-03-01-1", 0), ("2026-03-01-2", 1), ("2026-03-02-0", 0)])
    before = frozen(run)
    arrivals(run, "2026-03-04", [("2026-03-01-0", 0), ("2026-03-02-1", 1)])
    assert snapshot(run)["state"] == "unchanged"
    later = frozen(at(run, "2026-03-04"))
    assert rows(run, before, "train")[0] == ("2026-03-01-0", 1.0)
    assert rows(run, later, "train")[0] == ("2026-03-01-0", 0.0)


def test_an_empty_correction_takes_no_label_back(tmp_path):
    run = late_labels(tmp_path)
    arrivals(run, "2026-03-02", [("2026-03-01-0", 1), ("2026-03-01-1", 0), ("2026-03-02-0", 0)])
    arrivals(run, "2026-03-03", [("2026-03-01-0", None)])
    assert rows(run, frozen(run), "train")[0] == ("2026-03-01-0", 1.0)


def test_before_any_label_arrived_nothing_is_trained(tmp_path):
    run = late_labels(tmp_path)
    with pytest.raises(ModelError, match=r"E-TRAIN-LABELS.*no label has arrived yet"):
        snapshot(run)
    arrivals(run, "2026-03-04", [("2026-03-01-0", 1)])
    with pytest.raises(ModelError, match=r"E-TRAIN-ROWS.*got 0 and 0"):
        snapshot(run)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        pytest.param([0, 0], "E-TRAIN-LABELS.*at least two values, got one", id="one class"),
        pytest.param([None, None], "E-TRAIN-ROWS", id="all null"),
        pytest.param([1, 2], "E-TRAIN-LABELS.*must be 0 and 1 or two words, got 2 values like '9'", id="not 0 and 1"),
        pytest.param([0, 7], "E-TRAIN-LABELS.*got 2 values like '9'.*label.positive", id="a third value"),
    ],
)
def test_labels_that_make_no_model_are_refused(tmp_path, labels, message):
    run = context(tmp_path, "2026-03-02")
    for key in DAYS[:2]:
        day(run, key, [{"amount_eur": 1.0, "is_fraud": label} for label in labels])
    with pytest.raises(ModelError, match=message):
        snapshot(run)


def test_a_named_positive_value_counts_as_one(tmp_path):
    run = context(tmp_path, "2026-03-02", label={"column": "is_fraud", "positive": "7"})
    for key in DAYS[:2]:
        day(run, key, [{"amount_eur": 1.0, "is_fraud": label} for label in (3, 7, 5)])
    found = frozen(run)
    assert found.classes == ["not 7", "7"]
    assert [target for _, target in rows(run, found, "train")] == [0.0, 1.0, 0.0]


def test_words_are_classes_in_order(tmp_path):
    run = context(tmp_path, "2026-03-02", label={"column": "country"}, training=TRAINING | {"task": "multiclass"})
    for key in DAYS[:2]:
        day(run, key, [{"amount_eur": 1.0, "country": word} for word in ("FR", "DE", "AT")])
    found = frozen(run)
    assert found.classes == ["AT", "DE", "FR"]
    assert [target for _, target in rows(run, found, "train")] == [2.0, 1.0, 0.0]


def test_a_value_that_is_not_finite_is_no_label(tmp_path):
    run = context(tmp_path, "2026-03-02", label={"column": "amount_eur"}, training=TRAINING | {"task": "regression"})
    for key in DAYS[:2]:
        day(run, key, [{"amount_eur": value} for value in (1.0, 2.0, float("nan"), float("inf"), None)])
    found = frozen(run)
    assert (found.rows, found.unlabelled, found.classes) == ({"train": 2, "holdout": 2}, 6, [])


def test_the_same_inputs_write_nothing_again(tmp_path):
    run = in_row(tmp_path)
    first = snapshot(run)
    folder = read_frozen(run, first["snapshot_id"]).files(run).folder
    times = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = snapshot(at(run, "2026-03-04", run_id="retrain-2"))
    assert again == first | {"state": "unchanged"}
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == times


def test_a_corrected_day_is_another_snapshot(tmp_path):
    run = in_row(tmp_path)
    first = frozen(run)
    day(run, "2026-03-02", [*BOTH, {"amount_eur": 5.0, "is_fraud": 1}])
    second = frozen(run)
    assert second.snapshot_id != first.snapshot_id
    assert second.rows["train"] == 7
    assert rows(run, first, "train") != rows(run, second, "train")


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_damaged_snapshot_is_noticed_and_frozen_again(tmp_path, damage):
    run = in_row(tmp_path)
    found = frozen(run)
    path = found.files(run).folder / "train.parquet"
    before = file_digests(found.files(run).folder)
    path.unlink() if damage == "gone" else path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match="E-TRAIN-SNAPSHOT") as told:
        found.table(run, "train")
    assert told.value.repeat == "snapshot"
    assert snapshot(run)["state"] == "done"
    assert file_digests(found.files(run).folder) == before


def test_a_snapshot_that_was_never_taken_says_so(tmp_path):
    with pytest.raises(ModelError, match=r"E-TRAIN-SNAPSHOT.*never frozen"):
        read_frozen(context(tmp_path, "2026-03-01"), "0" * 16)


def test_new_slices_are_another_snapshot(tmp_path):
    """They need columns that the old files do not hold."""
    run = in_row(tmp_path)
    first = snapshot(run)
    sliced = at(run, "2026-03-04", training=TRAINING, gate={"slices": ["card_id"]})
    second = frozen(sliced)
    assert second.snapshot_id != first["snapshot_id"]
    assert second.table(sliced, "holdout")["card_id"].to_pylist() == ["card-0", "card-1"]


@pytest.mark.parametrize(
    "changes",
    [
        {"gate": {"slices": ["channel"]}},
        {"training": TRAINING | {"group": ["channel"]}},
        {"training": TRAINING | {"weight": "channel"}},
    ],
    ids=["slice", "group", "weight"],
)
def test_an_unknown_column_is_named(tmp_path, changes):
    with pytest.raises(ConfigError, match=r"E-CONFIG-COLUMN.*unknown columns 'channel'"):
        snapshot(in_row(tmp_path, **changes))


def test_the_recorded_table_version_is_the_one_that_was_read(tmp_path, monkeypatch):
    """Another day is published while this snapshot is taken: its version must not be recorded."""
    from pipelines.training import dataset

    run = in_row(tmp_path)
    version = run.snapshot("features").version
    taken = dataset.check_labels

    def publish_meanwhile(*arguments):
        day(run, "2026-03-05", BOTH)
        return taken(*arguments)

    monkeypatch.setattr(dataset, "check_labels", publish_meanwhile)
    assert frozen(run).tables["features"]["version"] == version
    assert run.snapshot("features").version > version
