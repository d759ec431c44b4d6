"""Score: which model, which rows, what is refused, and that shards agree."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis.strategies import integers, lists

from pipelines.audit import audit
from pipelines.errors import DataError, ModelError
from pipelines.score import parts_of_shard, plan_shards, score
from pipelines.staged import champion_for, pinned, staged_scores
from tests.builders import context
from tests.scoring import Stub, champion, features, promote, use_models, utc


@pytest.fixture
def run(tmp_path, monkeypatch):
    use_models(monkeypatch, Stub(1), Stub(2, divisor=1000.0))
    return context(tmp_path, partition="2026-03-05")


def staged(run) -> list[dict]:
    scores = staged_scores(run, pinned(run), run.home.scratch)
    return [row for path in scores.scored_files for row in pq.read_table(path).to_pylist()]


def test_score_stages_one_row_per_feature_row(run):
    champion(run)
    features(run, [10.0, 25.0, 99.0])
    assert score(run)["rows"] == 3
    assert staged(run) == [
        {"row_id": "f:000000003", "payment_id": "p0", "score": 0.10},
        {"row_id": "f:000000002", "payment_id": "p1", "score": 0.25},
        {"row_id": "f:000000001", "payment_id": "p2", "score": 0.99},
    ]


def test_score_refuses_rows_without_a_finite_score_and_says_why(run):
    champion(run)
    features(run, [10.0, None, float("inf")])
    summary = score(run)
    assert (summary["rows"], summary["refused"]) == (1, 2)
    refused = pq.read_table(staged_scores(run, pinned(run), run.home.scratch).shards[0].refused).to_pylist()
    assert [row["payment_id"] for row in refused] == ["p1", "p2"]
    assert refused[0]["reason"] == "SCORE_MISSING: the model gives no finite score (null features: amount_eur)"
    assert "no feature is null" in refused[1]["reason"]


@pytest.mark.parametrize(
    "prepare", [lambda run: features(run, [1.0]), lambda run: champion(run)], ids=["champion", "features"]
)
def test_score_skips_without(run, prepare):
    prepare(run)
    assert plan_shards(run) == []
    assert score(run)["state"] == "skipped"


def test_score_names_the_column_that_the_model_misses(run, monkeypatch):
    use_models(monkeypatch, Stub(1, features=["amount_eur", "countri"]))
    champion(run)
    features(run, [1.0])
    with pytest.raises(DataError, match=r"E-SCORE-SCHEMA .*'countri'.*Did you mean 'country'") as caught:
        score(run)
    assert not caught.value.retryable


def test_score_gives_the_model_its_columns_in_its_order(run, monkeypatch):
    seen = []

    class Ordered(Stub):
        def predict(self, table: pa.Table) -> np.ndarray:
            seen.append(table.column_names)
            return super().predict(table)

    use_models(monkeypatch, Ordered(1, features=["country", "amount_eur"]))
    champion(run)
    features(run, [1.0])
    score(run)
    assert seen == [["country", "amount_eur"]]


def test_score_refuses_a_model_that_loses_rows(run, monkeypatch):
    class Short(Stub):
        def predict(self, table: pa.Table) -> np.ndarray:
            return super().predict(table)[:-1]

    use_models(monkeypatch, Short(1))
    champion(run)
    features(run, [1.0, 2.0])
    with pytest.raises(ModelError, match=r"E-SCORE-SHAPE v1: .*\(2,\), got \(1,\)"):
        score(run)


def test_score_writes_the_top_class_and_each_probability(run, monkeypatch):
    class Three(Stub):
        def predict(self, _table: pa.Table) -> np.ndarray:
            return np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3], [0.4, np.nan, 0.6]])

    use_models(monkeypatch, Three(1, task="multiclass", classes=["red", "light blue", "green"]))
    champion(run)
    features(run, [1.0, 2.0, 3.0])
    score(run)
    table = pq.read_table(staged_scores(run, pinned(run), run.home.scratch).scored_files[0])
    assert table.drop(["row_id", "payment_id"]).to_pydict() == {
        "score": [0.5, 0.6],
        "predicted_label": ["light blue", "red"],
        "score_red": [0.2, 0.6],
        "score_light_blue": [0.5, 0.1],
        "score_green": [0.3, 0.3],
    }


def test_shards_cut_the_rows_into_contiguous_ranges(tmp_path, run):
    run = context(tmp_path, partition="2026-03-05", score={"shards": 3, "batch_rows": 2})
    champion(run)
    features(run, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    assert plan_shards(run) == [0, 1, 2]
    assert [score(run, shard)["rows"] for shard in (0, 1, 2)] == [2, 2, 3]
    assert [row["payment_id"] for row in staged(run)] == ["p0", "p1", "p2", "p3", "p4", "p5", "p6"]


@given(sizes=lists(integers(0, 9), max_size=6), shards=integers(1, 8))
def test_shards_of_many_files_take_each_row_once_and_name_no_file_in_vain(sizes: list[int], shards: int) -> None:
    files = [(f"part-{number}", size) for number, size in enumerate(sizes)]
    parts = [parts_of_shard(files, number, shards) for number in range(shards)]
    taken = [(path, row) for part in parts for path, start, stop in part for row in range(start, stop)]
    assert taken == [(path, row) for path, size in files for row in range(size)]
    rows = [sum(stop - start for _, start, stop in part) for part in parts]
    assert max(rows) - min(rows) <= 1
    assert all(start < stop for part in parts for _, start, stop in part)


def test_more_shards_than_rows_leaves_some_empty(tmp_path, run):
    run = context(tmp_path, partition="2026-03-05", score={"shards": 3})
    champion(run)
    features(run, [1.0])
    assert [score(run, shard)["rows"] for shard in plan_shards(run)] == [0, 0, 1]


def test_empty_features_give_an_empty_shard(run):
    champion(run)
    features(run, [])
    assert score(run)["rows"] == 0
    assert staged(run) == []


def test_a_promotion_between_shards_does_not_mix_versions(tmp_path, run):
    run = context(tmp_path, partition="2026-03-05", score={"shards": 2, "model": "current"})
    champion(run, 1)
    features(run, [10.0, 20.0])
    first = score(run, 0)
    champion(run, 2)
    second = score(run, 1)
    assert (first["model_version"], second["model_version"]) == (1, 1)
    assert [row["score"] for row in staged(run)] == [0.10, 0.20]


def test_plan_decides_anew_when_the_run_is_cleared(tmp_path, run):
    run = context(tmp_path, partition="2026-03-05", score={"model": "current"})
    champion(run, 1)
    features(run, [10.0])
    score(run)
    champion(run, 2)
    plan_shards(run)
    assert score(run)["model_version"] == 2


def test_a_cleared_run_whose_scores_failed_the_audit_takes_the_champion_of_now(tmp_path, run):
    """Else a rollback could not help the run that the bad champion stopped."""
    run = context(tmp_path, partition="2026-03-05", score={"model": "current"})
    champion(run, 1)
    champion(run, 2)
    features(run, [1010.0])
    score(run)
    with pytest.raises(DataError, match="E-AUDIT-RANGE"):
        audit(run)
    promote(run, 1, run.partition.start)
    assert score(run)["model_version"] == 1


def test_a_second_attempt_leaves_a_staged_shard_alone(run):
    champion(run)
    features(run, [10.0])
    assert [score(run)["state"], score(run)["state"]] == ["done", "unchanged"]


@pytest.mark.parametrize("damage", [b"", b"PAR1 not quite"], ids=["cut", "other bytes"])
def test_a_damaged_shard_is_scored_again(run, damage):
    champion(run)
    features(run, [10.0])
    score(run)
    path = staged_scores(run, pinned(run), run.home.scratch).scored_files[0]
    before = path.read_bytes()
    path.write_bytes(damage)
    assert score(run)["state"] == "done"
    assert path.read_bytes() == before


def test_new_features_are_scored_anew_by_the_same_run(run):
    champion(run)
    features(run, [10.0])
    score(run)
    features(run, [20.0])
    score(run)
    assert [row["score"] for row in staged(run)] == [0.20]


CASES = {
    "in force at the start": ("as_of", [(1, "2026-03-01"), (2, "2026-03-06")], (1, False)),
    "promoted that very moment": ("as_of", [(1, "2026-03-01"), (2, "2026-03-05")], (2, False)),
    "only later ones": ("as_of", [(1, "2026-03-06")], None),
    "current is newer": ("current", [(1, "2026-03-01"), (2, "2026-03-06")], (2, True)),
    "current is the same": ("current", [(1, "2026-03-01")], (1, False)),
    "current is the only one, later": ("current", [(1, "2026-03-06")], (1, True)),
}


@pytest.mark.parametrize(("mode", "history", "expected"), CASES.values(), ids=CASES.keys())
def test_champion_for_a_past_day(tmp_path, mode, history, expected):
    run = context(tmp_path, partition="2026-03-05", score={"model": mode})
    for version, day in history:
        promote(run, version, utc(day))
    found = champion_for(run)
    assert (found and (found[0]["version"], found[1])) == expected
