"""`nightshift experiments`: versions and trials best first, filtered, and two versions side by side, without MLflow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pipelines.cli import app
from pipelines.ledger import Ledger
from pipelines.report.comparison import together
from pipelines.training.tuning_study import Studies
from tests.builders import home, utc
from tests.conftest import ALPHA, write_config

SETTINGS = {"training": {"task": "binary", "metric": None, "quantile": None, "seed": 1}}
MADE = {"settings": SETTINGS, "python": "3.11.7", "machine": "Linux", "libraries": {"xgboost": "3.2.0"}, "lock": "a"}
GAIN = {"name": "champion", "passed": True, "text": "roc_auc 0.80 against 0.75", "numbers": {"gain": 0.05}}
BESIDE = {"champion": 1, "checks": [GAIN]}
MADE |= {"code": {"pipelines/models": "aaaa"}, "feature_code": {}}


def record(**changes: Any) -> dict[str, Any]:
    return {
        "family": "xgboost",
        "estimator": "XGBoost",
        "parameters": {"max_depth": 3},
        "holdout_metrics": {"roc_auc": 0.81, "log_loss": 0.4},
        "snapshot_id": "5a5a0001",
        "digests": {"train": "t1", "holdout": "h1"},
        "row_digests": {"2026-03-01": "r1", "2026-03-02": "r2"},
        "training_partitions": ["2026-03-01"],
        "holdout_partitions": ["2026-03-02"],
        "features": {"amount": "number"},
        "code_version": "c0ffee000001",
        "made_from": MADE,
        **changes,
    }


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Three versions: a former champion, the champion (tuned, from the first), and one that the gate held."""
    write_config(tmp_path, alpha=ALPHA)
    root = tmp_path / "home"
    root.mkdir()
    ledger = Ledger(home(root).ledger_url)
    seeded = MADE | {"settings": {"training": SETTINGS["training"] | {"seed": 2}}, "code": {"pipelines/models": "bbbb"}}
    tuning = {"parameters": {"max_depth": 5}, "study": "alpha 5a5a0002 d"}
    records = [
        record(),
        record(
            holdout_metrics={"roc_auc": 0.9, "log_loss": 0.3},
            parameters={"max_depth": 5},
            tuning=tuning,
            warm_start={"parent": {"version": 1}},
            snapshot_id="5a5a0002",
            digests={"train": "t2", "holdout": "h2"},
            row_digests={"2026-03-01": "other", "2026-03-02": "r2", "2026-03-03": "r3"},
            training_partitions=["2026-03-01", "2026-03-02"],
            holdout_partitions=["2026-03-03"],
            made_from=seeded,
            code_version="deadbeef0002",
        ),
        record(holdout_metrics={"roc_auc": None, "log_loss": 0.35}, snapshot_id="5a5a0002"),
    ]
    for number, one in enumerate(records, start=1):
        attempt = ledger.start_attempt("alpha", "2026-03-02", "train", f"run-{number}", "c")
        version = ledger.record_model(
            "alpha",
            run_id=f"run-{number}",
            as_of=utc(f"2026-03-0{number + 2}"),
            mlflow_run_id=None,
            artifact_uri="models/x",
            artifact_sha256="x",
            record=one,
        )
        ledger.end_attempt(attempt, "done", {"version": version, "seconds": 1.5 * number}, None, 10)
        ledger.record_decision(
            "alpha",
            "gate",
            "2026-03-02",
            run_id=f"run-{number}",
            outcome="HOLD" if number == 3 else "PROMOTE",
            model_version=version,
            reasons=[],
            numbers=BESIDE if number == 2 else {},
        )
    for seq, version in enumerate((1, 2)):
        ledger.change_champion(
            "alpha",
            version,
            expected_seq=seq,
            effective_from=utc("2026-03-03"),
            action="promote",
            reason="gain",
            actor="gate",
            run_id="r",
        )
    searched(Studies(home(root).ledger_url))
    return tmp_path


def searched(studies: Studies) -> None:
    values = {"pipeline": "alpha", "snapshot_id": "5a5a0002", "partition": "2026-03-02", "metric": "roc_auc"}
    values |= {"direction": "higher", "trials": 4, "code_version": "deadbeef0002", "settings": {}}
    studies.open("alpha 5a5a0002 d", **values, first=[{"origin": "champion v1", "parameters": {"max_depth": 3}}])
    ends: list[dict[str, Any]] = [
        {"state": "complete", "value": 0.7, "looks": [[5, 0.6], [10, 0.5]]},
        {"state": "pruned", "looks": [[5, 0.69]]},
        {"state": "failed", "reason": "E-TRAIN-FIT 'XGBoost': the loss is no number."},
    ]
    for number, end in enumerate(ends):
        studies.claim("alpha 5a5a0002 d", 4, "me", True, lambda _: False)
        studies.begin("alpha 5a5a0002 d", number, "me", {"max_depth": 3 + number})
        studies.end("alpha 5a5a0002 d", number, "me", **end)
    studies.claim("alpha 5a5a0002 d", 4, "me", True, lambda _: False)
    studies.begin("alpha 5a5a0002 d", 3, "me", {"max_depth": 6})
    studies.end("alpha 5a5a0002 d", 3, "me", "complete", value=0.8)


def call(place: Path, *arguments: str, code: int = 0) -> Result:
    options = ["--home", str(place / "home"), "--config", str(place / "config")]
    result = CliRunner().invoke(app, ["experiments", "alpha", *arguments, *options], env={"COLUMNS": "100"})
    assert result.exit_code == code, result.output
    return result


def found(place: Path, *arguments: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(call(place, *arguments, "--json").stdout)
    return data


def test_versions_come_best_first_with_what_made_them(place: Path) -> None:
    versions = found(place)["versions"]
    assert [(one["version"], one["state"]) for one in versions] == [(2, "champion"), (1, "former"), (3, "HOLD")]
    best = versions[0]
    assert (best["seconds"], best["parent"], best["code"]) == (3.0, 1, "deadbeef0002")
    assert best["parameters"] == {"max_depth": 5}
    assert (best["snapshot_id"], best["search"]) == ("5a5a0002", "alpha 5a5a0002 d")


def test_a_metric_where_less_is_better_turns_the_order(place: Path) -> None:
    assert [one["version"] for one in found(place, "--sort", "log_loss")["versions"]] == [2, 3, 1]


def test_versions_without_a_metric_come_newest_first(place: Path) -> None:
    """Of segments nobody says which are better."""
    ledger = Ledger(home(place / "home").ledger_url)
    for row in ledger.models("alpha"):
        facts = {"holdout_metrics": {"largest_share": 0.1 * row["version"]}, "made_from": None}
        kept = {name: row[name] for name in ("run_id", "as_of", "mlflow_run_id", "artifact_uri", "artifact_sha256")}
        ledger.record_model("alpha", **kept, record=row["record"] | facts)
    assert [one["version"] for one in found(place)["versions"]] == [3, 2, 1]
    compared = found(place, "--compare", "1", "2")
    assert compared["metrics"][0]["better"] is None
    assert (
        compared["settings"] == compared["code"] == ["not recorded: one of them was registered by an earlier release"]
    )
    assert "Versions, newest first" in call(place).output


def test_a_metric_that_no_version_has_is_named(place: Path) -> None:
    assert "Did you mean 'roc_auc'?" in call(place, "--sort", "roc_auk", code=2).output


@pytest.mark.parametrize(
    ("arguments", "versions", "searches"),
    [
        pytest.param(["--snapshot", "5a5a0002"], [2, 3], 1, id="data"),
        pytest.param(["--code", "c0ffee"], [1, 3], 0, id="code"),
        pytest.param(["--snapshot", "5a5a0002", "--code", "c0ffee"], [3], 0, id="both"),
        pytest.param(["--snapshot", "9"], [], 0, id="none"),
    ],
)
def test_only_the_wanted_are_shown(place: Path, arguments: list[str], versions: list[int], searches: int) -> None:
    data = found(place, *arguments)
    assert [one["version"] for one in data["versions"]] == versions
    assert len(data["searches"]) == searches


def test_trials_come_best_first_and_say_how_they_ended(place: Path) -> None:
    (search,) = found(place)["searches"]
    assert [(one["trial"], one["state"], one["value"]) for one in search["trials"]] == [
        (3, "complete", 0.8),
        (0, "complete", 0.7),
        (1, "pruned", None),
        (2, "failed", None),
    ]
    assert search["states"] == {"complete": 2, "failed": 1, "pruned": 1}
    assert [one["origin"] for one in search["trials"]] == ["sampled", "champion v1", "sampled", "sampled"]
    assert search["trials"][2]["last_step"] == 5


def test_two_versions_side_by_side(place: Path) -> None:
    data = found(place, "--compare", "1", "2")
    assert data["data"] == [
        "input: partition 2026-03-02 holdout -> training",
        "input: partition 2026-03-03 unused -> holdout",
        "input: partition 2026-03-01 has other rows",
    ]
    assert data["settings"] == ["training.seed 1 -> 2"]
    assert data["code"] == ["code: pipelines/models (commit c0ffee000001 -> deadbeef0002)"]
    assert data["parameters"] == ["max_depth 3 -> 5"]
    assert [(row["metric"], row["better"]) for row in data["metrics"]] == [("log_loss", 2), ("roc_auc", 2)]
    assert data["same_holdout"] is False


def test_on_other_holdouts_the_gate_says_which_is_better_on_the_same_rows(place: Path) -> None:
    told = {one["version"]: one["against_champion"] for one in found(place)["versions"]}
    assert told == {1: None, 2: {"over": 1, "gain": 0.05, "text": GAIN["text"]}, 3: None}
    assert found(place, "--compare", "2", "1")["judged"] == [GAIN["text"]]
    assert found(place, "--compare", "2", "3")["judged"] == []
    page = " ".join(call(place, "--compare", "1", "2").stdout.split())
    assert "On the same rows, by the gate: roc_auc 0.80 against 0.75" in page
    assert "better" not in page


def test_partitions_that_moved_alike_stand_in_one_line() -> None:
    lines = [f"input: partition 2026-03-0{day} {move}" for day, move in ((1, "a -> b"), (2, "a -> b"), (3, "b -> a"))]
    assert together(lines) == ["input: 2 partitions 2026-03-01 to 2026-03-02 a -> b", lines[2]]


def test_a_version_compared_with_itself_differs_in_nothing(place: Path) -> None:
    data = found(place, "--compare", "1", "1")
    assert [data[subject] for subject in ("data", "settings", "code", "parameters")] == [[], [], [], []]
    assert {row["better"] for row in data["metrics"]} == {None}


def test_pages_are_readable_in_100_columns(place: Path) -> None:
    pages = [call(place).stdout, call(place, "--compare", "1", "2").stdout]
    assert max(len(line.rstrip()) for page in pages for line in page.splitlines()) <= 100
    assert "v2" in pages[0]
    assert "Search of 2026-03-02: of 4 trials 2 complete, 1 failed, 1 pruned" in pages[0]
    assert "max_depth=5 (E-TRAIN-FIT 'XGBoost': the loss is no number.)" in " ".join(pages[0].split())
    assert "Parameters\n  max_depth 3 -> 5" in pages[1]


def test_an_unknown_version_and_an_empty_home_say_so(place: Path, tmp_path: Path) -> None:
    assert "E-MODEL-UNKNOWN alpha: version 9 was never registered" in call(place, "--compare", "1", "9", code=1).output
    (tmp_path / "empty" / "home").mkdir(parents=True)
    (place / "config").rename(tmp_path / "empty" / "config")
    assert "no version yet" in call(tmp_path / "empty").output
