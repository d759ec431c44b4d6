"""Champion and challenger beside each other on small tables, with real models: promoted, dropped, interrupted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.context import Context
from pipelines.runs.steps import step_function
from pipelines.shadows import TABLE, current_shadow, shadow_state
from pipelines.training import promote, rollback, shadow
from pipelines.training.registry import champion_alias
from tests.builders import utc
from tests.model.feeds import TRAINING, at
from tests.model.shadowed import DAYS, GATE, NIGHTS, STRONG, challenger, judged, night, opened
from tests.model.test_retrain import chosen, ready

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path) -> tuple[Path, Path]:
    """Two trainings cost more than all tests here: their home is made once and put back before each."""
    folder = tmp_path_factory.mktemp("shadow")
    challenger(folder / "home", empty_mlflow)
    shutil.copytree(folder / "home", folder / "saved", symlinks=True)
    return folder / "home", folder / "saved"


@pytest.fixture
def run(saved: tuple[Path, Path]) -> Context:
    """All but MLflow's database, which this process holds open."""
    home, copy = saved
    for path in home.iterdir():
        if path.name != "mlflow":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(copy, home, symlinks=True, dirs_exist_ok=True, ignore=lambda *_: {"mlflow"})
    return opened(home)


def told(run: Context) -> list[tuple[str, str, int]]:
    return [
        (row["partition"], row["outcome"], row["model_version"]) for row in run.ledger.decisions(run.name, "shadow")
    ]


def champions(run: Context) -> list[tuple[int, str, str]]:
    return [(row["version"], row["action"], row["actor"]) for row in run.ledger.champions(run.name)]


def test_a_first_champion_needs_no_shadow(new_home: Callable[..., Context]) -> None:
    run = ready(new_home, gate=GATE)
    assert chosen(run) == 1
    assert champions(run) == [(1, "promote", "gate")]
    assert told(run) == []


def test_a_better_challenger_is_promoted_after_its_nights(run: Context) -> None:
    assert champions(run) == [(1, "promote", "gate")]
    first = night(run, NIGHTS[0])
    waiting = shadow(first)
    assert waiting["why"] == "1 of 2 partitions are scored by both"
    state = shadow_state(run.ledger, run.name)
    assert state
    assert (state["version"], state["scored"], state["partitions"]) == (2, 1, 2)
    last = night(run, NIGHTS[1], seed=6)
    assert {row["model_version"] for row in run.ledger.releases(run.name)} == {1}
    done = shadow(last)
    assert (done["outcome"], done["effective_from"]) == ("PROMOTE", "2026-03-07T00:00:00+00:00")
    assert champions(run) == [(1, "promote", "gate"), (2, "promote", "shadow, approved by anna")]
    champion = run.ledger.champion(run.name)
    assert champion
    assert champion["reason"].startswith("shadow of 2 partitions (2026-03-05 to 2026-03-06): ")
    assert champion_alias(run) == run.ledger.model(run.name, 2)["record"]["mlflow_version"]
    (_, decision) = run.ledger.decisions(run.name, "shadow")
    assert decision["numbers"]["holdout"]["partitions"] == list(NIGHTS)
    assert decision["numbers"]["holdout"]["rows"] == 400
    assert {check["name"] for check in decision["numbers"]["checks"]} >= {"champion", "slice country=DE"}
    assert current_shadow(run.ledger, run.name) is None
    # A retry of the same run finds its own word; the next night has nothing to do.
    assert shadow(last) | {"reasons": None} == {
        "state": "unchanged",
        "outcome": "PROMOTE",
        "version": 2,
        "reasons": None,
    }
    # By its name, as a task calls it: `shadow` must not have become the module that the first call imported.
    assert step_function("shadow")(night(run, "2026-03-07", seed=7))["reason"] == "no challenger is in shadow"


def test_scores_beside_are_the_models_own_and_are_released_nowhere(run: Context) -> None:
    here = night(run, NIGHTS[0])
    shadow(here)
    beside = here.snapshot(TABLE).read([here.key]).to_pandas().set_index("row_id").sort_index()
    released = here.snapshot("predictions").read([here.key]).to_pandas().set_index("row_id").sort_index()
    assert set(beside["model_version"]) == {2}
    assert set(released["model_version"]) == {1}
    assert (beside.index == released.index).all()
    assert (beside["score"] != released["score"]).any()
    exported = list((run.home.root / "exports" / run.name).rglob("*.parquet"))
    assert len(exported) == 1
    before = run.ledger.publication(run.name, TABLE, here.key)
    shadow(at(run, here.key, run_id="again", **STRONG))
    assert run.ledger.publication(run.name, TABLE, here.key) == before


def test_a_challenger_that_real_days_do_not_confirm_is_dropped(run: Context) -> None:
    """On these days labels are a coin's: no model is better than another."""
    for number, key in enumerate(NIGHTS):
        found = shadow(night(run, key, seed=20 + number, noise=0.5))
    assert (found["outcome"], found["version"]) == ("DROP", 2)
    assert found["reasons"]
    assert champions(run) == [(1, "promote", "gate")]
    assert told(run) == [("2026-03-04", "START", 2), ("2026-03-06", "DROP", 2)]
    assert run.ledger.decisions(run.name, "shadow")[-1]["numbers"]["gate"] in ("HOLD", "REJECT")


def test_a_newer_challenger_does_not_reset_the_clock(run: Context) -> None:
    shadow(night(run, NIGHTS[0]))
    newer = at(run, NIGHTS[0], run_id="retrain-3", **STRONG)
    version, decision = judged(newer)
    assert decision["outcome"] == "PROMOTE", decision["reasons"]
    assert promote(newer, version)["state"] == "skipped"
    assert promote(newer, version)["state"] == "unchanged"
    assert shadow(night(run, NIGHTS[1], seed=6))["outcome"] == "PROMOTE"
    assert told(run) == [("2026-03-04", "START", 2), ("2026-03-05", "HOLD", 3), ("2026-03-06", "PROMOTE", 2)]
    assert champions(run)[-1][0] == 2


def test_after_a_rollback_only_nights_of_the_champion_in_force_count(run: Context) -> None:
    shadow(night(run, NIGHTS[0]))
    other = at(run, NIGHTS[0], run_id="retrain-other", training=TRAINING, gate=GATE | {"shadow": None})
    version, _ = judged(other)
    promote(other, version)  # somebody took the setting away, and another challenger became champion
    assert champions(run)[-1][0] == version == 3
    found = shadow(night(run, NIGHTS[1], seed=6))
    assert found["why"] == "1 of 2 partitions are scored by both"
    rollback(at(run, NIGHTS[1], run_id="rollback", **STRONG), 1, "somebody", "back to the first")
    # The first champion's night counts again: with the next one there are two.
    assert shadow(night(run, "2026-03-07", seed=7))["outcome"] == "PROMOTE"
    assert run.ledger.decisions(run.name, "shadow")[-1]["numbers"]["champion"] == 1
    assert run.ledger.decisions(run.name, "shadow")[-1]["numbers"]["holdout"]["partitions"] == [NIGHTS[0], "2026-03-07"]


def test_past_days_are_neither_scored_nor_judged(run: Context) -> None:
    past = at(run, DAYS[3], run_id="backfill", **STRONG)
    assert "no hindsight" in shadow(past)["reason"]
    night(run, NIGHTS[0])
    shadow(night(run, NIGHTS[1], seed=6))
    # The first night's own task comes late: it scores, but the newest night judges.
    late = shadow(at(run, NIGHTS[0], run_id="late", **STRONG))
    assert late["why"] == "a past partition: nothing is judged by it"
    assert told(run) == [("2026-03-04", "START", 2)]
    assert [row["partition"] for row in run.ledger.publications(run.name, TABLE)] == list(NIGHTS)


def test_labels_that_never_come_end_the_shadow(run: Context) -> None:
    delayed = {"label": {"column": "is_fraud", "delay_days": 30}}
    for number, key in enumerate(NIGHTS):
        found = shadow(night(run, key, seed=5 + number, **delayed))
    assert found["why"] == "the labels of '2026-03-05', '2026-03-06' have not matured"
    running = current_shadow(run.ledger, run.name)
    assert running
    assert running.until == utc("2026-03-11")  # three times two days: its label was due
    found = shadow(night(run, "2026-03-10", seed=9, **delayed))
    assert found["outcome"] == "DROP"
    assert found["reasons"][0].startswith("by 2026-03-11 it could not be judged: the labels of")


def test_a_challenger_that_cannot_score_is_dropped(run: Context) -> None:
    here = night(run, NIGHTS[0])
    uri = run.ledger.model(run.name, 2)["artifact_uri"]
    files = [path for path in (run.home.root / "models").rglob("*") if path.is_file() and path.parent.name in uri]
    assert files
    for path in files:
        path.write_bytes(b"changed")
    found = shadow(here)
    assert found["outcome"] == "DROP"
    assert "E-MODEL-HASH" in found["reasons"][0]
