"""The scorecard: each test with and without its evidence, people's word, and the smallest section as the score."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import ibis
import pytest

from pipelines.cli.checking import check_all
from pipelines.features.functions import load_function
from pipelines.home import REPOSITORY, Home
from pipelines.pages.scorecard import page
from pipelines.scorecard.card import card, judged
from pipelines.scorecard.evidence import gather
from pipelines.scorecard.rubric import SECTIONS, TESTS, interpretation
from pipelines.settings.loader import check_statements
from pipelines.settings.scorecard import Statements, rubric_names
from tests.builders import context, utc
from tests.scorecards import BY_KEY, CHAMPION, RULES, SHUFFLED, TODAY, decided, known, points, replayed


@pytest.mark.parametrize("key", BY_KEY)
def test_nothing_ran_gives_no_point_and_says_what_to_do(key: str) -> None:
    """What the product could do and this pipeline never did is worth nothing."""
    found = judged(BY_KEY[key], known())
    assert (found["points"], bool(found["missing"])) == (0.0, True)
    assert found["step"]
    assert found["gain"] > 0


def test_a_pipeline_that_trains_nothing_is_told_so() -> None:
    found = judged(BY_KEY["simpler_model_not_better"], known({"training": None, "label": None}))
    assert found["step"] == "add 'training' to config/pipelines/payments.yaml (this pipeline trains no model yet)"


def test_every_test_of_the_rubric_is_there_in_four_sections_of_seven() -> None:
    assert [test.key for test in TESTS] == list(rubric_names())
    assert [[test.section for test in TESTS].count(name) for name in SECTIONS] == [7, 7, 7, 7]


def test_evidence_names_figures_and_days() -> None:
    found = judged(BY_KEY["training_reproducible"], known(**CHAMPION, attempts={"replay": [replayed("2026-03-20", 4)]}))
    assert found["evidence"] == ["replay of version 4 on 2026-03-20: equal"]


def said(when: str) -> Statements:
    return Statements.model_validate(
        {"privacy_controls": {"who": "Anna", "when": when, "what": "only she can read it"}}
    )


@pytest.mark.parametrize(
    ("when", "expected"),
    [pytest.param("2026-03-31", 0.5, id="yesterday"), pytest.param("2025-03-31", 0.0, id="more than a year ago")],
)
def test_a_persons_word_is_half_a_point_for_a_year(when: str, expected: float) -> None:
    found = judged(BY_KEY["privacy_controls"], known(statements=said(when)))
    assert found["points"] == expected
    assert f"Anna, {when}: only she can read it" in found["evidence"][-1]


def test_a_persons_word_adds_nothing_to_what_runs_show() -> None:
    statements = Statements.model_validate(
        {"models_canaried": {"who": "Anna", "when": "2026-03-01", "what": "we tried it on ten cards"}}
    )
    assert points("models_canaried", known(**CHAMPION, statements=statements, audits=[decided("PASS")])) == 0.5


def test_the_score_is_the_smallest_section_and_the_next_step_lies_there() -> None:
    """Infrastructure has one point (drill) and half a one (statement), the other sections none: 0, and a step there."""
    found = card(known(drills=[decided("PASS", day="2026-03-05")], statements=said("2026-03-01")))
    assert found["sections"] == {"data": 0.5, "model": 0.0, "infrastructure": 1.0, "monitoring": 0.0}
    assert found["score"] == 0.0
    assert found["interpretation"].startswith("more of a research project")
    assert (found["next"]["section"], found["next"]["effort"], found["next"]["gain"]) == ("model", "minutes", 1.0)


@pytest.mark.parametrize(
    ("score", "words"),
    [(0.0, "more of a research"), (0.5, "not totally"), (1.0, "not totally"), (1.5, "a first pass"),
     (3.0, "reasonably"), (5.0, "strong"), (5.5, "exceptional")],
)  # fmt: skip
def test_interpretation_has_the_papers_bounds(score: float, words: str) -> None:
    assert interpretation(score).startswith(words)


def test_gather_reads_ledger_suite_and_card(tmp_path: Path) -> None:
    run = context(tmp_path, partition="2026-03-02")
    attempt = run.ledger.start_attempt(run.name, run.key, "replay", "r", "c1")
    run.ledger.end_attempt(attempt, "done", {"version": 1, "verdict": "equal"}, None, 5)
    run.ledger.record_decision(
        run.name, "audit", run.key, run_id="r", outcome="PASS", model_version=1, reasons=[], numbers={"scored": 3}
    )
    version = run.ledger.record_model(
        run.name,
        run_id="r",
        as_of=utc("2026-03-02"),
        mlflow_run_id=None,
        artifact_uri="u",
        artifact_sha256="s",
        record={},
    )
    run.ledger.change_champion(
        run.name,
        version,
        expected_seq=0,
        effective_from=utc("2026-03-03"),
        action="promote",
        reason="r",
        actor="a",
        run_id="r",
    )
    run.reports.write("models/1.json", json.dumps({"explanation": {"permutation": SHUFFLED}}).encode())
    (tmp_path / "expectations").mkdir()
    (tmp_path / "expectations" / "payments.json").write_text(json.dumps({"expectations": RULES}))
    found = gather(Home(tmp_path, tmp_path / "config"), run.pipeline, Statements(), TODAY)
    assert found.champion == 1
    assert found.of_step("replay")[0]["summary"]["verdict"] == "equal"
    assert found.audits[0]["numbers"] == {"scored": 3}
    assert found.explanation == {"permutation": SHUFFLED}
    assert found.rules == RULES
    assert not found.is_config_committed


def statements_file(tmp_path: Path, text: str, name: str = "payments") -> list[str]:
    config = tmp_path / "config"
    for folder in ("pipelines", "scorecards"):
        (config / folder).mkdir(parents=True)
    (config / "pipelines" / "payments.yaml").write_text("name: payments\n")
    (config / "scorecards" / f"{name}.yaml").write_text(text)
    return [str(problem) for problem in check_statements(name, config, TODAY)[1]]


GOOD = 'privacy_controls: {who: Anna, when: 2026-03-01, what: "only she can read the raw rows"}\n'
FILE = "config/scorecards/payments.yaml"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(
            GOOD.replace("controls", "control"), "unknown key 'privacy_control'. Did you mean", id="no such test"
        ),
        pytest.param(
            GOOD.replace("2026-03-01", "2026-04-03"), "must not be in the future, got 2026-04-03", id="future"
        ),
        pytest.param(GOOD.replace("only she can read the raw rows", "yes"), "E-CONFIG-", id="says nothing"),
        pytest.param(GOOD.replace("who: Anna, ", ""), "who", id="nobody says it"),
    ],
)
def test_wrong_statements_are_problems_with_their_line(tmp_path: Path, text: str, problem: str) -> None:
    (found,) = statements_file(tmp_path, text)
    assert f"{FILE}:1" in found
    assert problem in found


def test_good_statements_have_no_problem_and_those_about_nobody_do(tmp_path: Path) -> None:
    assert statements_file(tmp_path / "a", GOOD) == []
    (found,) = statements_file(tmp_path / "b", GOOD, "payment")
    assert "there is no pipeline 'payment'. Did you mean 'payments'?" in found


@pytest.mark.parametrize("names", [None, ["card_payments"]], ids=["all files", "one pipeline"])
def test_check_reads_statements_too(tmp_path: Path, names: list[str] | None) -> None:
    for folder in ("config", "expectations"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder)
    (tmp_path / "config" / "scorecards" / "card_payments.yaml").write_text(GOOD.replace("controls", "control"))
    found = check_all(tmp_path / "config", names, deep=False)
    assert [problem.file for problem in found.problems] == ["config/scorecards/card_payments.yaml"]
    assert "scorecards/card_payments" in found.checked


def test_page_shows_every_test_and_the_cheapest_next_point(tmp_path: Path) -> None:
    """The demo's pipeline before its first night: only people have said something."""
    text = page(Home(tmp_path, REPOSITORY / "config"), "card_payments")
    assert "ML Test Score 0 of 7" in text
    assert [text.count(f'<tr id="{key}">') for key in BY_KEY] == [1] * 28
    assert "Nightshift maintainers, 2026-11-21: The feed is simulated" in text
    assert "The cheapest next point</b> (minutes, +1 in model)" in text


def test_feature_function_of_the_demo_tells_round_amounts_and_cents() -> None:
    shape = load_function(REPOSITORY / "config", "amount_shape", "amount_shape")
    found = shape(ibis.memtable({"amount_eur": [50.0, 12.34, -20.0, None, 1e13]}, schema={"amount_eur": "float64"}))
    rows = found.to_pyarrow()
    assert rows["amount_is_round"].to_pylist() == [True, False, True, None, None]
    assert rows["amount_cents"].to_pylist() == [0, 34, 0, None, None]
