"""Networks over an entity's last events: what only the order of events tells, masks, bytes and scores that repeat."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from pipelines.context import Context
from pipelines.errors import ModelError
from pipelines.features import build_features
from pipelines.models import model_problems
from pipelines.models.checkpoints import Checkpoints
from pipelines.models.fitting import Recipe, Rows, fit
from pipelines.models.model import Model
from pipelines.models.torch_sequence import SequenceShape, encoder_of
from pipelines.settings.training import Training
from pipelines.storage.files import LocalFiles
from pipelines.training import evaluate, gate, promote, replay, snapshot, train
from pipelines.training.metrics import metric
from tests import builders
from tests.model.feeds import TRAINING, at, publish
from tests.scoring import run_all

STEPS = 5
TYPES = {
    **{f"amount_lag_{step}": "number" for step in range(1, STEPS + 1)},
    **{f"seconds_lag_{step}": "number" for step in range(1, STEPS + 1)},
    "amount": "number",
    "country": "category",
}
NETWORK = {"family": "torch_sequence", "hidden_layers": [16], "channels": 16, "batch_rows": 64, "learning_rate": 0.01}
KINDS = ["cnn", "lstm"]


def recipe(kind: str, task: str = "binary", **changes: Any) -> Recipe:
    model = NETWORK | {"network": kind, "epochs": 12, "dropout": 0.0} | changes
    training = {"task": task, "model": model, "missing": {"default": {"strategy": "median"}}}
    classes = {"binary": ["0", "1"], "multiclass": ["a", "b", "c"]}.get(task, [])
    return Recipe(Training.model_validate(training), TYPES, classes, threads=1)


def events(rows: int, seed: int) -> tuple[pa.Table, np.ndarray]:
    """0 to 5 events per row. The answer: the amounts rose from the event before the last to the last.

    No single lag tells it better than three times in four, and rows with fewer than two events are never positive.
    """
    random = np.random.default_rng(seed)
    amounts = random.uniform(0, 1, (rows, STEPS))
    seconds = np.cumsum(random.exponential(60, (rows, STEPS)), axis=1)
    absent = np.arange(1, STEPS + 1) > random.integers(0, STEPS + 1, rows)[:, None]
    answer = (amounts[:, 0] > amounts[:, 1]) & ~absent[:, 1]
    columns = {f"amount_lag_{step}": _nulls(amounts, absent, step) for step in range(1, STEPS + 1)}
    columns |= {f"seconds_lag_{step}": _nulls(seconds, absent, step) for step in range(1, STEPS + 1)}
    country = np.resize(["DE", "FR"], rows)
    return pa.table(columns | {"amount": random.uniform(0, 1, rows), "country": country}), answer * 1.0


def _nulls(values: np.ndarray, absent: np.ndarray, step: int) -> pa.Array:
    return pa.array(values[:, step - 1], mask=absent[:, step - 1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_what_two_events_tell_together(tmp_path, kind):
    train, answers = events(1500, 1)
    later, expected = events(600, 2)
    model = fit(recipe(kind, epochs=25), Rows(train, answers), np.arange(1500) >= 1200)
    scores = model.predict(later)
    assert metric("roc_auc", expected, scores) > 0.97
    assert (model.family, model.estimator_name) == ("torch_sequence", "TorchSequence")
    model.save(tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["model.json", "network.safetensors"]
    assert np.array_equal(Model.load(tmp_path / "model").predict(later), scores)
    shares = model.importance()
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["amount_lag_1"] > shares["seconds_lag_1"]


@pytest.mark.parametrize("task", ["multiclass", "regression"])
@pytest.mark.parametrize("kind", KINDS)
def test_tasks_have_scores_of_their_shape(kind, task):
    table, answers = events(120, 1)
    scores = fit(recipe(kind, task, epochs=2), Rows(table, answers), None).predict(table)
    assert scores.shape == ((120, 3) if task == "multiclass" else (120,))
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_scores_alike_in_any_company_and_with_any_number_of_threads(kind):
    model = fit(recipe(kind, epochs=1), Rows(*events(200, 1)), None)
    many, _ = events(5000, 3)
    whole = model.predict(many)
    parts = [many.slice(start, size) for start, size in ((0, 1), (1, 4096), (4097, 903))]
    assert np.array_equal(np.concatenate([model.predict(part) for part in parts]), whole)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert np.array_equal(model.predict(many), whole)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_without_any_event_is_scored_and_one_without_a_plain_number_filled(kind):
    model = fit(recipe(kind, epochs=1), Rows(*events(200, 1)), None)
    empty = {name: pa.nulls(1, pa.float64()) for name, type_ in TYPES.items() if type_ == "number"}
    assert np.isfinite(model.predict(pa.table(empty | {"country": ["AT"]}))).all()


@pytest.mark.parametrize("kind", KINDS)
def test_steps_without_an_event_leave_no_trace(kind):
    """The same two events at the end of 3 and of 6 steps: the network's answer is the same."""
    torch.manual_seed(1)
    short = encoder_of(SequenceShape(kind, 4, ((0,), (1,), (2,)))).eval()
    long = encoder_of(SequenceShape(kind, 4, tuple((step,) for step in range(6)))).eval()
    long.load_state_dict(short.state_dict())
    nothing = float("nan")
    few = torch.tensor([[nothing, 0.5, -1.0]])
    many = torch.tensor([[nothing] * 4 + [0.5, -1.0]])
    with torch.inference_mode():
        assert torch.equal(short(few, 20.0), long(many, 20.0))
        assert torch.equal(short(torch.full((1, 3), nothing), 20.0), torch.zeros(1, short.outputs))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bytes_also_from_a_checkpoint(tmp_path, kind):
    rows = Rows(*events(200, 1))
    own = recipe(kind, epochs=4, checkpoint_epochs=1, dropout=0.2)
    whole = fit(own, rows, None).to_files()
    assert fit(own, rows, None).to_files() == whole
    place = Checkpoints(LocalFiles(tmp_path))
    fit(own.with_parameters({"epochs": 2}), rows, None, place)  # as far as a killed training came
    assert fit(own, rows, None, place).to_files() == whole


def test_it_learns_with_bf16():
    rows = Rows(*events(200, 1))
    for kind in KINDS:
        scores = fit(recipe(kind, epochs=2, precision="bf16"), rows, None).predict(rows.table)
        assert np.isfinite(scores).all()


def test_a_member_of_an_ensemble_has_its_own_gaps():
    members = {"events": NETWORK | {"epochs": 2}, "plain": {"family": "sklearn", "estimator": "LogisticRegression"}}
    model = {"family": "ensemble", "combine": "voting", "members": members}
    training = {"task": "binary", "model": model, "missing": {"default": {"strategy": "median"}}}
    table, answers = events(150, 1)
    fitted = fit(Recipe(Training.model_validate(training), TYPES, ["0", "1"], 1), Rows(table, answers), None)
    assert np.isfinite(fitted.predict(table)).all()
    assert Model.from_files(fitted.to_files()).to_files() == fitted.to_files()


def test_lags_that_do_not_reach_the_network_are_named():
    with pytest.raises(ModelError, match=r"E-MODEL-SEQUENCE .* but these do not: 'amount_lag_2'"):
        SequenceShape.of("cnn", 4, ["amount_lag_1"], {"amount_lag_1": "number", "amount_lag_2": "number"})


LAGS = {"kind": "lag", "columns": ["amount_eur"], "steps": 2}
GROUP = {"name": "events", "entity": ["card_id"], "owner": "tests", "features": [LAGS]}


def problems(features: dict[str, Any], **changes: Any) -> list[str]:
    training = {"task": "binary", "model": {"family": "torch_sequence"}} | changes
    return [one for one in model_problems(builders.pipeline(features=features, training=training)) if "SEQ" in one]


def test_sound_settings_have_no_problem():
    assert problems({"groups": [GROUP], "columns": ["country"]}) == []


@pytest.mark.parametrize(
    ("features", "changes", "message"),
    [
        pytest.param(
            {"columns": ["amount_eur"]},
            {},
            "E-MODEL-SEQUENCE training.model: family 'torch_sequence': it reads an entity's last events, but no "
            "feature is a lag. Give a feature group one feature of kind 'lag', or use family 'torch'.",
            id="no lags",
        ),
        pytest.param(
            {"groups": [GROUP, GROUP | {"name": "more", "prefix": "far", "features": [LAGS | {"steps": 3}]}]},
            {},
            "E-MODEL-SEQUENCE training.model: family 'torch_sequence': all lags must have as many steps, got 3 of "
            "'far_amount_eur' and 2 of 'amount_eur'. Give a feature group one feature of kind 'lag', or use family "
            "'torch'.",
            id="other steps",
        ),
        pytest.param(
            {"groups": [GROUP]},
            {"task": "anomaly"},
            "E-MODEL-SEQUENCE training.model: family 'torch_sequence' cannot do task 'anomaly'. Use 'torch', an "
            "autoencoder.",
            id="anomalies",
        ),
        pytest.param(
            {"groups": [GROUP]},
            {"missing": {"default": {"strategy": "drop"}}},
            "E-MODEL-SEQUENCE training.missing.default: 'drop' would leave out every row whose entity has fewer events "
            "than 'amount_eur_lag_1' asks for. Name the features that must be there instead.",
            id="drop",
        ),
        pytest.param(
            {"groups": [GROUP]},
            {"missing": {"amount_eur_lag_2": {"strategy": "median"}}},
            "E-MODEL-SEQUENCE training.missing.amount_eur_lag_2: must be left out: family 'torch_sequence' masks a "
            "step without an event.",
            id="filled",
        ),
    ],
)
def test_senseless_settings_are_named(features, changes, message):
    assert problems(features, **changes) == [message]


def day(run: Context, partition: str, rows: int = 300) -> None:
    """Thirty cards whose payments are fraud when the last one was above 50 EUR; one in ten labels is wrong."""
    here = at(run, partition)
    random = np.random.default_rng(int(partition[-2:]))
    amounts = random.uniform(0, 100, rows)
    before = [amounts[number - 30] if number >= 30 else 0.0 for number in range(rows)]
    clean = [
        {"row_id": f"{partition}:{number:09d}", "payment_id": f"{partition}-{number}", "card_id": f"card-{number % 30}"}
        | {"paid_at": builders.utc(f"{partition}T00:00:00").replace(hour=number // 30, minute=number % 60)}
        | {"amount_eur": float(amounts[number]), "country": "DE"}
        | {"is_fraud": int((before[number] > 50) ^ (random.random() < 0.1))}
        for number in range(rows)
    ]
    publish(here, "clean", builders.payments(clean, partition))
    counts = {"read": rows, "clean": rows, "quarantined": 0, "duplicate": 0, "reason": None}
    run.ledger.set_accounting(run.name, partition, state="clean", run_id="daily", **counts)
    build_features(here)


@pytest.mark.slow
def test_a_sequence_goes_through_the_chain_and_is_rebuilt(new_home):
    model = NETWORK | {"network": "lstm", "epochs": 15, "early_stopping_epochs": None}
    run = new_home(
        "2026-03-04",
        training=TRAINING | {"model": model},
        features={"groups": [GROUP], "lookback": "1d"},
        gate={"policy": "bootstrap"},
        audit={"max_shift": 5.0},
    )
    for number in range(1, 6):
        day(run, f"2026-03-0{number}")
    snapshot_id = snapshot(run)["snapshot_id"]
    version = train(run, snapshot_id)["version"]
    evaluate(run, snapshot_id, version)
    decision = gate(run, snapshot_id, version)
    assert decision["outcome"] == "PROMOTE", decision["reasons"]
    promote(run, version)
    assert run_all(at(run, "2026-03-05"))["state"] == "done"
    record = run.ledger.model(run.name, version)["record"]
    assert (record["family"], record["parameters"]["network"]) == ("torch_sequence", "lstm")
    assert replay(run, version)["verdict"] == "equal"
