"""California housing: scores and their labels lie in separate files; labels are delivered months late and in parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from pipelines.context import Context
from pipelines.home import REPOSITORY
from pipelines.ledger import Ledger
from pipelines.monitoring.evidence import gather
from pipelines.monitoring.quality import Realised
from tests import builders
from tests.builders import put, utc

FOLDER = REPOSITORY.parent / "shared" / "data" / "california_housing"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the data set California housing is not at {FOLDER}"),
]
MONTHS = ("2021-06-01", "2021-07-01", "2021-08-01", "2021-09-01")
COLUMNS = {"id": {"type": "id"}, "timestamp": {"type": "timestamp"}, "income": {"type": "number"}}
SETTINGS: dict[str, Any] = {
    "start": "2021-06-01",
    "partition": "month",
    "source": {"format": "csv", "path": "inbox/{partition}.csv", "columns": COLUMNS},
    "key": ["id"],
    "event_time": "timestamp",
    "features": {"columns": ["income"]},
    "label": {"column": "clf_target", "source": "truth", "delay_days": 20, "min_share": 0.9},
    "label_sources": {
        "truth": {
            "column": "clf_target",
            "source": {
                "format": "csv",
                "path": "labels/{partition}.csv",
                "columns": {"id": {"type": "id"}, "clf_target": {"type": "integer"}},
            },
        }
    },
}
MODEL = {"version": 1, "as_of": utc("2021-06-01"), "record": {"holdout_metrics": {"roc_auc": 0.95}}}


def run_of(root: Path, month: str) -> Context:
    settings, home = builders.pipeline(**SETTINGS), builders.home(root)
    return Context(settings, home, Ledger(home.ledger_url), settings.parse(month), "run-1")


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    scored = pd.read_csv(FOLDER / "california_housing_analysis.csv")
    truth = pd.read_csv(FOLDER / "california_housing_analysis_gt.csv")
    found = scored.merge(truth, on="id", validate="one_to_one")
    return found.assign(month=found["timestamp"].str[:7] + "-01", id=found["id"].astype(str))


def deliver(root: Path, month: str, labels: pd.DataFrame) -> None:
    table = {"id": labels["id"], "clf_target": labels["clf_target"], "row_id": "l" + labels["id"], "partition": month}
    put(run_of(root, month), "labels_truth", pa.Table.from_pandas(pd.DataFrame(table), preserve_index=False))


def score(root: Path, month: str, scored: pd.DataFrame) -> None:
    run = run_of(root, month)
    frame = pd.DataFrame({"row_id": scored["id"], "id": scored["id"], "partition": month})
    put(run, "clean", pa.Table.from_pandas(frame, preserve_index=False))
    frame = frame.assign(score=scored["y_pred_proba"], model_version=1, is_hindsight=False)
    put(run, "predictions", pa.Table.from_pandas(frame, preserve_index=False))
    count = len(scored)
    accounting = {"read": count, "clean": count, "quarantined": 0, "duplicate": 0, "reason": None, "run_id": "r"}
    run.ledger.set_accounting(run.name, month, state="clean", **accounting)
    values = {"release_id": month, "model_version": 1, "row_count": count, "digest": "d", "path": "p"}
    run.ledger.record_release(run.name, month, is_hindsight=False, run_id="r", **values)


def realised(root: Path, month: str) -> Realised | None:
    run = run_of(root, month)
    with run.engine("monitor") as engine:
        return gather(run, engine, {"version": 1}, MODEL, []).realised


def test_quality_is_told_for_the_months_whose_labels_are_complete(tmp_path: Path, rows: pd.DataFrame) -> None:
    by_month = {month: rows[rows["month"] == month] for month in MONTHS}
    for month in MONTHS:
        score(tmp_path, month, by_month[month])
    june, july, august = (by_month[month] for month in MONTHS[:3])
    deliver(tmp_path, MONTHS[1], june)
    deliver(tmp_path, MONTHS[2], july.iloc[::2])  # every other one; the rest a month later
    deliver(tmp_path, MONTHS[3], pd.concat([july.iloc[1::2], august]))
    expected = {
        MONTHS[0]: (),  # nothing has matured
        MONTHS[1]: (june,),
        MONTHS[2]: (june,),  # July's labels are due, and half of them are there
        MONTHS[3]: (june, july, august),
    }
    for month, judged in expected.items():
        found = realised(tmp_path, month)
        if not judged:
            assert found is None
            continue
        assert found is not None
        together = pd.concat(judged)
        assert found.partitions == tuple(sorted(set(together["month"])))
        assert found.rows == len(together)
        assert found.value == pytest.approx(roc_auc_score(together["clf_target"], together["y_pred_proba"]), abs=1e-5)
