"""The device in the steps: refused before any data is read, recorded after the fit; checkpoints of a step that died."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pipelines.context import Context
from pipelines.errors import ModelError
from pipelines.models import device as devices
from pipelines.score import score
from pipelines.training import evaluate, gate, promote, snapshot, train, tune
from pipelines.training.mlflow_client import registry
from tests.model.feeds import SMALL, TRAINING, at, learnable

DAYS = ("2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04")
NETWORK = {"family": "torch", "hidden_layers": [16], "epochs": 15, "batch_rows": 64, "learning_rate": 0.01}
FILLED = {"default": {"strategy": "median"}, "country": {"strategy": "mode"}}
pytestmark = pytest.mark.slow


@pytest.fixture
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "gpu_count", lambda: 0)


def resources(step: str, **given: Any) -> dict[str, Any]:
    return {"resources": {step: given}, "gate": {"policy": "bootstrap"}}


@pytest.mark.usefixtures("_no_gpu")
@pytest.mark.parametrize("step", ["train", "tune"])
def test_cuda_without_a_gpu_stops_the_step_before_it_reads_anything(
    new_home: Callable[..., Context], step: str
) -> None:
    """There is not even a snapshot: reading would have failed otherwise."""
    tuning = {"trials": 1, "ranges": {"max_depth": [1, 3]}}
    run = new_home(DAYS[3], **resources(step, device="cuda"), training=TRAINING | {"tuning": tuning})
    with pytest.raises(ModelError, match=f"E-GPU-MISSING .*{step}: "):
        {"train": train, "tune": tune}[step](run, "never-frozen")


@pytest.mark.usefixtures("_no_gpu")
def test_a_fit_on_the_cpu_by_leave_says_so_everywhere(new_home: Callable[..., Context]) -> None:
    run = new_home(DAYS[3], **resources("train", device="cuda", allow_cpu=True))
    learnable(run, DAYS)
    done = train(run, snapshot(run)["snapshot_id"])
    note = "no GPU is visible to this process; 'allow_cpu' is set"
    assert (done["device"], done["device_note"]) == ("cpu", note)
    model = run.ledger.model(run.name, done["version"])
    assert (model["record"]["device"], model["record"]["device_note"]) == ("cpu", note)
    with registry(run) as client:
        logged = client.get_run(model["mlflow_run_id"]).data
    assert (logged.params["device"], logged.tags["nightshift.device"]) == ("cpu", "cpu")


def test_a_fit_that_fell_back_registers_nothing(new_home: Callable[..., Context], monkeypatch: Any) -> None:
    """The driver shows a GPU, and XGBoost does not get it: it goes on with the CPU and only warns."""
    monkeypatch.setattr(devices, "gpu_count", lambda: 1)
    monkeypatch.setattr(devices, "_is_built_for_cuda", lambda _family: True)
    run = new_home(DAYS[3], **resources("train", device="cuda"))
    learnable(run, DAYS)
    snapshot_id = snapshot(run)["snapshot_id"]
    for _attempt in range(2):
        with pytest.warns(UserWarning, match="GPU to CPU"), pytest.raises(ModelError, match="E-GPU-FALLBACK"):
            train(run, snapshot_id)
    assert run.ledger.models(run.name) == []


def test_a_model_kept_from_the_cpu_is_not_taken_for_one_of_the_gpu(
    new_home: Callable[..., Context], monkeypatch: Any
) -> None:
    run = new_home(DAYS[3], gate={"policy": "bootstrap"})
    learnable(run, DAYS)
    snapshot_id = snapshot(run)["snapshot_id"]
    train(run, snapshot_id)
    monkeypatch.setattr(devices, "gpu_count", lambda: 1)
    monkeypatch.setattr(devices, "_is_built_for_cuda", lambda _family: True)
    wanted = at(run, run.key, training=TRAINING, **resources("train", device="cuda"))
    with pytest.warns(UserWarning, match="GPU to CPU"), pytest.raises(ModelError, match="E-GPU-FALLBACK"):
        train(wanted, snapshot_id)


def test_a_network_goes_the_whole_way(new_home: Callable[..., Context], monkeypatch: Any) -> None:
    """Tuned, trained, judged against the baselines, promoted, scoring the next day; `cuda` is refused there, too."""
    tuning = {"trials": 2, "ranges": {"learning_rate": [0.005, 0.02], "epochs": [10, 20]}}
    training = TRAINING | {"model": NETWORK, "tuning": tuning, "missing": FILLED}
    run = new_home(DAYS[3], gate={"policy": "bootstrap"}, training=training)
    learnable(run, DAYS)
    snapshot_id = snapshot(run)["snapshot_id"]
    tune(run, snapshot_id)
    done = train(run, snapshot_id)
    assert done["device"] == "cpu"
    evaluated = evaluate(run, snapshot_id, done["version"])
    assert evaluated["challenger"] > evaluated["linear"] + 0.1
    decision = gate(run, snapshot_id, done["version"])
    assert decision["outcome"] == "PROMOTE", decision["reasons"]
    promote(run, done["version"])
    learnable(at(run, "2026-03-05"), ["2026-03-05"], seed=9)
    assert score(at(run, "2026-03-05", training=training))["device"] == "cpu"
    monkeypatch.setattr(devices, "gpu_count", lambda: 0)
    with pytest.raises(ModelError, match="E-GPU-MISSING"):
        score(at(run, "2026-03-06", training=training, **resources("score", device="cuda")))


SAMPLED = SMALL | {"rounds": 12, "checkpoint_rounds": 3, "parameters": {"subsample": 0.5}}


def test_a_training_that_died_goes_on_and_ends_alike(new_home: Callable[..., Context], monkeypatch: Any) -> None:
    run = new_home(DAYS[3], gate={"policy": "bootstrap"}, training=TRAINING | {"model": SAMPLED, "seed": 3})
    learnable(run, DAYS)
    snapshot_id = snapshot(run)["snapshot_id"]
    folder = run.staged("checkpoints", snapshot_id).folder  # type: ignore[attr-defined]
    before = {path.name for path in folder.rglob("*.bin")}
    monkeypatch.setenv("NIGHTSHIFT_FAILPOINT", "train.after_checkpoint=error")  # killed for real in test_checkpoints.py
    with pytest.raises(OSError, match="failpoint train"):
        train(run, snapshot_id)
    assert {path.name for path in folder.rglob("*.bin")} > before
    monkeypatch.delenv("NIGHTSHIFT_FAILPOINT")
    found = train(run, snapshot_id)
    assert not list(folder.rglob("*.bin"))
    run.staged("retrain", snapshot_id).remove("model.sha256")
    version = train(at(run, run.key, "retrain-2"), snapshot_id)["version"]
    digests = [run.ledger.model(run.name, one)["artifact_sha256"] for one in (found["version"], version)]
    assert digests[0] == digests[1]
