"""Texts from files to scores: read as words, watched by length, explained by term, replayed; real messages too."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipelines.context import Context
from pipelines.deduplicate import deduplicate
from pipelines.features import build_features
from pipelines.home import REPOSITORY, Home
from pipelines.ingest import ingest
from pipelines.models import load_model
from pipelines.monitoring import monitor
from pipelines.report.card_facts import card_facts
from pipelines.runs.step import open_context
from pipelines.training import evaluate, gate, promote, replay, snapshot, train
from pipelines.validate import validate
from tests.conftest import write_config
from tests.scoring import run_all

DATA = Path(os.environ.get("NIGHTSHIFT_DATA") or REPOSITORY.parent / "shared" / "data")
NEEDS_DATA = pytest.mark.skipif(not (DATA / "sms_spam").is_dir(), reason="NIGHTSHIFT_DATA holds no folder 'sms_spam'")
pytestmark = pytest.mark.slow
DAYS = [f"2026-03-{number:02d}" for number in range(1, 7)]
SMS = """
name: messages
owner: tests
start: 2026-03-01
source:
  format: csv
  path: {inbox}/{{partition}}.csv
  columns:
    payment_id: {{type: id, required: true}}
    received_at: {{type: timestamp, required: true}}
    message: {{type: text, required: true}}
    is_spam: {{type: integer}}
key: [payment_id]
event_time: received_at
deduplicate: {{by_key: true}}
features: {{columns: [message]}}
label: {{column: is_spam}}
training:
  task: binary
  holdout_partitions: 1
  min_rows: 1
  model: {{family: sklearn, estimator: LogisticRegression, parameters: {{C: 10}}}}
  encode: {{message: {{encoder: tfidf, max_features: {terms}}}}}
gate: {{min_holdout_rows: 1, leakage: null}}
monitor: {{report: never}}
"""
SUITE = """
{"name": "messages", "expectations": [
  {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "is_spam", "value_set": [0, 1]},
   "severity": "critical", "meta": {"rule_id": "IS_SPAM_0_1"}}
]}
"""
Message = tuple[str, int]


def made_up(rows: int = 360) -> list[Message]:
    random = np.random.default_rng(1)
    words = {1: ["win", "cash", "prize", "now"], 0: ["see", "you", "home", "soon"]}
    both = ["call", "me", "the", "and", "today"]
    spam = (random.random(rows) < 0.4).astype(int).tolist()
    return [(" ".join(random.choice([*words[one], *both], 6)), one) for one in spam]


def real() -> list[Message]:
    """In the order of the file; its labels are 'ham' and 'spam'."""
    lines = (DATA / "sms_spam" / "sms.tsv").read_text(encoding="utf-8").splitlines()
    return [(text, int(label == "spam")) for label, _, text in (line.partition("\t") for line in lines)]


def days_of(root: Path, messages: Sequence[Message], terms: int) -> list[Context]:
    """The days' features, as the daily chain publishes them."""
    inbox = root / "inbox"
    inbox.mkdir()
    home = Home(root=root / "home", config=write_config(root, messages=SMS.format(inbox=inbox, terms=terms)))
    (root / "expectations" / "messages.json").write_text(SUITE)
    size = -(-len(messages) // len(DAYS))
    runs = []
    for number, day in enumerate(DAYS):
        with (inbox / f"{day}.csv").open("w", newline="", encoding="utf-8") as sink:
            writer = csv.writer(sink)
            writer.writerow(["payment_id", "received_at", "message", "is_spam"])
            part = list(enumerate(messages))[number * size : (number + 1) * size]
            writer.writerows([f"m{index}", f"{day}T12:00:00Z", text, label] for index, (text, label) in part)
        run = open_context("messages", day, f"daily-{day}", home)
        for step in (ingest, validate, deduplicate, build_features):
            step(run)
        runs.append(run)
    return runs


def holdout_auc(run: Context, version: int) -> float:
    record = run.ledger.model(run.name, version)["record"]
    return float(record["holdout_metrics"]["roc_auc"])


def test_texts_go_from_files_to_scores_and_are_explained_and_watched(tmp_path: Path) -> None:
    *_, yesterday, today = days_of(tmp_path, made_up(), terms=12)
    run = replace(yesterday, run_id="retrain-1")
    snapshot_id = snapshot(run)["snapshot_id"]
    version = int(train(run, snapshot_id)["version"])
    assert holdout_auc(run, version) > 0.95
    evaluate(run, snapshot_id, version)
    gate(run, snapshot_id, version)
    promote(run, version)
    released = run_all(today)
    assert released["rows"] == 60
    watched: dict[str, Any] = monitor(today)
    assert not [reason for reason in watched["reasons"] if "new categories" in reason]
    card = card_facts(run, version)
    assert all(row["linear"] is not None for row in card["metrics"])  # a baseline reads texts, too
    assert card["preparation"][0]["said"] == ["message is encoded as tfidf of its terms: 12 columns."]
    terms = {row["term"]: row["per_unit"] for row in card["explanation"]["coefficients"]["rows"]}
    assert terms["message~prize"] > 2
    assert terms["message~home"] < 0.5
    assert card["explanation"]["dependence"] == []
    assert replay(replace(run, run_id="replay-1"), version)["verdict"] == "equal"


@NEEDS_DATA
def test_spam_is_told_from_real_messages(tmp_path: Path) -> None:
    *_, last = days_of(tmp_path, real(), terms=1000)
    run = replace(last, run_id="retrain-1")
    version = int(train(run, snapshot(run)["snapshot_id"])["version"])
    assert holdout_auc(run, version) > 0.97
    model = load_model(run, version)
    unseen = run.snapshot("features").read([last.key])
    truth = {row["row_id"]: row["is_spam"] for row in run.snapshot("clean").read([last.key]).to_pylist()}
    labels = [truth[row_id] for row_id in unseen["row_id"].to_pylist()]
    assert roc_auc_score(labels, model.predict(unseen)) == pytest.approx(holdout_auc(run, version), abs=1e-4)
    assert max(model.preprocess.output_names, key=len).startswith("message~")
