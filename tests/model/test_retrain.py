"""snapshot -> tune -> train -> evaluate -> gate -> promote on small tables, with a real MLflow; and what goes wrong."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from pipelines.errors import ModelError, StorageError
from pipelines.models import load_model
from pipelines.models.model import Model
from pipelines.training import evaluate, gate, promote, rollback, snapshot, train, tune
from pipelines.training.dataset import read_frozen
from pipelines.training.evaluation import aligned
from pipelines.training.mlflow_client import MLFLOW, registry
from pipelines.training.promotion import reconcile_alias
from pipelines.training.registry import champion_alias
from tests.builders import utc
from tests.model.feeds import SMALL, TRAINING, at, day, learnable
from tests.scoring import file_digests

DAYS = ("2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04")
GATE = {"policy": "bootstrap", "slices": ["country"]}
WEAK = {"family": "xgboost", "rounds": 1, "early_stopping_rounds": None, "parameters": {"max_depth": 1}}
pytestmark = pytest.mark.slow


def ready(new_home, partition="2026-03-04", days=DAYS, **changes):
    """A home with labelled days that a small model can learn and a weak one cannot."""
    run = new_home(partition, **({"gate": GATE} | changes))
    learnable(run, days)
    return run


def settings(run, **training):
    """The same run with other training settings."""
    return at(run, run.key, training=TRAINING | training, gate=GATE)


def trained(run):
    snapshot_id = snapshot(run)["snapshot_id"]
    tune(run, snapshot_id)
    return snapshot_id, train(run, snapshot_id)["version"]


def judged(run):
    snapshot_id, version = trained(run)
    evaluate(run, snapshot_id, version)
    return version, gate(run, snapshot_id, version)


def chosen(run):
    """A promoted version."""
    version, decision = judged(run)
    assert decision["outcome"] == "PROMOTE", decision["reasons"]
    promote(run, version)
    return version


def versions(run):
    return [row["version"] for row in run.ledger.models(run.name)]


def history(run):
    return [(row["version"], row["action"]) for row in run.ledger.champions(run.name)]


def registered(run):
    with registry(run) as client:
        return sorted(int(one.version) for one in client.search_model_versions(f"name = '{run.name}'"))


@pytest.fixture
def broken_mlflow(monkeypatch):
    """A tracking server that refuses every connection."""

    def away():
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        monkeypatch.setattr("pipelines.training.mlflow_client.MLFLOW", replace(MLFLOW, attempts=2))

    def back():
        monkeypatch.delenv("MLFLOW_TRACKING_URI")

    away.back = back
    return away


def fail_at(monkeypatch, point):
    monkeypatch.setenv("NIGHTSHIFT_FAILPOINT", f"{point}=error")


def test_a_first_model_is_trained_judged_and_promoted(new_home):
    run = ready(new_home)
    version = chosen(run)
    champion = run.ledger.champion(run.name)
    assert (version, champion["version"], champion["effective_from"]) == (1, 1, utc("2026-03-05T00:00:00"))
    record = run.ledger.model(run.name, 1)["record"]
    assert record["training_partitions"] == list(DAYS[:3])
    assert record["holdout_partitions"] == list(DAYS[3:])
    assert record["tables"]["features"]["version"] == run.snapshot("features").version
    assert champion_alias(run) == record["mlflow_version"] == "1"
    decision = run.ledger.decisions(run.name, "gate")[0]
    assert (decision["outcome"], decision["numbers"]["champion"]) == ("PROMOTE", None)
    assert {check["name"] for check in decision["numbers"]["checks"]} >= {"training data", "hindsight", "champion"}


def test_mlflow_tells_what_made_the_model(new_home):
    run = ready(new_home)
    version, _ = judged(run)
    row = run.ledger.model(run.name, version)
    with registry(run) as client:
        found = client.get_run(row["mlflow_run_id"])
        inputs = {entry.dataset.name for entry in found.inputs.dataset_inputs}
        plots = {file.path for file in client.list_artifacts(row["mlflow_run_id"], "plots")}
        tagged = client.get_model_version(run.name, "1").tags
    assert found.info.status == "FINISHED"
    assert found.data.params["model.max_depth"] == "3"
    assert found.data.tags["nightshift.config_digest"] == run.pipeline.digest()
    assert found.data.tags["gate.outcome"] == "PROMOTE"
    assert found.data.metrics["holdout.challenger.roc_auc"] > 0.8
    assert inputs == {"features", "clean"}
    assert plots == {"plots/roc.png", "plots/precision_recall.png", "plots/calibration.png"}
    assert tagged["verified_sha256"] == row["artifact_sha256"]


def test_two_homes_with_the_same_days_train_the_same_bytes(new_home):
    run = ready(new_home)
    one, first = trained(run)
    digests = file_digests(read_frozen(run, one).files(run).folder)
    shutil.rmtree(run.home.root / "staging")
    two, second = trained(at(run, run.key, run_id="retrain-2"))
    assert (one, file_digests(read_frozen(run, two).files(run).folder)) == (two, digests)
    hashes = {row["artifact_sha256"] for row in run.ledger.models(run.name)}
    assert ([first, second], len(hashes)) == ([1, 2], 1)


def test_the_holdout_teaches_nothing(new_home):
    """Turning every label of the holdout around changes its scores, not one byte of the model."""
    run = ready(new_home, days=DAYS[:3])
    day(run, DAYS[3], [{"amount_eur": float(amount), "is_fraud": int(amount % 50 > 25)} for amount in range(100)])
    one = trained(run)[1]
    day(run, DAYS[3], [{"amount_eur": float(amount), "is_fraud": int(amount % 50 <= 25)} for amount in range(100)])
    two = trained(at(run, run.key, run_id="retrain-2"))[1]
    rows = [run.ledger.model(run.name, version) for version in (one, two)]
    assert rows[0]["artifact_sha256"] == rows[1]["artifact_sha256"]
    assert rows[0]["record"]["holdout_metrics"]["roc_auc"] > 0.9
    assert rows[1]["record"]["holdout_metrics"]["roc_auc"] < 0.1


def test_a_loaded_model_scores_as_the_fitted_one(new_home):
    run = ready(new_home)
    snapshot_id, version = trained(run)
    holdout = read_frozen(run, snapshot_id).table(run, "holdout")
    kept = Model.load(artifact(run, version))
    loaded = load_model(run, version)
    assert np.array_equal(loaded.predict(holdout), kept.predict(holdout))
    assert (loaded.version, loaded.features) == (version, ["amount_eur", "country"])


def artifact(run, version):
    return run.home.root / run.ledger.model(run.name, version)["artifact_uri"]


@pytest.mark.parametrize("damage", ["changed", "cut", "missing", "foreign", "gone"])
def test_an_artifact_that_is_not_the_judged_one_is_never_parsed(new_home, damage):
    run = ready(new_home)
    version, _ = judged(run)
    folder = artifact(run, version)
    path = folder / "model.ubj"
    content = path.read_bytes()
    if damage == "changed":
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "missing":
        path.unlink()
    elif damage == "foreign":
        (folder / "python_model.pkl").write_bytes(b"")
    else:
        shutil.rmtree(folder)
    with pytest.raises(ModelError, match=r"E-MODEL-HASH"):
        load_model(run, version)
    with pytest.raises(ModelError, match=r"E-MODEL-HASH"):
        promote(run, version)
    assert history(run) == []
    assert gate(run, snapshot(run)["snapshot_id"], version)["outcome"] == "REJECT"


def test_a_champion_that_cannot_be_loaded_holds_every_challenger(new_home):
    run = ready(new_home, training=TRAINING | {"model": WEAK})
    shutil.rmtree(artifact(run, chosen(run)))
    better = at(settings(run), run.key, run_id="retrain-2")
    version, decision = judged(better)
    assert (decision["outcome"], decision["champion"]) == ("HOLD", 1)
    assert "E-MODEL-HASH" in "; ".join(decision["reasons"])
    with pytest.raises(ModelError, match=r"E-PROMOTE-GATE.*it said HOLD"):
        promote(better, version)


def test_an_equal_challenger_is_held_and_the_champion_stays(new_home):
    run = ready(new_home)
    chosen(run)
    version, decision = judged(at(run, run.key, run_id="retrain-2"))
    assert decision["outcome"] == "HOLD"
    assert "gain +0.0000" in "; ".join(decision["reasons"])
    assert (version, history(run)) == (2, [(1, "promote")])


def test_a_better_challenger_replaces_the_champion_and_rollback_puts_it_back(new_home):
    run = ready(new_home, training=TRAINING | {"model": WEAK})
    chosen(run)
    better = at(settings(run), run.key, run_id="retrain-2")
    assert chosen(better) == 2
    back = at(run, run.key, run_id="rollback-1")
    assert rollback(back, None, "ops", "a test")["version"] == 1
    assert rollback(back, None, "ops", "a test")["state"] == "unchanged"
    assert history(run) == [(1, "promote"), (2, "promote"), (1, "rollback")]
    assert champion_alias(run) == "1"
    with pytest.raises(ModelError, match=r"E-ROLLBACK-NONE.*there is no earlier champion"):
        rollback(at(run, run.key, run_id="rollback-2"), None, "ops", "once more")


@pytest.mark.parametrize(
    "point", ["train.round_n", "train.after_fit", "registry.after_upload", "registry.after_create"]
)
def test_a_retry_of_train_registers_one_version_only(new_home, monkeypatch, point):
    run = ready(new_home)
    snapshot_id = snapshot(run)["snapshot_id"]
    fail_at(monkeypatch, point)
    with pytest.raises(OSError, match=point):
        train(run, snapshot_id)
    assert versions(run) == []
    monkeypatch.delenv("NIGHTSHIFT_FAILPOINT")
    assert [train(run, snapshot_id)["version"] for _ in range(2)] == [1, 1]
    assert (versions(run), registered(run)) == ([1], [1])


@pytest.mark.parametrize("estimator", ["RandomForestClassifier", "HistGradientBoostingClassifier"])
def test_a_kept_forest_is_registered_by_the_retry(new_home, monkeypatch, estimator):
    """scikit-learn's trees are written differently once they were loaded: the first bytes count."""
    model = {"family": "sklearn", "estimator": estimator, "parameters": {}}
    filled = {"default": {"strategy": "mode"}}
    run = ready(new_home, training=TRAINING | {"model": model, "missing": filled})
    snapshot_id = snapshot(run)["snapshot_id"]
    fail_at(monkeypatch, "train.after_fit")
    with pytest.raises(OSError, match="after_fit"):
        train(run, snapshot_id)
    monkeypatch.delenv("NIGHTSHIFT_FAILPOINT")
    assert train(run, snapshot_id)["version"] == 1
    load_model(run, 1)


def test_a_kept_fit_that_was_changed_is_fitted_again(new_home):
    run = ready(new_home)
    snapshot_id, version = trained(run)
    folder = artifact(run, version)
    before = file_digests(folder)
    (folder / "model.json").write_text(json.dumps({"format": 1}))
    assert train(run, snapshot_id)["version"] == 1
    assert file_digests(folder) == before


def test_a_run_whose_data_changed_makes_another_version(new_home):
    """The task 'snapshot' of the same run is cleared after a correction: the promoted version keeps its files."""
    run = ready(new_home)
    first = chosen(run)
    before = run.ledger.model(run.name, first)
    learnable(run, ["2026-03-02"], seed=9)
    snapshot_id, second = trained(run)
    assert second == 2
    assert run.ledger.model(run.name, first) == before
    assert train(run, snapshot_id)["version"] == 2
    load_model(run, first)
    load_model(run, second)


def test_without_mlflow_nothing_is_promoted_and_the_fit_is_kept(new_home, broken_mlflow):
    run = ready(new_home)
    snapshot_id = snapshot(run)["snapshot_id"]
    broken_mlflow()
    with pytest.raises(StorageError, match=r"E-REG-DOWN.*fitted model is kept") as caught:
        train(run, snapshot_id)
    assert caught.value.retryable
    assert (versions(run), history(run)) == ([], [])
    (folder,) = (run.home.root / "models" / run.name).iterdir()
    kept = file_digests(folder)
    broken_mlflow.back()
    assert train(run, snapshot_id)["version"] == 1
    assert file_digests(artifact(run, 1)) == kept


def test_a_promotion_stands_when_mlflow_is_away_and_the_alias_is_repaired(new_home, broken_mlflow):
    run = ready(new_home)
    version, _ = judged(run)
    broken_mlflow()
    assert promote(run, version)["state"] == "done"
    broken_mlflow.back()
    assert (history(run), champion_alias(run)) == ([(1, "promote")], None)
    assert reconcile_alias(run) == "repaired: None -> 1"
    assert reconcile_alias(run) == "agrees"


def test_a_decision_is_kept_when_mlflow_is_away_and_the_task_is_tried_again(new_home, broken_mlflow):
    run = ready(new_home)
    snapshot_id, version = trained(run)
    evaluate(run, snapshot_id, version)
    broken_mlflow()
    with pytest.raises(StorageError, match=r"E-REG-DOWN"):
        gate(run, snapshot_id, version)
    assert history(run) == []
    broken_mlflow.back()
    assert gate(run, snapshot_id, version)["outcome"] == "PROMOTE"
    assert len(run.ledger.decisions(run.name, "gate")) == 1


def test_an_artifact_store_that_refuses_is_named(new_home):
    run = ready(new_home)
    snapshot_id = snapshot(run)["snapshot_id"]
    run.home.mlflow_artifacts.mkdir(parents=True)
    (run.home.mlflow_artifacts / run.name).write_text("a file where a folder must be")
    with pytest.raises(StorageError, match=r"E-REG-STORE"):
        train(run, snapshot_id)
    assert versions(run) == []


@pytest.mark.parametrize("point", ["promote.before_cas", "promote.after_cas"])
def test_a_retry_of_promote_changes_the_champion_once(new_home, monkeypatch, point):
    run = ready(new_home)
    version, _ = judged(run)
    fail_at(monkeypatch, point)
    with pytest.raises(OSError, match=point):
        promote(run, version)
    monkeypatch.delenv("NIGHTSHIFT_FAILPOINT")
    promote(run, version)
    assert promote(run, version)["state"] == "unchanged"
    assert (history(run), champion_alias(run)) == ([(1, "promote")], "1")


def test_of_two_promotions_one_wins_and_the_other_is_judged_anew(new_home):
    run = ready(new_home, training=TRAINING | {"model": WEAK})
    other = at(settings(run), run.key, run_id="retrain-2")
    mine, theirs = judged(run), judged(other)
    assert [decision["outcome"] for _, decision in (mine, theirs)] == ["PROMOTE", "PROMOTE"]
    promote(run, mine[0])
    with pytest.raises(ModelError, match="E-PROMOTE-RACE") as told:
        promote(other, theirs[0])
    assert told.value.repeat == "evaluate"
    assert history(run) == [(1, "promote")]
    snapshot_id = snapshot(other)["snapshot_id"]
    evaluate(other, snapshot_id, theirs[0])
    assert gate(other, snapshot_id, theirs[0])["champion"] == 1
    promote(other, theirs[0])
    assert history(run) == [(1, "promote"), (2, "promote")]
    assert promote(run, mine[0])["state"] == "unchanged"


def test_a_promotion_in_the_last_moment_loses_the_compare_and_set(new_home, monkeypatch):
    """The other champion comes between the look and the change."""
    from pipelines.training import promotion

    run = ready(new_home)
    version, _ = judged(run)

    def overtaken(_point):
        monkeypatch.setattr(promotion, "reach", lambda _point: None)
        values = {"effective_from": run.partition.end, "action": "promote", "reason": "r", "actor": "a", "run_id": "x"}
        assert run.ledger.change_champion(run.name, version, expected_seq=0, **values)

    monkeypatch.setattr(promotion, "reach", overtaken)
    with pytest.raises(ModelError, match=r"E-PROMOTE-RACE"):
        promote(run, version)
    assert len(history(run)) == 1


def test_a_past_date_registers_a_model_and_never_promotes(new_home):
    run = ready(new_home, training=TRAINING | {"model": WEAK})
    chosen(run)
    past = at(settings(run), "2026-03-03", run_id="backfill")
    version, decision = judged(past)
    assert (version, decision["outcome"]) == (2, "HOLD")
    assert decision["reasons"][0].startswith("BACKFILL")
    with pytest.raises(ModelError, match=r"E-PROMOTE-GATE"):
        promote(past, version)
    assert history(run) == [(1, "promote")]


def test_a_day_that_was_refused_after_the_snapshot_holds(new_home):
    run = ready(new_home)
    snapshot_id, version = trained(run)
    counts = {"read": 1, "clean": 0, "quarantined": 1, "duplicate": 0, "reason": "volume", "run_id": "daily"}
    run.ledger.set_accounting(run.name, "2026-03-02", state="refused", **counts)
    decision = gate(run, snapshot_id, version)
    assert decision["outcome"] == "HOLD"
    assert "'2026-03-02'" in decision["reasons"][0]


def test_promote_needs_this_runs_own_decision(new_home):
    run = ready(new_home)
    version, _ = judged(run)
    with pytest.raises(ModelError, match=r"E-PROMOTE-GATE.*it said nothing"):
        promote(at(run, run.key, run_id="another-run"), version)


def test_a_gate_that_is_cleared_after_its_promotion_keeps_its_decision(new_home):
    """Judged again, the champion would be compared with itself, and the record of why it came would be lost."""
    run = ready(new_home)
    version = chosen(run)
    again = gate(run, snapshot(run)["snapshot_id"], version)
    assert (again["state"], again["outcome"]) == ("unchanged", "PROMOTE")
    assert [row["outcome"] for row in run.ledger.decisions(run.name, "gate")] == ["PROMOTE"]


def test_regression_end_to_end(new_home):
    run = ready(
        new_home,
        label={"column": "amount_eur"},
        features={"columns": ["country"]},
        training=TRAINING | {"task": "regression"},
        days=(),
    )
    for key in DAYS:
        day(
            run,
            key,
            [{"amount_eur": float(n % 7 + 50 * (n % 2)), "country": "DE" if n % 2 else "FR"} for n in range(80)],
        )
    version = chosen(run)
    numbers = run.ledger.decisions(run.name, "gate")[0]["numbers"]
    assert (numbers["metric"], load_model(run, version).task) == ("rmse", "regression")
    assert run.ledger.model(run.name, version)["record"]["holdout_metrics"]["rmse"] < 5


@pytest.mark.parametrize("model", [SMALL, {"family": "sklearn", "estimator": "RandomForestClassifier"}])
def test_multiclass_end_to_end_with_a_class_that_is_new_in_the_holdout(new_home, model):
    run = ready(
        new_home,
        label={"column": "country"},
        features={"columns": ["amount_eur"]},
        gate={"policy": "bootstrap"},
        training=TRAINING | {"task": "multiclass", "model": model, "missing": {"default": {"strategy": "mean"}}},
        days=(),
    )
    for key in DAYS:
        words = ["DE", "FR", "AT", "AT" if key < DAYS[3] else "BE"]
        day(run, key, [{"amount_eur": float(n % 4 * 10 + n % 3), "country": words[n % 4]} for n in range(200)])
    snapshot_id, version = trained(run)
    loaded = load_model(run, version)
    assert loaded.classes == ["AT", "BE", "DE", "FR"]
    holdout = read_frozen(run, snapshot_id).table(run, "holdout")
    scores, target = loaded.predict(holdout), holdout["target_value"].to_numpy()
    assert scores.shape == (200, 4)
    is_known = target != loaded.classes.index("BE")
    assert (scores.argmax(axis=1) == target)[is_known].all()


def test_tuning_is_seeded_sees_no_holdout_and_its_choice_is_trained(new_home):
    tuning = {"trials": 3, "ranges": {"max_depth": [1, 4], "rounds": [2, 9], "learning_rate": [0.1, 0.9]}}
    run = settings(ready(new_home), tuning=tuning | {"log_scale": ["learning_rate"]})
    snapshot_id = snapshot(run)["snapshot_id"]
    with pytest.raises(ModelError, match="E-TRAIN-TUNE") as told:
        train(run, snapshot_id)
    assert told.value.repeat == "tune"
    holdout = read_frozen(run, snapshot_id).files(run).folder / "holdout.parquet"
    holdout.rename(holdout.with_suffix(".aside"))
    found = tune(run, snapshot_id)
    holdout.with_suffix(".aside").rename(holdout)
    assert isinstance(found["parameters"]["max_depth"], int)
    assert tune(run, snapshot_id) == found | {"state": "unchanged"}
    (holdout.parent / "tuned.json").unlink()
    assert tune(run, snapshot_id) == found
    record = run.ledger.model(run.name, train(run, snapshot_id)["version"])["record"]
    assert record["parameters"]["max_depth"] == found["parameters"]["max_depth"]
    assert record["facts"]["rounds"] == found["parameters"]["rounds"]


def test_tuning_tries_whole_numbers_where_scikit_learn_counts(new_home):
    model = {"family": "sklearn", "estimator": "DecisionTreeClassifier", "parameters": {}}
    tuning = {"trials": 2, "ranges": {"max_depth": [1, 4], "min_samples_leaf": [1, 9], "ccp_alpha": [0.0, 0.01]}}
    run = settings(ready(new_home), model=model, tuning=tuning, missing={"default": {"strategy": "mode"}})
    found = tune(run, snapshot(run)["snapshot_id"])["parameters"]
    assert {name: type(value) for name, value in found.items()} == {
        "max_depth": int,
        "min_samples_leaf": int,
        "ccp_alpha": float,
    }


def test_tuning_without_two_classes_to_judge_on_is_refused(new_home):
    run = settings(ready(new_home, days=DAYS[:2]), tuning={"trials": 2, "ranges": {"max_depth": [1, 4]}})
    day(run, DAYS[2], [{"amount_eur": 1.0, "is_fraud": 0}] * 20)
    day(run, DAYS[3], [{"amount_eur": 1.0, "is_fraud": 0}] * 20)
    with pytest.raises(ModelError, match=r"E-TRAIN-TUNE.*two label values"):
        tune(run, snapshot(run)["snapshot_id"])


def test_a_weight_that_is_missing_is_refused(new_home):
    run = settings(new_home("2026-03-02"), weight="amount_eur")
    for key in DAYS[:2]:
        day(run, key, [{"amount_eur": 1.0, "is_fraud": 0}, {"amount_eur": None, "is_fraud": 1}])
    with pytest.raises(ModelError, match=r"E-TRAIN-WEIGHT.*got 1 others in 2 rows"):
        train(run, snapshot(run)["snapshot_id"])


def test_a_champion_of_another_task_is_not_compared(new_home):
    run = ready(new_home)
    chosen(run)
    other = at(
        run,
        run.key,
        run_id="retrain-2",
        label={"column": "amount_eur"},
        training=TRAINING | {"task": "regression"},
        gate=GATE,
    )
    _, decision = judged(other)
    assert decision["outcome"] == "HOLD"
    assert "trained for task 'binary'" in "; ".join(decision["reasons"])


def test_scores_are_aligned_by_class_name():
    scores = np.array([[0.7, 0.3], [np.nan, np.nan]])
    found = aligned(scores, ["AT", "FR"], ["AT", "DE", "FR"])
    assert found[0].tolist() == [0.7, 0.0, 0.3]
    assert np.isnan(found[1]).all()
    assert aligned(scores, ["AT", "FR"], ["FR", "DE"])[0].tolist() == [0.3, 0.0]
    assert aligned(scores, ["AT", "FR"], ["AT", "FR"]) is scores
