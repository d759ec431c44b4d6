"""Audit: each check passes a good day and fails its own mistake, with numbers."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from pipelines.audit import _counts, audit, stability_index
from pipelines.errors import DataError, ModelError
from pipelines.score import score
from pipelines.staged import pinned, staged_scores
from tests.builders import context
from tests.scoring import Stub, again, champion, features, run_all, use_models

GOOD = [float(number) for number in range(20)]


@pytest.fixture
def run(tmp_path, monkeypatch):
    use_models(monkeypatch, Stub(1))
    run = context(tmp_path, partition="2026-03-05")
    champion(run)
    return run


def scored(run):
    score(run)
    return run


def verdict(run) -> tuple[str, list[str]]:
    row = run.ledger.decisions(run.name, "audit", run.key)[-1]
    return row["outcome"], row["reasons"]


def test_audit_passes_a_good_day_and_records_its_numbers(run):
    features(run, [*GOOD, None], table="features")
    run = again(run, run_id="run-1", audit={"max_refused_share": 0.05})
    summary = audit(scored(run))
    assert {name: summary[name] for name in ("features", "in_files", "scored", "refused", "model_age_days")} == {
        "features": 21,
        "in_files": 21,
        "scored": 20,
        "refused": 1,
        "model_age_days": 1.0,
    }
    assert summary["score"] == {"min": 0.0, "max": 0.19, "not_finite": 0}
    assert verdict(run) == ("PASS", ["shift not judged: 0 rows, 100 are needed"])


def test_audit_fails_a_doubled_key_and_shows_its_shape(run):
    features(run, [1.0, 2.0, 3.0], ids=["p0", "p1", "p0"])
    with pytest.raises(
        DataError, match=r"E-AUDIT-KEYS .*payment_id must occur once, but 1 do not; they look like 'x9'"
    ):
        audit(scored(run))
    outcome, reasons = verdict(run)
    assert outcome == "FAIL"
    assert reasons[0].startswith("E-AUDIT-KEYS")


def test_audit_fails_scores_outside_zero_and_one(run):
    features(run, [5.0, 150.0])
    with pytest.raises(DataError, match=r"E-AUDIT-RANGE .*\[0, 1\], got 0.05 to 1.5"):
        audit(scored(run))


def test_audit_lets_a_regression_leave_zero_and_one(run):
    features(run, [5.0, 150.0])
    run = again(run, "run-1", training={"task": "regression"})
    assert audit(scored(run))["outcome"] == "PASS"


def test_audit_fails_constant_scores(run):
    features(run, [5.0] * 10)
    with pytest.raises(DataError, match=r"E-AUDIT-CONSTANT .*all 10 are 0.05"):
        audit(scored(run))


@pytest.mark.parametrize(
    ("amounts", "changes"), [([5.0] * 9, {}), ([5.0] * 10, {"allow_constant": True})], ids=["too few rows", "allowed"]
)
def test_audit_accepts_constant_scores(run, amounts, changes):
    features(run, amounts)
    assert audit(scored(again(run, "run-1", audit=changes)))["outcome"] == "PASS"


def test_audit_fails_too_many_refused_rows(run):
    features(run, [1.0, 2.0, 3.0, None])
    with pytest.raises(DataError, match=r"E-AUDIT-REFUSED .*at most 1.00% .* got 25.00% \(1\)"):
        audit(scored(run))


def test_audit_fails_an_old_model(run):
    features(run, GOOD)
    run = again(run, "run-1", audit={"max_model_age_days": 1})
    assert audit(scored(run))["outcome"] == "PASS"
    late = context(run.home.root, partition="2026-03-06", audit={"max_model_age_days": 1})
    features(late, GOOD)
    with pytest.raises(DataError, match=r"E-AUDIT-AGE .*at most 1 days old, got 2.0"):
        audit(scored(late))


def test_audit_fails_when_features_lost_rows_of_clean(run):
    features(run, GOOD, table="clean")
    features(run, GOOD[:-1])
    with pytest.raises(DataError, match=r"E-AUDIT-ROWS .*one row per clean row, got 19 for 20"):
        audit(scored(run))


def test_audit_fails_a_shard_that_was_changed_after_scoring(run):
    features(run, GOOD)
    score(run)
    path = staged_scores(run, pinned(run), run.home.scratch).scored_files[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"E-AUDIT-SHARDS .*these are not: \[0\]"):
        audit(run)


def test_audit_fails_a_missing_shard(run):
    features(run, GOOD)
    run = again(run, "run-1", score={"shards": 3})
    score(run, 0)
    score(run, 2)
    with pytest.raises(DataError, match=r"E-AUDIT-SHARDS .*all 3 .*: \[1\]"):
        audit(run)


def test_audit_fails_when_the_model_no_longer_verifies(run, monkeypatch):
    features(run, GOOD)
    score(run)

    def refuse(_context, version, _step):
        raise ModelError("E-MODEL-HASH", f"v{version}", "changed")

    monkeypatch.setattr("pipelines.models.load_model", refuse)
    with pytest.raises(ModelError, match="E-MODEL-HASH"):
        audit(run)


def test_audit_fails_an_infinite_score_that_slipped_into_the_staged_file(run, monkeypatch):
    """The independent check: a scorer that writes what it should refuse."""
    monkeypatch.setattr("pipelines.score.np.isfinite", lambda values: np.ones(values.shape, dtype=bool))
    features(run, [1.0, math.inf])
    with pytest.raises(DataError, match=r"E-AUDIT-FINITE .*1 values are not"):
        audit(scored(run))


def test_audit_refuses_when_nothing_was_scored(run):
    features(run, GOOD)
    with pytest.raises(DataError, match="E-AUDIT-UNSCORED"):
        audit(run)


def test_audit_skips_without_champion(tmp_path):
    run = context(tmp_path / "other")
    features(run, GOOD)
    score(run)
    assert audit(run) == {"state": "skipped", "reason": "no champion"}


def test_audit_passes_an_empty_day(run):
    features(run, [])
    assert audit(scored(run))["outcome"] == "PASS"


@pytest.mark.parametrize(
    ("amounts", "fails"),
    [
        ([float(number % 100) for number in range(300)], False),
        ([float(number % 50) for number in range(300)], True),
    ],
    ids=["as before", "only low scores"],
)
@pytest.mark.usefixtures("run")
def test_audit_compares_with_the_last_releases(tmp_path, amounts, fails):
    for day in ("2026-03-05", "2026-03-06", "2026-03-07"):
        earlier = context(tmp_path, partition=day)
        features(earlier, [float(number % 100) for number in range(100)])
        run_all(earlier)
    today = context(tmp_path, partition="2026-03-08")
    features(today, amounts)
    score(today)
    if fails:
        with pytest.raises(DataError, match=r"E-AUDIT-SHIFT .*PSI 0.5 of the last 3 releases"):
            audit(today)
    else:
        assert audit(today)["shift"] < 0.01


@pytest.mark.parametrize(("edge", "fails"), [(0.5, False), (0.05, True)], ids=["as on the holdout", "all above it"])
def test_first_releases_of_a_champion_are_compared_with_its_holdout(run, edge, fails):
    row = run.ledger.model(run.name, 1)
    reference = {"score_reference": {"edges": [edge], "counts": [500, 500]}}
    kept = {name: row[name] for name in ("run_id", "as_of", "mlflow_run_id", "artifact_uri", "artifact_sha256")}
    run.ledger.record_model(run.name, record=reference, **kept)
    features(run, [float(number % 100) for number in range(300)])
    score(run)
    if fails:
        with pytest.raises(DataError, match=r"E-AUDIT-SHIFT .*PSI 0.5 of its holdout"):
            audit(run)
    else:
        assert audit(run)["shift"] < 0.01


@pytest.mark.usefixtures("run")
def test_audit_does_not_judge_shift_on_few_rows(tmp_path):
    for day in ("2026-03-05", "2026-03-06", "2026-03-07"):
        earlier = context(tmp_path, partition=day)
        features(earlier, [1.0, 2.0, 3.0])
        run_all(earlier)
    today = context(tmp_path, partition="2026-03-08")
    features(today, [90.0, 91.0, 92.0])
    summary = audit(scored(today))
    assert summary["shift"] is None
    assert summary["notes"] == ["shift not judged: 3 rows, 100 are needed"]


def test_stability_index_by_hand():
    """Shares with half a row added: (50.5, 50.5) / 101 and (75.5, 25.5) / 101."""
    p, q = 75.5 / 101, 25.5 / 101
    assert stability_index([50, 50], [75, 25]) == pytest.approx(
        (p - 0.5) * math.log(p / 0.5) + (q - 0.5) * math.log(q / 0.5)
    )
    assert stability_index([50, 50], [500, 500]) == pytest.approx(0.0)
    assert stability_index([100, 0], [0, 100]) == pytest.approx(2 * (100 / 101) * math.log(100.5 / 0.5))


def test_a_model_that_scores_all_alike_is_caught_end_to_end(run, monkeypatch):
    class Dead(Stub):
        def predict(self, table: pa.Table) -> np.ndarray:
            return np.full(table.num_rows, 0.5)

    use_models(monkeypatch, Dead(1))
    features(run, GOOD)
    with pytest.raises(DataError, match="E-AUDIT-CONSTANT"):
        run_all(run)
    assert run.ledger.releases(run.name) == []


def test_scores_that_lie_on_an_edge_are_counted_as_numpy_counts_them(run):
    edges = [0.09083085507154465, 0.0949481874704361, 0.13043980300426483, 0.8129335045814514]
    with run.engine("audit") as engine:
        table = engine.memory(pa.table({"score": edges * 5}))
        assert _counts(engine, table, edges) == [5, 5, 5, 5, 0]
