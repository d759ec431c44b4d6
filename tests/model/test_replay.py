"""A registered version is rebuilt from its record: equal, or each thing that differs is named; nothing else changes."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from pipelines.cli import app
from pipelines.context import Context
from pipelines.errors import ModelError
from pipelines.home import Home
from pipelines.training import replay, snapshot, train, tune
from tests.builders import PAYMENTS
from tests.conftest import write_config
from tests.model.feeds import TRAINING, arrivals, at, day, learnable
from tests.model.test_warm_start import MORE, NETWORK, TREES, crown

DAYS = ("2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04")
COMPARED = ("config", "rows", "parameters", "metrics", "predictions", "artifact")
pytestmark = pytest.mark.slow


def trained(run: Context) -> int:
    snapshot_id = snapshot(run)["snapshot_id"]
    tune(run, snapshot_id)
    return int(train(run, snapshot_id)["version"])


def different(result: dict[str, Any]) -> set[str]:
    return {name for name in COMPARED if result[name] == "different"}


def published(run: Context) -> dict[str, str]:
    """Everything that a replay must leave alone: tables, models, registry, and what the ledger says of them."""
    files = {
        f"{place}/{entry.name}": hashlib.sha256(stored.read(entry.name) or b"").hexdigest()
        for place in ("tables", "models", "exports", "mlflow/artifacts")
        for stored in (run.home.files(place),)
        for entry in stored.entries()
    }
    facts = [run.ledger.models(run.name), run.ledger.champions(run.name), run.ledger.decisions(run.name)]
    return files | {"ledger": str(facts)}


@pytest.fixture
def run(new_home: Any) -> Context:
    made: Context = new_home("2026-03-04")
    learnable(made, DAYS)
    return made


@pytest.fixture
def in_a_bucket(new_home: Callable[..., Context], s3_root: str, monkeypatch: pytest.MonkeyPatch) -> Context:
    """The same in S3; ledger and MLflow stay on this machine."""
    monkeypatch.setenv("NIGHTSHIFT_STORAGE", s3_root)
    made = new_home("2026-03-04")
    learnable(made, DAYS)
    return made


def one_row_changed(run: Context) -> None:
    """The same day again, with the amount of its fourth payment raised by one euro."""
    rows = run.snapshot("clean").read([DAYS[1]]).sort_by("row_id").to_pylist()
    rows[3]["amount_eur"] += 1.0
    names = ("row_id", "payment_id", "card_id", "paid_at", "amount_eur", "country", "is_fraud")
    day(run, DAYS[1], [{name: row[name] for name in names} for row in rows])


def test_versions_are_rebuilt_and_nothing_is_touched(run: Context) -> None:
    first = trained(run)
    forest = {"family": "sklearn", "estimator": "RandomForestClassifier", "parameters": {"n_estimators": 5}}
    tuning = {"trials": 2, "ranges": {"max_depth": [1, 4]}}
    second = trained(at(run, run.key, run_id="retrain-2", training=TRAINING | {"model": forest}))
    # In another order than that of their names.
    features = {"columns": ["country", "amount_eur"]}
    tuned = TRAINING | {"tuning": tuning, "seed": 5}
    third = trained(at(run, run.key, run_id="retrain-3", training=tuned, features=features))
    shutil.rmtree(run.home.root / "staging")
    before = published(run)
    for version in (first, second, third):
        result = replay(replace(run, run_id="replay-1"), version)
        assert (result["verdict"], result["differences"], result["surroundings"]) == ("equal", [], [])
        assert result["artifact_sha256"] == run.ledger.model(run.name, version)["artifact_sha256"]
    assert published(run) == before
    assert [path for path in (run.home.root / "staging").rglob("*") if path.is_file()] == []


def test_the_record_is_used_where_the_world_moved_on(run: Context) -> None:
    """A corrected day, a new seed and a later day: the old version is rebuilt all the same; changes are told."""
    version = trained(run)
    one_row_changed(run)
    learnable(run, ["2026-03-05"], seed=2)
    later = at(run, "2026-03-05", run_id="replay-1", training=TRAINING | {"seed": 2})
    result = replay(later, version)
    assert result["verdict"] == "equal", result["differences"]
    assert result["since"][0] == "config: training.seed 20260101 -> 2"
    assert [line.split(" was")[0] for line in result["since"][1:]] == [
        "table: clean 2026-03-02",
        "table: features 2026-03-02",
    ]


@pytest.mark.parametrize("is_staged", [True, False], ids=["rows still staged", "rows read from the old version"])
def test_one_changed_row_is_named(run: Context, is_staged: bool) -> None:
    version = trained(run)
    old = run.snapshot("features").read([DAYS[1]]).sort_by("row_id")["amount_eur"][3].as_py()
    one_row_changed(run)
    if not is_staged:
        shutil.rmtree(run.home.root / "staging")
    result = replay(run, version, inputs="today")
    assert result["verdict"] == "different"
    assert "rows" in different(result)
    assert result["differences"][0] == (
        f"input: partition {DAYS[1]}: 1 row changed (row {DAYS[1]}-3 amount_eur {old} -> {old + 1.0})"
    )
    assert different(result) <= {"rows", "metrics", "predictions", "artifact"}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"seed": 7}, "config: training.seed 20260101 -> 7"),
        (
            {"model": TRAINING["model"] | {"parameters": {"max_depth": 2}}},
            "config: training.model.parameters.max_depth 3 -> 2",
        ),
    ],
    ids=["another seed", "one value"],
)
def test_a_changed_setting_is_named_with_all_that_follows_from_it(run: Context, changes: Any, line: str) -> None:
    version = trained(run)
    result = replay(at(run, run.key, run_id="replay-1", training=TRAINING | changes), version, settings="today")
    assert result["differences"][0] == line
    assert (result["config"], result["rows"], result["artifact"]) == ("different", "equal", "different")
    told = "\n".join(result["differences"])
    if "seed" in changes:
        assert "artifact: model.json facts.seed 20260101 -> 7" in told
    else:
        assert different(result) == {"config", "parameters", "metrics", "predictions", "artifact"}
        assert "parameter: max_depth 3 -> 2" in told
        assert "metric: roc_auc " in told
        assert "artifact: model.ubj has other bytes" in told


def test_partitions_that_change_sides_are_named(run: Context) -> None:
    version = trained(run)
    wider = at(run, run.key, training=TRAINING | {"holdout_partitions": 2})
    result = replay(wider, version, settings="today")
    assert result["differences"][:2] == [
        "config: training.holdout_partitions 1 -> 2",
        f"input: partition {DAYS[2]} training -> holdout",
    ]


def test_another_library_and_other_code_are_named_and_decide_nothing(run: Context) -> None:
    version = trained(run)
    row = run.ledger.model(run.name, version)
    made_from = row["record"]["made_from"]
    libraries = made_from["libraries"] | {"optuna": "1.0.0"}
    code = made_from["code"] | {"pipelines/models": "0" * 16}
    record = row["record"] | {"made_from": made_from | {"libraries": libraries, "code": code}, "code_version": "abc"}
    given = {name: row[name] for name in ("run_id", "as_of", "mlflow_run_id", "artifact_uri", "artifact_sha256")}
    assert run.ledger.record_model(run.name, **given, record=record) == version
    result = replay(run, version)
    assert result["verdict"] == "equal"
    library, changed_code = result["surroundings"]
    assert library.startswith('library: optuna "1.0.0" -> ')
    assert changed_code.startswith("code: pipelines/models (commit abc -> ")


def data_files(run: Context, table: str, partition: str) -> list[Path]:
    return sorted((run.home.root / "tables" / run.name / table / f"partition={partition}").glob("*.parquet"))


def test_rows_that_are_gone_are_said_to_be_gone(run: Context) -> None:
    version = trained(run)
    (old,) = data_files(run, "features", DAYS[1])
    one_row_changed(run)
    old.unlink()  # what a vacuum does
    with pytest.raises(ModelError, match=r"E-REPLAY-GONE payments version 1: 'features' .* '2026-03-02' are gone"):
        replay(run, version)
    shutil.rmtree(run.home.root / "staging")
    result = replay(run, version, inputs="today")
    assert result["differences"][0].startswith("input: the rows of partition 2026-03-02 have another digest")


def test_a_cleaned_log_is_no_loss_while_the_partitions_are_the_same(run: Context) -> None:
    version = trained(run)
    learnable(run, ["2026-03-05"], seed=2)
    log = run.home.root / "tables" / run.name / "features" / "_delta_log"
    run.snapshot("features").delta().create_checkpoint()
    for commit in sorted(log.glob("*.json"))[:-1]:
        commit.unlink()
    result = replay(run, version)
    assert result["verdict"] == "equal", result["differences"]
    (note,) = result["since"]
    assert note == "table: features at version 4: its log was cleaned up; version 5 holds the same"


def test_rows_that_were_tampered_with_are_noticed(run: Context) -> None:
    """A data file with other rows under its old name: the table's own log says nothing of it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    version = trained(run)
    (file,) = data_files(run, "features", DAYS[0])
    rows = pq.ParquetFile(file).read()
    amounts = [value + (0.5 if number == 7 else 0.0) for number, value in enumerate(rows["amount_eur"].to_pylist())]
    pq.write_table(rows.set_column(rows.schema.get_field_index("amount_eur"), "amount_eur", pa.array(amounts)), file)
    result = replay(run, version)
    assert result["verdict"] == "different"
    assert result["differences"][0].startswith(f"input: partition {DAYS[0]}: 1 row changed (row ")


@pytest.mark.parametrize("model", [TREES, NETWORK], ids=["xgboost", "torch"])
def test_a_version_that_went_on_from_another_is_rebuilt_on_another_machine(
    in_a_bucket: Context, tmp_path: Path, model: dict[str, Any]
) -> None:
    """Only the bucket and the ledger are shared: rows, and the parent's files, come from there."""
    run = in_a_bucket
    warm = TRAINING | {"model": model, "warm_start": MORE[model["family"]]}
    first = at(run, DAYS[2], run_id="retrain-1", training=warm)
    crown(first, trained(first))
    second = at(run, DAYS[3], run_id="retrain-2", training=warm)
    assert trained(second) == 2
    assert run.ledger.model(run.name, 2)["record"]["warm_start"]["parent"]["version"] == 1
    run.home.files("staging").remove_folder(run.name)
    before = published(run)
    elsewhere = replace(second, home=Home(tmp_path / "elsewhere", run.home.config), run_id="replay-1")
    for version in (1, 2):
        result = replay(elsewhere, version)
        assert (result["verdict"], result["differences"], result["surroundings"]) == ("equal", [], [])
    assert published(run) == before
    assert list(run.home.files("staging").entries()) == []
    assert list(elsewhere.home.scratch.iterdir()) == []


def test_old_rows_are_found_in_a_bucket_as_long_as_they_are_there(in_a_bucket: Context) -> None:
    run = in_a_bucket
    version = trained(run)
    run.home.files("staging").remove_folder(run.name)
    tables = run.home.files("tables", run.name, "features")
    (old,) = [entry.name for entry in tables.entries(f"partition={DAYS[1]}/")]
    one_row_changed(run)
    assert replay(run, version)["verdict"] == "equal"
    result = replay(run, version, inputs="today")
    assert result["differences"][0].startswith(f"input: partition {DAYS[1]}: 1 row changed (row {DAYS[1]}-3 amount_eur")
    tables.remove(old)  # what a vacuum does
    with pytest.raises(ModelError, match=r"E-REPLAY-GONE payments version 1: 'features' .* '2026-03-02' are gone"):
        replay(run, version)


def test_labels_that_arrived_later_change_nothing(new_home: Any) -> None:
    from tests.model.feeds import LATE_LABELS

    run = new_home("2026-03-04", **LATE_LABELS)
    learnable(run, DAYS)
    for number, partition in enumerate(DAYS[:3]):
        arrivals(run, DAYS[number + 1], [(f"{partition}-{row}", int(row % 100 > 50)) for row in range(200)])
    version = trained(run)
    arrivals(run, DAYS[3], [(f"{DAYS[0]}-{row}", 1) for row in range(5)])
    result = replay(run, version)
    assert result["verdict"] == "equal", result["differences"]
    assert [line.split(" was")[0] for line in result["since"]] == ["table: labels_chargebacks 2026-03-04"]


def test_a_version_of_an_earlier_release_is_refused_with_what_it_lacks(run: Context) -> None:
    version = trained(run)
    row = run.ledger.model(run.name, version)
    given = {name: row[name] for name in ("run_id", "as_of", "mlflow_run_id", "artifact_uri", "artifact_sha256")}
    old = {name: value for name, value in row["record"].items() if name not in ("made_from", "row_digests")}
    run.ledger.record_model(run.name, **given, record=old)
    with pytest.raises(ModelError, match=r"E-REPLAY-RECORD payments version 1: .*lacks 'made_from', 'row_digests'"):
        replay(run, version)


def test_the_command_prints_what_differs_and_exits_with_1(run: Context, tmp_path: Path) -> None:
    version = trained(run)
    today = yaml.safe_dump(PAYMENTS | {"training": TRAINING | {"seed": 7}})
    config = write_config(tmp_path / "today", payments=today)

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--home", str(run.home.root), "--config", str(config)])

    equal = call("replay", "payments", str(version))
    assert equal.exit_code == 0, equal.stderr
    assert equal.stdout.startswith("payments v1  equal  (inputs recorded, settings recorded")
    assert "Changed since then, not used here\n  config: training.seed 20260101 -> 7" in equal.stdout
    other = call("replay", "payments", str(version), "--settings", "today")
    assert other.exit_code == 1
    assert "What differs\n  config: training.seed 20260101 -> 7\n" in other.stdout
    unknown = call("replay", "payments", "9")
    assert (unknown.exit_code, unknown.stderr) == (1, "E-MODEL-UNKNOWN payments: version 9 was never registered.\n")
    assert [row["step"] for row in run.ledger.attempts("payments")] == ["replay", "replay", "replay"]
