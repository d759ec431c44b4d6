"""Calibration and intervals through the steps: trained, judged, replayed, promoted, scored, audited and released."""

from __future__ import annotations

import json
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipelines.audit import audit
from pipelines.errors import DataError
from pipelines.models import load_model
from pipelines.monitoring import monitor
from pipelines.monitoring.coverage import coverage_reasons
from pipelines.report.figures import figure
from pipelines.score import plan_shards, score
from pipelines.staged import pinned, staged_scores
from pipelines.training import evaluate, gate, promote, replay, snapshot, train
from pipelines.training.mlflow_client import registry
from tests.model.feeds import TRAINING, at, day
from tests.scoring import run_all

DAYS = ("2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04")
HOLDOUT, NEXT = DAYS[-1], "2026-03-05"
MEMORY = {"family": "sklearn", "estimator": "KNeighborsClassifier", "parameters": {"n_neighbors": 3}}
TREES = {"family": "xgboost", "rounds": 30, "parameters": {"max_depth": 3}}
CLASSES = {
    "training": {"task": "binary", "model": MEMORY, "calibration": {}, "intervals": {"coverage": 0.8}},
    "features": {"columns": ["amount_eur"]},
}
VALUES = {
    "training": {"task": "regression", "model": TREES, "intervals": {"coverage": 0.8}},
    "features": {"columns": ["country", "card_id"]},
    "label": {"column": "amount_eur"},
}
pytestmark = pytest.mark.slow


def rows(partition: str, count: int = 300, seed: int = 0) -> list[dict[str, Any]]:
    """Fraud above 60 EUR, one in five labels wrong; dearer in Germany."""
    random = np.random.default_rng(int(partition[-2:]) + seed)
    amounts = random.uniform(0, 100, count)
    frauds = (amounts > 60) ^ (random.random(count) < 0.2)
    return [
        {"amount_eur": float(amount), "is_fraud": int(fraud), "country": "DE" if amount > 50 else "FR"}
        for amount, fraud in zip(amounts, frauds, strict=True)
    ]


def settings(base: dict[str, Any], **changes: Any) -> dict[str, Any]:
    training = TRAINING | base["training"] | {"missing": {"default": {"strategy": "mode"}}}
    common = {"gate": {"policy": "bootstrap", "max_calibration_error": 0.1}, "audit": {"max_shift": 5.0}}
    return base | common | {"training": training, "export": {"confidence": True}} | changes


def published(new_home: Any, base: dict[str, Any], **changes: Any) -> Any:
    given = settings(base, **changes)
    if base is VALUES:
        given["features"] = {"columns": ["country"]}
    run = new_home(HOLDOUT, **given)
    for partition in (*DAYS, NEXT):
        day(run, partition, rows(partition))
    return run


def trained(run: Any) -> tuple[str, int]:
    snapshot_id = snapshot(run)["snapshot_id"]
    return snapshot_id, train(run, snapshot_id)["version"]


def promoted(run: Any) -> int:
    snapshot_id, version = trained(run)
    evaluate(run, snapshot_id, version)
    decision = gate(run, snapshot_id, version)
    assert decision["outcome"] == "PROMOTE", decision["reasons"]
    promote(run, version)
    return version


def exported(run: Any) -> list[dict[str, Any]]:
    files = sorted((run.home.root / "exports" / run.name).glob(f"partition={run.key}/*.parquet"))
    return [row for path in files for row in pq.ParquetFile(path).read().to_pylist()]


def mlflow_metrics(run: Any, version: int) -> dict[str, float]:
    with registry(run) as client:
        return dict(client.get_run(run.ledger.model(run.name, version)["mlflow_run_id"]).data.metrics)


def test_a_calibrated_model_with_sets_goes_through_the_chain(new_home):
    run = published(new_home, CLASSES)
    version = promoted(run)
    row = run.ledger.model(run.name, version)
    record, learnt = row["record"], row["record"]["facts"]["uncertainty"]
    assert learnt["calibration"]["method"] in ("sigmoid", "isotonic")
    assert learnt["kept_back"] == {"rows": 300, "first": DAYS[2], "last": DAYS[2]}
    assert learnt["fitted_rows"] == 600
    before = record["uncertainty"]["calibration"]["uncalibrated"]
    assert record["holdout_metrics"]["log_loss"] < before["log_loss"] / 2
    assert record["holdout_metrics"]["calibration_error"] < before["calibration_error"]
    assert abs(record["uncertainty"]["intervals"]["realised"] - 0.8) < 0.1
    told = mlflow_metrics(run, version)
    assert told["uncalibrated_log_loss"] == pytest.approx(before["log_loss"])
    assert told["interval_realised"] == pytest.approx(record["uncertainty"]["intervals"]["realised"])
    checks = {check["name"]: check for check in run.ledger.decisions(run.name, "gate")[-1]["numbers"]["checks"]}
    assert checks["calibration"]["numbers"]["error"] == pytest.approx(
        record["holdout_metrics"]["calibration_error"], abs=1e-4
    )
    assert checks["intervals"]["numbers"]["promised"] == 0.8

    tomorrow = at(run, NEXT)
    assert run_all(tomorrow)["state"] == "done"
    found = exported(tomorrow)
    assert [name for name in found[0] if name in ("score", "confidence", "prediction_set")] == [
        *("score", "confidence", "prediction_set")
    ]
    for one in found:
        assert one["confidence"] == max(one["score"], 1 - one["score"])
        assert set(one["prediction_set"]) <= {"0", "1"}
        assert str(int(one["score"] > 0.5)) in one["prediction_set"]
    labels = {f"{NEXT}-{number}": str(one["is_fraud"]) for number, one in enumerate(rows(NEXT))}
    assert abs(np.mean([labels[one["payment_id"]] in one["prediction_set"] for one in found]) - 0.8) < 0.1
    model = load_model(run, version)
    assert {one["score"] for one in found} <= set(model.calibrated(np.array([0, 1 / 3, 2 / 3, 1])).tolist())
    numbers = run.ledger.decisions(run.name, "audit", NEXT)[-1]["numbers"]
    assert numbers["confidence"] == numbers["prediction_set"] == {"known": 300, "fitting": 300}


def test_a_regression_with_intervals_goes_through_the_chain(new_home):
    run = published(new_home, VALUES)
    version = promoted(run)
    record = run.ledger.model(run.name, version)["record"]
    bound = record["facts"]["uncertainty"]["intervals"]["bound"]
    tomorrow = at(run, NEXT)
    run_all(tomorrow)
    for one in exported(tomorrow):
        assert one["prediction_low"] == one["score"] - bound
        assert one["prediction_high"] == one["score"] + bound
    card = run.reports.at("models").read(f"{version}.md").decode()
    realised = record["uncertainty"]["intervals"]["realised"]
    assert f"On the holdout {realised:.4g} of 300 labels lie within" in card


def test_several_classes_go_through_the_chain(new_home):
    """What a country's payments cost is as good as known: sets are small, and scores are those of all classes."""
    training = {"task": "multiclass", "model": {"family": "sklearn", "estimator": "GaussianNB"}}
    training |= {"calibration": {"method": "sigmoid"}, "intervals": {"coverage": 0.9}}
    base = {"training": training, "features": {"columns": ["amount_eur"]}, "label": {"column": "country"}}
    known = {"policy": "bootstrap", "leakage": {"accepted_features": ["amount_eur"]}}
    run = new_home(HOLDOUT, **settings(base, gate=known))
    countries = {partition: three_countries(partition) for partition in (*DAYS, NEXT)}
    for partition, payments in countries.items():
        day(run, partition, payments)
    promoted(run)
    tomorrow = at(run, NEXT)
    assert run_all(tomorrow)["state"] == "done"
    found = sorted(exported(tomorrow), key=payment_number)
    for one in found:
        each = {country: one[f"score_{country}"] for country in ("AT", "DE", "FR")}
        assert sum(each.values()) == pytest.approx(1)
        assert one["confidence"] == one["score"] == max(each.values())
        assert one["predicted_label"] in one["prediction_set"]
        assert set(one["prediction_set"]) <= set(each)
    held = [one["country"] in each["prediction_set"] for one, each in zip(countries[NEXT], found, strict=True)]
    assert np.mean(held) > 0.8


def three_countries(partition: str) -> list[dict[str, Any]]:
    random = np.random.default_rng(int(partition[-2:]))
    chosen = random.integers(0, 3, 300)
    amounts = 40 * chosen + random.normal(0, 15, 300)
    return [
        {"amount_eur": float(amount), "country": ("AT", "DE", "FR")[number]}
        for amount, number in zip(amounts, chosen, strict=True)
    ]


def test_a_calibrated_version_is_rebuilt_equal(new_home):
    run = published(new_home, CLASSES)
    _, version = trained(run)
    result = replay(run, version)
    assert result["verdict"] == "equal", result["differences"]


def test_the_holdout_does_not_reach_calibration_or_intervals(new_home):
    """Every label of the holdout is turned around: files and all that was learnt stay the same, its metrics do not."""
    run = published(new_home, CLASSES)
    _, first = trained(run)
    day(run, HOLDOUT, [{**one, "is_fraud": 1 - one["is_fraud"]} for one in rows(HOLDOUT)])
    other = at(run, HOLDOUT, "retrain-2")
    _, second = trained(other)
    one, two = (run.ledger.model(run.name, version) for version in (first, second))
    assert first != second
    assert one["artifact_sha256"] == two["artifact_sha256"]
    assert one["record"]["uncertainty"] != two["record"]["uncertainty"]


def test_the_card_shows_calibration_before_and_after(new_home):
    run = published(new_home, CLASSES)
    version = promoted(run)
    place = run.reports.at("models")
    text, page = (place.read(f"{version}.{ending}").decode() for ending in ("md", "html"))
    record = run.ledger.model(run.name, version)["record"]
    after = record["holdout_metrics"]
    before = record["uncertainty"]["calibration"]["uncalibrated"]
    for name, row in (("holdout, before", before), ("holdout, after", after)):
        values = [figure(row[key]) for key in ("log_loss", "brier", "calibration_error")]
        assert f"| {name} | {' | '.join(values)} |" in text
        assert all(value in page for value in values)
    assert "which had the smallest log loss on unseen rows" in text
    assert "300 training rows of 2026-03-03 to 2026-03-03 were kept back" in text
    drawing = page.split('aria-label="Calibration on the holdout', 1)[1].split("</svg>", 1)[0]
    assert drawing.count("stroke-dasharray") == 2  # what scores should mean, and what they meant before
    assert "Dotted: before calibration" in page


def test_turning_the_columns_on_scores_the_day_again_and_readers_of_both_days_go_on(new_home):
    """Without the setting in the pin, the staged shard of the old columns would be released again."""
    run = published(new_home, CLASSES, export={})
    version = promoted(run)
    tomorrow = at(run, NEXT)
    run_all(tomorrow)
    plain = exported(tomorrow)
    assert "confidence" not in plain[0]
    asked = at(run, NEXT, "again", **settings(CLASSES))
    assert run_all(asked)["state"] == "done"
    found = exported(asked)
    assert [one["score"] for one in found] == [one["score"] for one in plain]
    assert all(one["prediction_set"] for one in found)
    later = "2026-03-06"
    day(run, later, rows(later))
    run_all(at(run, later))  # the old settings again: columns are missing in this partition alone
    folder = run.home.root / "exports" / run.name
    files = f"'{folder}/partition=*/*.parquet'"
    assert pq.read_table(folder).num_rows == 600
    assert len(pd.read_parquet(folder)) == 600
    query = f"SELECT count(*), count(prediction_set) FROM read_parquet({files}, union_by_name = true)"
    assert duckdb.sql(query).fetchall() == [(600, 300)]
    predictions = run.snapshot("predictions").read([NEXT, later])
    assert predictions["prediction_set"].null_count == 300
    assert run.ledger.releases(run.name, NEXT)[-1]["model_version"] == version


def test_a_champion_without_intervals_says_nothing_and_the_audit_says_why(new_home):
    base = {**VALUES, "training": {"task": "regression", "model": TREES}}
    run = published(new_home, VALUES, training=settings(base)["training"], export={})
    promoted(run)
    asked = at(run, NEXT, "again", **settings(VALUES, features={"columns": ["country"]}))
    run_all(asked)
    assert {one["prediction_low"] for one in exported(asked)} == {None}
    reasons = run.ledger.decisions(run.name, "audit", NEXT)[-1]["reasons"]
    assert "'prediction_low' is empty: the model was trained without training.intervals" in reasons


@pytest.mark.parametrize(
    ("name", "wrong", "told"),
    [
        ("prediction_low", lambda value: value + 1e6, "'prediction_low' must fit the score in all 300 rows"),
        ("prediction_high", lambda _value: None, "'prediction_high' must fit .* is missing or does not in 1"),
        ("prediction_high", lambda _value: float("inf"), "'prediction_high' must fit .* does not in 1"),
    ],
    ids=["above the score", "one is missing", "without end"],
)
def test_the_audit_refuses_an_interval_that_does_not_hold_its_score(new_home, monkeypatch, name, wrong, told):
    """Written by a scorer that is wrong in one row."""
    import pyarrow as pa

    import pipelines.score

    run = published(new_home, VALUES)
    promoted(run)
    tomorrow = at(run, NEXT)
    arrays = pipelines.score.certainty_arrays

    def broken(model, columns, uncalibrated, scores):
        found = [array.to_pylist() for array in arrays(model, columns, uncalibrated, scores)]
        place = columns.index(name)
        found[place][0] = wrong(found[place][0])
        return [pa.array(values, pa.float64()) for values in found]

    monkeypatch.setattr("pipelines.score.certainty_arrays", broken)
    for shard in plan_shards(tomorrow):
        score(tomorrow, shard)
    assert staged_scores(tomorrow, pinned(tomorrow), run.home.scratch).rows == 300
    with pytest.raises(DataError, match=f"E-AUDIT-INTERVAL.*{told}"):
        audit(tomorrow)


def test_the_gate_holds_a_model_whose_intervals_break_their_promise(new_home):
    """The holdout's amounts are elsewhere: few of them lie where the earlier days promised."""
    run = published(new_home, VALUES)
    day(run, HOLDOUT, [{**one, "amount_eur": one["amount_eur"] * 2} for one in rows(HOLDOUT)])
    snapshot_id, version = trained(run)
    decision = gate(run, snapshot_id, version)
    assert decision["outcome"] != "PROMOTE"
    assert any("of the labels lie in the intervals or sets, 0.8 promised" in reason for reason in decision["reasons"])


@pytest.mark.parametrize("base", [CLASSES, VALUES], ids=["sets", "intervals"])
def test_the_monitor_tells_what_the_intervals_held_of_matured_labels(new_home, base):
    """The day's labels are known: the share by hand, and a reason only where it breaks the promise."""
    run = published(new_home, base, monitor={"report": "never"})
    promoted(run)
    tomorrow = at(run, NEXT)
    run_all(tomorrow)
    monitor(tomorrow)
    column = "prediction_set" if base is CLASSES else "prediction_low"
    held = [
        str(one["is_fraud"]) in found[column]
        if base is CLASSES
        else found["prediction_low"] <= one["amount_eur"] <= found["prediction_high"]
        for one, found in zip(rows(NEXT), sorted(exported(tomorrow), key=payment_number), strict=True)
    ]
    numbers = run.ledger.decisions(run.name, "drift", NEXT)[-1]["numbers"]["coverage"]
    assert (numbers["promised"], numbers["rows"]) == (0.8, 300)
    assert numbers["realised"] == pytest.approx(np.mean(held), rel=1e-5)
    assert coverage_reasons(numbers) == []
    assert coverage_reasons({"promised": 0.8, "realised": 0.4, "rows": 99, "z": -9.0}) == []
    [reason] = coverage_reasons({"promised": 0.8, "realised": 0.5, "rows": 300, "z": -9.2})
    assert reason == (
        "COVERAGE 0.5 of 300 matured labels lie in the released intervals or sets, 0.8 were promised "
        "(-9.2 spreads, limit -4)."
    )


def test_a_day_that_breaks_the_promise_is_watched(new_home):
    run = published(new_home, VALUES, monitor={"report": "never"})
    promoted(run)
    day(run, NEXT, [{**one, "amount_eur": one["amount_eur"] * 2} for one in rows(NEXT)])
    tomorrow = at(run, NEXT)
    run_all(tomorrow)
    result = monitor(tomorrow)
    assert result["decision"] == "WATCH"
    assert any(reason.startswith("COVERAGE 0.") for reason in result["reasons"]), result["reasons"]


def payment_number(row: dict[str, Any]) -> int:
    return int(row["payment_id"].rpartition("-")[2])


def test_manifests_hold_numbers_only(new_home):
    run = published(new_home, CLASSES)
    _, version = trained(run)
    address = run.ledger.model(run.name, version)["artifact_uri"]
    manifest = json.loads((run.home.root / address / "model.json").read_text())
    assert set(manifest["calibration"]) == {"method", "curves"}
    assert set(manifest["intervals"]) == {"coverage", "bound"}
