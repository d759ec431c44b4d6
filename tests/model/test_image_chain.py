"""Images through the whole chain: files named in a CSV, a release, a model card, and a replay without the files."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.context import Context
from pipelines.deduplicate import deduplicate
from pipelines.explain import explain
from pipelines.features import build_features
from pipelines.ingest import ingest
from pipelines.monitoring import monitor
from pipelines.training import evaluate, gate, promote, replay, snapshot, train
from pipelines.validate import validate
from tests.model.feeds import TRAINING, at
from tests.model.pictures import SIZE, png, stripes_or_dots
from tests.scoring import run_all

ROWS = 120
COLUMNS = {
    "payment_id": {"type": "id", "required": True},
    "paid_at": {"type": "timestamp", "required": True},
    "amount_eur": {"type": "number"},
    "picture": {"type": "image", "image": {"size": SIZE, "folder": "pictures"}},
    "is_fraud": {"type": "integer"},
}
SUITE = {
    "name": "payments",
    "expectations": [
        {
            "type": "expect_column_values_to_not_be_null",
            "kwargs": {"column": "amount_eur"},
            "severity": "critical",
            "meta": {"rule_id": "amount"},
        }
    ],
}
NETWORK = {
    "family": "torch_image",
    "hidden_layers": [16],
    "channels": 8,
    "batch_rows": 64,
    "learning_rate": 0.005,
    "epochs": 8,
    "early_stopping_epochs": None,
}
FUSION = {
    "family": "ensemble",
    "combine": "fusion",
    "folds": 2,
    "members": {
        "numbers": {"family": "xgboost", "rounds": 5, "early_stopping_rounds": None},
        "image": NETWORK,
    },
    "columns": {"numbers": ["amount_eur"], "image": ["picture"]},
}


def delivered(root: Path, partition: str) -> None:
    """One row in ten has no picture; one names a file that is no image."""
    pictures, answers, present = stripes_or_dots(ROWS, int(partition[-2:]), missing=0.1)
    folder = root / "pictures" / partition
    folder.mkdir(parents=True)
    lines = ["payment_id,paid_at,amount_eur,picture,is_fraud"]
    for row in range(ROWS):
        name = f"{partition}/{row}.png" if present[row] else ""
        if name:
            (folder / f"{row}.png").write_bytes(png(pictures[row]))
        lines.append(f"{partition}-{row},{partition}T{row // 60:02}:{row % 60:02}:00Z,{row % 7},{name},{answers[row]}")
    (folder / "bad.png").write_bytes(png(pictures[0])[:60])
    lines.append(f"{partition}-bad,{partition}T05:00:00Z,1,{partition}/bad.png,0")
    (root / "inbox").mkdir(exist_ok=True)
    (root / "inbox" / f"{partition}.csv").write_text("\n".join(lines) + "\n")


def night(run: Context, partition: str) -> Context:
    here = at(run, partition)
    for step in (ingest, validate, deduplicate, build_features):
        step(here)
    return here


@pytest.fixture
def run(new_home: Any, tmp_path: Path) -> Context:
    made = new_home(
        "2026-03-05",
        source={"format": "csv", "path": "inbox/{partition}.csv", "columns": COLUMNS},
        training=TRAINING | {"model": FUSION, "missing": {"amount_eur": {"strategy": "median"}}},
        features={"columns": ["amount_eur", "picture"]},
        gate={"policy": "bootstrap", "min_holdout_rows": 50},
        audit={"max_shift": 5.0},
        deduplicate={"by_key": True},
    )
    (tmp_path / "expectations").mkdir()
    (tmp_path / "expectations" / "payments.json").write_text(json.dumps(SUITE))
    return replace(made, home=replace(made.home, config=tmp_path / "config"))


@pytest.mark.slow
def test_images_go_from_files_to_a_release_and_a_replay_needs_no_files(run: Context, tmp_path: Path):
    for day in range(1, 7):
        delivered(tmp_path, f"2026-03-0{day}")
        night(run, f"2026-03-0{day}")
    rows = run.ledger.accounting(run.name)
    assert {(row["read"], row["clean"], row["quarantined"]) for row in rows} == {(ROWS + 1, ROWS, 1)}

    snapshot_id = snapshot(run)["snapshot_id"]
    version = train(run, snapshot_id)["version"]
    evaluate(run, snapshot_id, version)
    decision = gate(run, snapshot_id, version)
    assert decision["outcome"] == "PROMOTE", decision["reasons"]
    promote(run, version)

    shutil.rmtree(tmp_path / "pictures")
    later = at(run, "2026-03-06")
    assert run_all(later)["state"] == "done"
    scored = released(later)
    assert len(scored) == ROWS
    assert np.isfinite(scored["score"].to_numpy()).all()
    assert monitor(later)["decision"] in ("OK", "WATCH")

    shown = explain(later, "2026-03-06-1")
    assert (shown["features"]["amount_eur"], shown["features"]["picture"]) == (1.0, f"{SIZE * SIZE} bytes")

    record = run.ledger.model(run.name, version)["record"]
    assert record["parameters"]["columns"] == {"numbers": ["amount_eur"], "image": ["picture"]}
    assert record["features"] == {"amount_eur": "number", "picture": "image"}
    assert replay(run, version)["verdict"] == "equal"
    card = (tmp_path / "reports" / run.name / "models" / f"{version}.html").read_text()
    assert len(re.findall(r'<img src="data:image/png;base64,iVBOR', card)) == 6
    assert {path.name for path in tmp_path.glob("mlflow/**/plots/grad_cam_*.png")} == {
        f"grad_cam_{number}.png" for number in range(1, 7)
    }


def released(here: Context) -> pa.Table:
    with here.engine("score") as engine:
        return engine.table(engine.scan(here.snapshot("predictions"), [here.key]), order_by=["row_id"])
