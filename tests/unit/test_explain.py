"""Explain: every version of a row and what became of it, up to the release."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipelines.errors import DataError
from pipelines.explain import explain
from pipelines.ingest.columns import DUPLICATES, QUARANTINE, raw_schema
from pipelines.models.fitting import Recipe, Rows, fit
from pipelines.release import retract
from pipelines.settings.families import SklearnEstimator
from pipelines.settings.training import Training
from tests.builders import context, put, utc
from tests.scoring import Stub, champion, features, run_all, use_models

RAW = [("f:000000001", 2, "p1", 10.0), ("f:000000002", 3, "p1", 12.0), ("f:000000003", 4, "p1", -5.0)]


@pytest.fixture
def run(tmp_path, monkeypatch):
    use_models(monkeypatch, Stub(1))
    run = context(tmp_path, partition="2026-03-05")
    champion(run)
    rows = [
        {
            "row_id": row_id,
            "source_file": "inbox/5.csv",
            "source_line": line,
            "payment_id": key,
            "card_id": "c1",
            "paid_at": utc("2026-03-05T08:00:00"),
            "amount_eur": amount,
            "country": "DE",
            "is_fraud": 0,
            "partition": run.key,
        }
        for row_id, line, key, amount in RAW
    ]
    put(run, "raw", pa.Table.from_pylist(rows, schema=raw_schema(run.pipeline.source.columns)))
    refused = {"source_file": "inbox/5.csv", "partition": run.key}
    lines = [
        ("f:000000003", 4, "{}", "AMOUNT: too small", "validate"),
        ("f:000000004", 5, "p1,c1", "FIELD_COUNT: 2", "ingest"),
    ]
    names = ("row_id", "source_line", "record", "reasons", "stage")
    records = [dict(zip(names, (*line[:3], [line[3]], line[4]), strict=True)) for line in lines]
    table = pa.Table.from_pylist([refused | record for record in records], schema=QUARANTINE)
    for stage in ("ingest", "validate"):
        rows_of_stage = table.filter(pa.compute.equal(table["stage"], stage))
        run.publish("quarantine", run.snapshot("quarantine"), rows_of_stage, stage, {}, stage=stage)
    loser = {"row_id": "f:000000001", "kept_row_id": "f:000000002", "kept_partition": run.key, "reason": "key"}
    put(run, "duplicates", pa.Table.from_pylist([{**loser, "partition": run.key}], schema=DUPLICATES))
    return run


def publish_scores(run):
    features(run, [12.0], table="clean", ids=["p1"])
    features(run, [12.0], ids=["p1"])
    return run_all(run)


def test_explain_tells_what_became_of_each_version(run):
    publish_scores(run)
    story = explain(run, "p1")
    assert [(row["source_line"], row["amount_eur"], row["became"], row["reasons"]) for row in story["raw"]] == [
        (2, 10.0, "duplicate (key)", ["kept instead: f:000000002 of 2026-03-05"]),
        (3, 12.0, "not decided yet", []),
        (4, -5.0, "quarantined", ["AMOUNT: too small"]),
    ]
    assert story["unparsed_records_that_mention_it"] == [
        {"source_file": "inbox/5.csv", "source_line": 5, "record": "p1,c1", "reasons": ["FIELD_COUNT: 2"]}
    ]


def test_explain_shows_features_score_model_and_files(run):
    summary = publish_scores(run)
    story = explain(run, "p1")
    assert story["features"] == {"amount_eur": 12.0, "country": "DE"}
    assert (story["score"]["score"], story["score"]["release_id"]) == (0.12, summary["release_id"])
    assert story["model"]["version"] == 1
    assert story["model"]["became_champion"] == "promote by test: test"
    assert story["release"]["state"] == "released"
    assert story["release"]["files"] == [f"{summary['path']}/part-00000.parquet"]


def test_explain_shows_contributions_where_the_model_has_them(run, monkeypatch):
    """0.03 x amount + 0.01, trained around amount 2: a payment of 12 EUR lies 10 above it."""
    training = Training(task="regression", model=SklearnEstimator(family="sklearn", estimator="LinearRegression"))
    recipe = Recipe(training, {"amount_eur": "number"}, [], 1)
    rows = Rows(pa.table({"amount_eur": [1.0, 2.0, 3.0]}), np.array([0.04, 0.07, 0.10]))
    linear = fit(recipe, rows, None).with_version(1)
    use_models(monkeypatch, linear)
    publish_scores(run)
    found = explain(run, "p1")["contributions"]
    assert (found["of"], found["scale"]) == ("prediction", "value")
    assert found["features"] == {"amount_eur": pytest.approx(0.3)}
    assert (found["base"], found["total"]) == (pytest.approx(0.07), pytest.approx(0.37))


def test_explain_says_when_a_model_has_no_contributions(run):
    publish_scores(run)
    assert "'Stub' does not split its scores" in explain(run, "p1")["contributions"]["problem"]


def test_explain_says_that_a_release_was_retracted(run):
    publish_scores(run)
    retract(run, "wrong", "ann")
    story = explain(run, "p1")
    assert (story["score"], story["release"]["state"]) == (None, "retracted")
    assert story["release"]["readers_see_it"] is False


def test_explain_works_before_anything_was_scored(run):
    story = explain(run, "p1")
    assert (story["clean"], story["features"], story["score"], story["release"]) == (None, None, None, None)


def test_explain_of_an_unknown_key_says_where_it_was_seen(run, tmp_path):
    other = context(tmp_path, partition="2026-03-06")
    with pytest.raises(DataError, match=r"E-EXPLAIN-UNKNOWN .*payment_id = 'p1'. It was seen in '2026-03-05'"):
        explain(other, "p1")
    with pytest.raises(DataError, match="No partition of 'raw' has it"):
        explain(run, "p2")


@pytest.mark.parametrize("key", ["p1|c1", "p1,c1"], ids=["bar", "comma"])
def test_explain_takes_composite_keys(run, key):
    both = context(run.home.root, partition=run.key, key=["payment_id", "card_id"])
    assert explain(both, key)["key"] == {"payment_id": "p1", "card_id": "c1"}
    with pytest.raises(DataError, match="E-EXPLAIN-KEY"):
        explain(both, "p1")
