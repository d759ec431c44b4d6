"""The step `tune` on small tables with a real MLflow: what it finds, records, tries first, and shows of its trials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pipelines.context import Context
from pipelines.errors import ModelError
from pipelines.training import replay, snapshot, train, tune
from pipelines.training.mlflow_client import registry
from pipelines.training.tuning_mlflow import PARENT, STATE
from pipelines.training.tuning_study import Studies
from tests.model.feeds import TRAINING, at, day, learnable

DAYS = ("2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04")
TUNING = {"trials": 3, "ranges": {"max_depth": [1, 4], "learning_rate": [0.1, 0.9]}}
pytestmark = pytest.mark.slow


@pytest.fixture
def run(new_home: Callable[..., Context]) -> Context:
    made = new_home(DAYS[3], training=TRAINING | {"tuning": TUNING}, gate={"policy": "bootstrap"})
    learnable(made, DAYS)
    return made


def tuned(run: Context, **tuning: Any) -> tuple[Context, dict[str, Any]]:
    """The same run with other settings of its search, and what the search found."""
    run = at(run, run.key, training=TRAINING | {"tuning": TUNING | tuning})
    return run, tune(run, snapshot(run)["snapshot_id"])


def trials_in_mlflow(run: Context) -> tuple[list[Any], list[Any]]:
    """Runs of searches, and the runs nested under them, by number."""
    with registry(run) as client:
        experiment = client.get_experiment_by_name(run.name)
        runs = client.search_runs([experiment.experiment_id]) if experiment else []
    nested = [one for one in runs if PARENT in one.data.tags]
    parents = {one.data.tags[PARENT] for one in nested}
    nested.sort(key=lambda one: int(one.data.tags["nightshift.trial"]))
    return [one for one in runs if one.info.run_id in parents], nested


def test_every_trial_is_a_nested_run_and_none_is_written_twice(run: Context) -> None:
    run, found = tuned(run)
    (parent,), nested = trials_in_mlflow(run)
    assert found["mlflow_run_id"] == parent.info.run_id
    rows = Studies(run.home.ledger_url).trials(found["study"])
    assert [one.data.tags["nightshift.trial"] for one in nested] == ["0", "1", "2"]
    for one, row in zip(nested, rows, strict=True):
        assert one.data.metrics["validation_roc_auc"] == row["value"]
        assert one.data.params == {name: str(value) for name, value in row["parameters"].items()}
        assert (one.data.tags[STATE], one.info.status) == ("complete", "FINISHED")
        assert one.data.tags["nightshift.snapshot_id"] == found["snapshot_id"]
        assert one.data.tags["nightshift.code_version"]
    assert parent.data.metrics["validation_roc_auc"] == found["value"]
    assert parent.data.params["best.max_depth"] == str(found["parameters"]["max_depth"])
    run.staged("retrain", found["snapshot_id"]).remove("tuned.json")
    assert tune(run, found["snapshot_id"]) == found
    train(run, found["snapshot_id"])
    assert len(trials_in_mlflow(run)[1]) == 3


def test_without_mlflow_a_search_is_done_and_its_trials_are_written_later(
    run: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody listens there
    run, found = tuned(run)
    assert found["mlflow"].startswith("E-REG-DOWN: the trials are in the ledger")
    assert found["complete"] == 3
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert "mlflow" not in tune(run, found["snapshot_id"])
    assert len(trials_in_mlflow(run)[1]) == 3


def test_a_half_written_search_in_mlflow_is_completed(run: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the run of a trial was made and before anything stood in it."""
    from mlflow import MlflowClient

    real, ended = MlflowClient.set_terminated, []

    def stops(client: Any, run_id: str, *given: Any, **named: Any) -> None:
        ended.append(run_id)
        if len(ended) == 2:
            raise KeyboardInterrupt
        real(client, run_id, *given, **named)

    monkeypatch.setattr(MlflowClient, "set_terminated", stops)
    with pytest.raises(KeyboardInterrupt):
        tuned(run)
    monkeypatch.undo()
    run, _ = tuned(run)
    _, nested = trials_in_mlflow(run)
    assert [one.info.status for one in nested] == ["FINISHED"] * 3


def test_other_rows_are_another_search(run: Context) -> None:
    run, first = tuned(run)
    random = [{"amount_eur": float(n % 97), "is_fraud": n % 2} for n in range(100)]
    day(run, DAYS[0], random)
    run, second = tuned(run)
    assert second["snapshot_id"] != first["snapshot_id"]
    assert second["study"] != first["study"]
    studies = Studies(run.home.ledger_url)
    assert [len(studies.trials(one["study"])) for one in (first, second)] == [3, 3]
    assert [row["snapshot_id"] for row in studies.of(run.name)] == [first["snapshot_id"], second["snapshot_id"]]


def test_a_search_begins_with_what_is_known_and_says_so(run: Context) -> None:
    """The settings' own parameters, then the best of the search before; a champion without one is not asked for."""
    run, before = tuned(run)
    run, found = tuned(run, warm_start=True, trials=4)
    assert [one["origin"] for one in found["first"]] == ["settings", f"search of {DAYS[3]}"]
    assert found["first"][0]["parameters"] == {"max_depth": 3}
    assert found["first"][1]["parameters"] == before["parameters"]
    rows = Studies(run.home.ledger_url).trials(found["study"])
    assert rows[0]["parameters"]["max_depth"] == 3
    assert rows[1]["parameters"] == before["parameters"]
    assert found["value"] >= before["value"]
    record = run.ledger.model(run.name, train(run, found["snapshot_id"])["version"])["record"]
    assert record["tuning"]["first"] == found["first"]
    # Today the search before is another one: a replay begins with what is recorded.
    tuned(run, trials=2, ranges={"max_depth": [4, 5], "learning_rate": [0.1, 0.11]})
    assert replay(replace(run, run_id="replay-1"), 1)["differences"] == []


def test_what_several_workers_found_is_recorded_and_replayed(run: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    run, found = tuned(run, workers=2)
    version = train(run, found["snapshot_id"])["version"]
    record = run.ledger.model(run.name, version)["record"]
    assert record["tuning"]["parameters"] == found["parameters"]
    assert record["tuning"]["workers"] == 2
    monkeypatch.setattr("pipelines.training.tuning.search", None)  # nothing is searched again
    assert replay(replace(run, run_id="replay-1"), version)["differences"] == []
    assert len(Studies(run.home.ledger_url).of(run.name)) == 1


def test_a_search_without_a_usable_trial_says_why(run: Context) -> None:
    with pytest.raises(ModelError) as caught:
        tuned(run, ranges={"scale_pos_weight": [-2.0, -1.0]}, trials=2)
    assert "E-TRAIN-TUNE payments 2026-03-04: none of 2 trials made a model that could be judged" in str(caught.value)
    assert "judged; trial 0: E-TRAIN-FIT 'XGBoost':" in str(caught.value)
    _, nested = trials_in_mlflow(run)
    assert [(one.data.tags[STATE], one.info.status) for one in nested] == [("failed", "FAILED")] * 2
    assert nested[0].data.tags["nightshift.reason"].startswith("E-TRAIN-FIT")
