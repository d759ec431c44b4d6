"""Registered versions behind MLflow: the same answers as the batch, no pickle, none of the pipeline's own libraries."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipelines.context import Context
from pipelines.errors import DataError, ModelError
from pipelines.models import load_model
from pipelines.models.artifact import artifact_sha256
from pipelines.models.certainty import certainty_arrays
from pipelines.models.estimators import ESTIMATORS
from pipelines.models.fitting import fit
from pipelines.models.model import Model
from pipelines.models.recipe import Rows
from pipelines.servers.ports import free_ports
from pipelines.serving.checking import check_serving, request
from pipelines.serving.package import requirements, write_package
from pipelines.serving.served import answer, feature_table, open_checked
from pipelines.settings.tasks import WIDE_TASKS
from pipelines.training import snapshot, train
from pipelines.training.mlflow_client import registry
from pipelines.training.sample import take_sample
from tests.model import test_fusion, test_torch_sequence
from tests.model.feeds import TRAINING, context, day
from tests.model.test_models_families import CASES, FEW, ROWS, XGBOOST, recipe, sklearn, table, target

CHILD = Path(__file__).with_name("serving_child.py")
NETWORK = {"family": "torch", "hidden_layers": [8, 4], "epochs": 2, "batch_rows": 64}
MIXED = {
    "family": "ensemble",
    "combine": "stacking",
    "folds": 3,
    "members": {"trees": XGBOOST, "network": NETWORK, "plain": sklearn("LogisticRegression")},
}
DROP = {"amount_eur": {"strategy": "drop"}, "country": {"strategy": "mode", "indicator": True}}
MEDIAN = {"default": {"strategy": "median"}}
ONE_TASK = {name: task for name, task in CASES if task != "segments"}
FAMILIES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    *((task, XGBOOST, {}) for task in ("binary", "multiclass", "regression", "quantile")),
    *((task, NETWORK, MEDIAN) for task in ("binary", "multiclass", "regression", "anomaly")),
    *((task, MIXED, DROP) for task in ("binary", "multiclass")),
    ("binary", sklearn("LogisticRegression"), DROP),
    ("binary", XGBOOST, {"amount_eur": {"strategy": "knn"}}),
    ("regression", sklearn("Ridge"), {"amount_eur": {"strategy": "iterative"}}),
    # Each estimator for one task: that it is read again for all of them is tested where it is fitted.
    *((task, sklearn(name, **FEW.get(name, {})), MEDIAN) for name, task in ONE_TASK.items()),
]
# Missing in each column, a category never seen, an id that must stay text, a number far from all others.
ASKED: dict[str, list[Any]] = {
    "amount_eur": [12.5, None, 99.999999999, 0.1, 500.0, 51.0],
    "age_days": [3, 4, None, 49, 0, 7],
    "country": ["DE", "FR", None, "never seen", "AT", "007"],
}


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


def fitted(task: str, model: dict[str, Any], missing: dict[str, Any]) -> Model:
    late = None if model["family"] in ("sklearn", "ensemble") else np.arange(ROWS) >= 120
    return fit(recipe(task, model, missing), Rows(table(), target(task)), late)


def target_of(rows: pa.Table) -> np.ndarray:
    """Three classes by the amount, as `target` has them for its own rows."""
    return np.nan_to_num(rows["amount_eur"].to_numpy()) // 34


def packed(model: Model, folder: Path, rows: pa.Table | None = None) -> Path:
    files = model.to_files()
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_package(
        folder, model, files, artifact_sha256(files), {"sample": take_sample(model, table() if rows is None else rows)}
    )
    return folder


def split(columns: dict[str, list[Any]]) -> dict[str, Any]:
    data = [list(row) for row in zip(*columns.values(), strict=True)]
    return {"dataframe_split": {"columns": list(columns), "data": data}}


def scores_of(answers: list[dict[str, Any]], model: Model) -> np.ndarray:
    """`(n,)` or `(n, k)`, NaN for null."""
    is_wide = model.task in WIDE_TASKS
    names = [f"score_{name}" for name in model.classes] if is_wide else ["score"]
    found = np.array([[one[name] for name in names] for one in answers], dtype=np.float64)
    return found if is_wide else found[:, 0]


def other_inputs() -> list[tuple[Model, pa.Table]]:
    """Models of events, of images beside texts and numbers, and of segments, with rows that lack some of them."""
    events, answers = test_torch_sequence.events(200, 1)
    sequences = [test_torch_sequence.recipe(kind, epochs=1) for kind in ("cnn", "lstm")]
    mixed = test_fusion.payments(80, 1, missing=0.3)
    segments = recipe("segments", sklearn("KMeans", n_clusters=3), MEDIAN)
    return [
        *((fit(one, Rows(events, answers), np.arange(200) >= 150), events.slice(0, 20)) for one in sequences),
        (fit(test_fusion.recipe(), mixed, None), mixed.table.slice(0, 20)),
        (fit(segments, Rows(table(), np.zeros(ROWS)), None), table(20, seed=5)),
    ]


@pytest.mark.slow
def test_every_family_answers_through_mlflow_bit_for_bit_without_pickle(tmp_path, monkeypatch):
    """In a process that lacks Airflow, Delta, DuckDB, ... and every way to unpickle a class.

    The code is the copy beside the first model.
    """
    # It only warns of other versions than those installed here, and takes a third of the time of packing.
    monkeypatch.setattr("mlflow.utils.environment.warn_dependency_requirement_mismatches", lambda _: None)
    rows = pa.table({name: pa.array(values) for name, values in ASKED.items()})
    cases = [(fitted(*family), rows, str(family)) for family in FAMILIES]
    cases += [(model, rows, model.estimator_name) for model, rows in other_inputs()]
    paths = []
    for number, (model, rows, _) in enumerate(cases):
        folder = packed(model, tmp_path / str(number) / "model", rows)
        (folder.parent / "request.json").write_text(json.dumps(split(as_json(rows, model))))
        paths += [folder.parent / "request.json", folder]
    asked_for = [line for path in tmp_path.rglob("requirements.txt") for line in path.read_text().splitlines()]
    lines = answered_elsewhere(tmp_path, asked_for, paths)
    assert len(lines) == len(cases) > len(ESTIMATORS) + 15
    for (model, rows, what), line in zip(cases, lines, strict=True):
        answers, expected = json.loads(line), model.predict(rows)
        np.testing.assert_array_equal(scores_of(answers, model), expected, err_msg=what)
        refused = np.isnan(expected).reshape(len(expected), -1).any(axis=1)
        assert [one["reason"] is not None for one in answers] == refused.tolist(), what
        assert [one["score"] is None for one in answers] == refused.tolist(), what


@pytest.mark.slow
def test_a_version_needs_no_more_than_it_asks_for(tmp_path):
    """Trees alone: neither PyTorch nor what another family wants may be imported."""
    folder = packed(fitted("binary", XGBOOST, {}), tmp_path / "model")
    (tmp_path / "request.json").write_text(json.dumps(split(ASKED)))
    asked_for = (folder / "requirements.txt").read_text().splitlines()
    assert "torch" in modules_beyond(asked_for)
    assert len(answered_elsewhere(tmp_path, asked_for, [tmp_path / "request.json", folder])) == 1


def answered_elsewhere(place: Path, asked_for: list[str], paths: list[Path]) -> list[str]:
    """What the child prints where only the requirements `asked_for`, and what these require, are installed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    environment |= {"ABSENT_MODULES": ",".join(sorted(modules_beyond(asked_for)))}
    command = [sys.executable, "-I", str(CHILD), *map(str, paths)]
    child = subprocess.run(command, env=environment, cwd=place, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr[-3000:]
    return [line for line in child.stdout.splitlines() if line.startswith("[")]


def modules_beyond(asked_for: list[str]) -> set[str]:
    """Top-level modules of all installed distributions that these requirements do not bring."""
    there, waiting = set(), [Requirement(line) for line in asked_for]
    while waiting:
        name = canonicalize_name(waiting.pop().name)
        if name not in there:
            there.add(name)
            waiting += [one for one in _required_by(name) if one.marker is None or one.marker.evaluate({"extra": ""})]
    found = metadata.packages_distributions()
    brought = {module for module, names in found.items() if there & {canonicalize_name(name) for name in names}}
    beyond = set(found) - brought - {"pipelines", "tests"}
    assert {"airflow", "deltalake", "duckdb", "great_expectations", "optuna"} <= beyond
    return beyond


def _required_by(name: str) -> list[Requirement]:
    try:
        return [Requirement(line) for line in metadata.requires(name) or []]
    except metadata.PackageNotFoundError:
        return []


def as_json(rows: pa.Table, model: Model) -> dict[str, list[Any]]:
    """Images in base64."""
    found = rows.to_pydict()
    for name in (name for name, kind in model.types.items() if kind == "image"):
        found[name] = [None if one is None else base64.b64encode(one).decode() for one in found[name]]
    return found


def test_the_same_model_is_packed_into_the_same_bytes(tmp_path):
    model = fitted("binary", XGBOOST, {})
    sample = {"sample": take_sample(model, table())}
    files = model.to_files()
    digests = [write_package(tmp_path / name, model, files, artifact_sha256(files), sample) for name in ("a", "b")]
    assert digests[0] == digests[1]
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".pkl", ".pickle")]
    assert str(tmp_path) not in (tmp_path / "a" / "MLmodel").read_text()


def test_requirements_are_those_of_the_files_that_the_model_has():
    names = {one.partition("==")[0] for one in requirements({"model.json": b"", "model.ubj": b""})}
    assert names & {"xgboost", "xgboost-cpu"}
    assert not names & {"torch", "skops", "apache-airflow", "deltalake", "duckdb"}
    network = requirements({"member_000.network.safetensors": b"", "imputer_0.skops": b""})
    assert any(one.startswith("torch==") and "+" not in one for one in network)
    assert any(one.startswith("skops==") for one in network)


@pytest.mark.parametrize("name", ["model.json", "model.ubj", "more.txt"])
def test_a_changed_file_is_refused_before_it_is_parsed(tmp_path, name):
    import mlflow

    folder = packed(fitted("binary", XGBOOST, {}), tmp_path / "model")
    with (folder / "artifacts" / "model" / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(ModelError, match="E-MODEL-HASH"):
        mlflow.pyfunc.load_model(str(folder))


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (["DE", None], ["DE", None]),
        ([True, None], ["true", None]),
        ([5, 6], ["5", "6"]),
        ([5.0, float("nan")], ["5", None]),
        (["007", 7], ["007", "7"]),
    ],
    ids=["text", "boolean", "whole numbers", "whole numbers beside a null", "id beside a number"],
)
def test_categories_are_read_as_the_feature_table_writes_them(sent, kept):
    model = fitted("binary", XGBOOST, {})
    frame = pd.DataFrame({"amount_eur": [1.0, 2.0], "age_days": [1, 2], "country": pd.Series(sent, dtype=object)})
    assert feature_table(model, frame)["country"].to_pylist() == kept


@pytest.mark.parametrize("sent", [5.5, 2.0**53, ["DE"], {"a": 1}])
def test_what_is_no_category_is_refused_by_name(sent):
    model = fitted("binary", XGBOOST, {})
    frame = pd.DataFrame({"amount_eur": [1.0], "age_days": [1], "country": pd.Series([sent], dtype=object)})
    with pytest.raises(DataError, match=r"E-SCORE-SCHEMA feature 'country': must hold text, got .*as text or null"):
        feature_table(model, frame)


def test_what_the_releases_say_about_certainty_is_answered_too(tmp_path):
    """Labels to be expected as a list, null for a refused row; the columns and values of the batch."""
    import mlflow

    intervals = recipe("multiclass", XGBOOST, DROP, intervals={"coverage": 0.8})
    rows = Rows(table(600, seed=8), target_of(table(600, seed=8)))
    model = fit(intervals, rows, np.arange(600) % 2 == 0)
    files, columns = model.to_files(), ("confidence", "prediction_set")
    sample = {"sample": take_sample(model, table())}
    write_package(tmp_path / "model", model, files, artifact_sha256(files), sample, columns)
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    asked_rows = table(30, seed=3)
    found = loaded.predict(asked_rows.to_pandas().astype({"age_days": "float64"}))
    uncalibrated, scores = model.uncalibrated(asked_rows), model.predict(asked_rows)
    answered = ~np.isnan(scores[:, 0])
    assert answered.sum() == 27
    confidence, sets = certainty_arrays(model, columns, uncalibrated[answered], scores[answered])
    assert found["confidence"][answered].tolist() == confidence.to_pylist()
    assert [list(one) for one in found["prediction_set"][answered]] == sets.to_pylist()
    assert found["prediction_set"][~answered].isna().all()
    assert found["reason"].notna().tolist() == (~answered).tolist()


def test_no_rows_are_answered_by_no_rows(tmp_path):
    model = fitted("multiclass", XGBOOST, {})
    folder = tmp_path / "model"
    model.save(folder)
    loaded = open_checked(folder, artifact_sha256(model.to_files()))
    found = answer(loaded, table(0, gaps=False))
    assert found.num_rows == 0
    assert found.column_names == ["score", "predicted_label", "score_low", "score_middle", "score_high", "reason"]


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path) -> tuple[Context, int]:
    """A version registered by the steps, of three libraries; it refuses rows without an amount."""
    root = tmp_path_factory.mktemp("registered")
    (root / "mlflow").mkdir()
    shutil.copy(empty_mlflow, root / "mlflow" / "mlflow.db")
    settings = {"training": TRAINING | {"model": MIXED, "missing": DROP}}
    run = context(root, "2026-03-03", **settings, features={"columns": ["amount_eur", "country"]})
    random = np.random.default_rng(3)
    for partition in ("2026-03-01", "2026-03-02", "2026-03-03"):
        amounts = random.uniform(0, 100, 120)
        rows = [
            {"amount_eur": float(one), "is_fraud": int(one > 50), "country": "DE" if one % 7 > 3 else "FR"}
            for one in amounts
        ]
        day(run, partition, rows)
    return run, train(run, snapshot(run)["snapshot_id"])["version"]


@contextmanager
def served(uri: str, tracking: str, folder: Path) -> Iterator[str]:
    """`mlflow models serve` on a free port of this machine, without pickle; its address."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", uri, "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # MLflow starts `uvicorn` by name.
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment |= {"MLFLOW_TRACKING_URI": tracking, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    log = folder / "serve.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=sink, stderr=sink)
    try:
        deadline = time.monotonic() + 180
        while not _is_up(port):
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.3)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        process.terminate()
        process.wait(30)


def _is_up(port: int) -> bool:
    try:
        return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2).status == 200)
    except (urllib.error.URLError, OSError):
        return False


def asked(address: str, body: Any, kind: str = "application/json") -> tuple[int, str]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    wanted = urllib.request.Request(address, content, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(wanted, timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


BAD = {
    "a missing column": (split({"amount_eur": [1.0]}), "country"),
    "text for a number": (split({"amount_eur": ["much"], "country": ["DE"]}), "amount_eur"),
    "a number for a category": (split({"amount_eur": [1.0], "country": [5.5]}), "must hold text, got '5.5'"),
    "no table": ({"rows": []}, "dataframe_split"),
    "no JSON": (b"amount_eur=1", "valid JSON"),
}


@pytest.mark.slow
def test_mlflow_serves_a_registered_version_as_the_batch_scores_it(registered, tmp_path):
    run, version = registered
    own = load_model(run, version)
    rows = pa.table({"amount_eur": [12.5, None, 99.999999999], "country": ["DE", "never seen", None]})
    with registry(run):
        pass
    with served(f"models:/{run.name}/{version}", run.home.mlflow_uri, tmp_path) as address:
        status, body = asked(address, split(rows.to_pydict()))
        assert status == 200, body
        answers = json.loads(body)["predictions"]
        np.testing.assert_array_equal(scores_of(answers, own), own.predict(rows))
        assert [one["score"] is None for one in answers] == [False, True, False]
        assert "null features: amount_eur" in answers[1]["reason"]
        record = run.ledger.model(run.name, version)["record"]
        status, body = asked(address, request(record))
        recorded = [one["score"] for one in json.loads(body)["predictions"]]
        assert recorded == record["sample"]["scores"]
        for mistake, (wrong, word) in BAD.items():
            status, body = asked(address, wrong)
            assert status == 400, (mistake, body)
            assert word in body, (mistake, body)
        assert asked(address, split(rows.to_pydict()))[0] == 200  # it goes on


@pytest.mark.slow
def test_the_check_says_equal_what_differs_and_refuses_changed_code(registered, monkeypatch):
    run, version = registered
    monkeypatch.setattr("pipelines.serving.checking.subprocess.run", asked_once())
    found = check_serving(run, version)
    assert (found["verdict"], found["rows"], found["differences"]) == ("equal", 20, [])
    row = run.ledger.model(run.name, version)
    changed = json.loads(json.dumps(row["record"]))
    changed["sample"]["scores"][3] += 0.25
    kept = {name: row[name] for name in ("run_id", "as_of", "mlflow_run_id", "artifact_uri", "artifact_sha256")}
    run.ledger.record_model(run.name, **kept, record=changed)
    found = check_serving(run, version)
    run.ledger.record_model(run.name, **kept, record=row["record"])
    assert found["verdict"] == "differs"
    assert found["largest_difference"] == pytest.approx(0.25)
    assert [one.partition(":")[0] for one in found["differences"]] == ["row 3"]
    (entry,) = run.home.mlflow_artifacts.rglob("mlflow_model.py")
    code = entry.read_text()
    entry.write_text("raise SystemExit('code of somebody else')\n")
    with pytest.raises(ModelError, match=r"E-MODEL-HASH .* what MLflow holds must have sha256 .*Do not serve it"):
        check_serving(run, version)
    entry.write_text(code)


def asked_once() -> Callable[..., Any]:
    """As `subprocess.run`, but MLflow, which takes seconds to start, is asked once: it would say the same again."""
    run, known = subprocess.run, []

    def answer_of(command: list[str], **options: Any) -> Any:
        if known:
            Path(command[-1]).write_text(known[0])
            return subprocess.CompletedProcess(command, 0)
        done = run(command, **options)
        known.append(Path(command[-1]).read_text())
        return done

    return answer_of


def test_a_version_from_before_packages_says_so(new_home):
    run = new_home("2026-03-03")
    old = {"run_id": "old", "as_of": run.partition.end, "mlflow_run_id": "1", "artifact_uri": "none"}
    version = run.ledger.record_model(run.name, **old, artifact_sha256="a" * 64, record={"mlflow_version": "1"})
    with pytest.raises(ModelError, match=r"E-SERVE-PACKAGE .* registered before versions were packed"):
        check_serving(run, version)
