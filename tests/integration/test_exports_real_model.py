"""Score, audit and release with a real XGBoost model that is loaded from its files."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.audit import audit
from pipelines.errors import DataError, ModelError
from pipelines.explain import explain
from pipelines.models.fitting import Recipe, Rows, fit
from pipelines.release import release
from pipelines.score import score
from pipelines.verify import verify_release
from tests.builders import context
from tests.scoring import features, promote

TRAINING = {
    "task": "binary",
    "model": {"family": "xgboost", "rounds": 10, "early_stopping_rounds": None},
    "missing": {"amount_eur": {"strategy": "drop"}},
}


@pytest.fixture
def run(tmp_path):
    """A champion that has learnt: amounts above 50 are fraud."""
    run = context(tmp_path / "home", partition="2026-03-05", training=TRAINING, audit={"max_refused_share": 0.5})
    amounts = np.arange(400) % 100
    table = pa.table({"amount_eur": amounts.astype(float), "country": ["DE", "FR"] * 200})
    recipe = Recipe(run.pipeline.training, {"amount_eur": "number", "country": "category"}, ["0", "1"], threads=1)
    model = fit(recipe, Rows(table, (amounts > 50).astype(float)), None)
    sha256 = model.save(tmp_path / "model")
    run.ledger.record_model(
        run.name,
        run_id="train",
        as_of=run.partition.start - timedelta(days=1),
        mlflow_run_id=None,
        artifact_uri=str(tmp_path / "model"),
        artifact_sha256=sha256,
        record={},
    )
    promote(run, 1, run.partition.start - timedelta(days=1))
    return run


def test_a_real_model_scores_refuses_and_is_explained(run):
    features(run, [10.0, 90.0, None])
    assert score(run)["refused"] == 1
    audit(run)
    summary = release(run)
    rows = pq.ParquetFile(run.home.root / summary["path"] / "part-00000.parquet").read().to_pylist()
    scores = {row["payment_id"]: row["score"] for row in rows}
    assert set(scores) == {"p0", "p1"}
    assert scores["p0"] < 0.3 < 0.7 < scores["p1"]
    assert verify_release(run) == []
    assert explain(run, "p1")["score"]["score"] == scores["p1"]
    assert explain(run, "p2")["score"] is None


def test_a_changed_artifact_scores_nothing(run, tmp_path):
    path = tmp_path / "model" / "model.ubj"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    features(run, [10.0])
    with pytest.raises(ModelError, match="E-MODEL-HASH"):
        score(run)


def test_an_artifact_that_changes_between_score_and_audit_stops_the_release(run, tmp_path):
    features(run, [10.0, 90.0])
    score(run)
    (tmp_path / "model" / "model.ubj").write_bytes(b"other")
    with pytest.raises(ModelError, match="E-MODEL-HASH"):
        audit(run)
    with pytest.raises(DataError, match="E-RELEASE-UNAUDITED"):
        release(run)
