"""The scorecard: each test with and without its evidence, people's word, and the smallest section as the score."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import pytest

from pipelines.features.functions import load_function
from pipelines.home import REPOSITORY, Home
from pipelines.scorecard.card import card, judged
from pipelines.scorecard.evidence import Evidence, gather
from pipelines.scorecard.rubric import SECTIONS, TESTS, interpretation
from pipelines.settings.loader import check_statements
from pipelines.settings.scorecard import Statements, rubric_names
from tests.builders import context, pipeline, utc

TODAY = date(2026, 4, 1)
LIMITED = {"build_features": {"time_limit_minutes": 5}, "score": {"time_limit_minutes": 5}}
BY_KEY = {test.key: test for test in TESTS}


def known(changes: dict[str, Any] | None = None, **facts: Any) -> Evidence:
    return Evidence(pipeline=pipeline(**(changes or {})), today=TODAY, **facts)


def points(key: str, evidence: Evidence) -> float:
    return float(judged(BY_KEY[key], evidence)["points"])


def ran(step: str, *days: str, state: str = "done", code: str = "c1", **summary: Any) -> dict[str, Any]:
    """Attempts of one step, newest first, two seconds each."""
    rows = [
        {
            "partition": day,
            "state": state,
            "started_at": (start := datetime.fromisoformat(f"{day}T03:00:00+00:00")),
            "ended_at": start + timedelta(seconds=2),
            "peak_rss_mib": 100,
            "code_version": code,
            "error": None,
            "summary": summary,
        }
        for day in days
    ]
    return {step: rows}


def decided(outcome: str = "OK", version: int = 1, day: str = "2026-03-02", **numbers: Any) -> dict[str, Any]:
    moment = datetime.fromisoformat(f"{day}T05:00:00+00:00")
    return {
        "partition": day,
        "outcome": outcome,
        "model_version": version,
        "decided_at": moment,
        "reasons": ["because"],
        "numbers": numbers,
    }


def gate(*found: tuple[str, bool, dict[str, Any]], version: int = 1, outcome: str = "PROMOTE", **numbers: Any) -> Any:
    checks = [{"name": name, "passed": passed, "text": name, "numbers": facts} for name, passed, facts in found]
    return decided(outcome, version, checks=checks, metric="roc_auc", **numbers)


def promoted(version: int = 1, action: str = "promote", day: str = "2026-03-02") -> dict[str, Any]:
    return {"version": version, "action": action, "decided_at": utc(f"{day}T06:00:00")}


CHAMPION = {"champions": [promoted()]}
TWO = ("2026-03-02", "2026-03-01")
CLEAN = [{"partition": day, "state": "clean", "read": 10, "quarantined": 1} for day in TWO]
RULES = [{"kwargs": {"column": "amount_eur"}}, {"kwargs": {"column_list": ["country", "card_id"]}}]
REALISED = {"metric": "roc_auc", "value": 0.8, "holdout": 0.9, "rows": 50, "partitions": ["2026-03-01"]}
SHUFFLED = {"features": [{"feature": "a", "loss": 0.1}, {"feature": "b", "loss": 0.0}], "rows": 9, "metric": "roc_auc"}
AGED = ("champion", True, {"gain": 0.01})
WHOLE_WAY = {
    k: v
    for step in ("ingest", "validate", "build_features", "score", "release", "train")
    for k, v in ran(step, "2026-03-02").items()
}


SENT = {"connection": "chat", "sent_at": utc("2026-03-03T04:00:00"), "title": "payments 2026-03-02: refused"}


def realised(version: int, offline: float, online: float) -> dict[str, Any]:
    return decided(version=version, realised=REALISED | {"holdout": offline, "value": online})


def replayed(day: str, version: int = 1, verdict: str = "equal") -> dict[str, Any]:
    return ran("replay", day, version=version, verdict=verdict)["replay"][0]


CASES: list[tuple[str, str, float, Evidence]] = [
    ("expectations_in_schema", "each column has a rule", 1, known(rules=RULES, attempts=ran("validate", *TWO))),
    ("expectations_in_schema", "country has no rule", 0.5, known(rules=RULES[:1], attempts=ran("validate", *TWO))),
    ("expectations_in_schema", "rules that never judged", 0, known(rules=RULES, attempts=ran("validate", TWO[0]))),
    ("expectations_in_schema", "no rule", 0, known(attempts=ran("validate", *TWO))),
    ("features_beneficial", "b loses nothing", 0.5, known(**CHAMPION, explanation={"permutation": SHUFFLED})),
    (
        "features_beneficial",
        "all lose",
        1,
        known(**CHAMPION, explanation={"permutation": SHUFFLED | {"features": SHUFFLED["features"][:1]}}),
    ),
    ("feature_cost", "limited", 1, known({"resources": LIMITED}, attempts=ran("build_features", *TWO))),
    ("feature_cost", "unlimited", 0, known(attempts=ran("build_features", *TWO))),
    ("feature_cost", "limited, never ran", 0, known({"resources": LIMITED})),
    ("meta_level_requirements", "leakage looked for", 0.5, known(gates=[gate(("features alone", True, {}))])),
    ("meta_level_requirements", "leakage switched off", 0, known(gates=[gate(("scores", True, {}))])),
    ("specs_reviewed", "clean commits", 0.5, known(attempts=ran("train", *TWO))),
    ("specs_reviewed", "uncommitted code", 0, known(attempts=ran("train", *TWO, code="c1+changes"))),
    ("specs_reviewed", "settings elsewhere", 0, known(attempts=ran("train", *TWO), is_config_committed=False)),
    ("offline_online_metrics", "one version", 0.5, known(drifts=[realised(1, 0.9, 0.8)])),
    (
        "offline_online_metrics",
        "three versions in one order",
        1,
        known(drifts=[realised(1, 0.7, 0.6), realised(2, 0.8, 0.7), realised(3, 0.9, 0.85)]),
    ),
    (
        "offline_online_metrics",
        "three versions in the other order",
        0.5,
        known(drifts=[realised(1, 0.7, 0.9), realised(2, 0.8, 0.7), realised(3, 0.9, 0.6)]),
    ),
    ("offline_online_metrics", "never changed", 0.5, known(drifts=[realised(v, 0.9, 0.8) for v in (1, 2, 3)])),
    ("hyperparameters_tuned", "searched", 1, known(attempts=ran("tune", TWO[0], tuned=True, parameters={"depth": 3}))),
    ("hyperparameters_tuned", "not asked for", 0, known(attempts=ran("tune", TWO[0], tuned=False))),
    (
        "hyperparameters_tuned",
        "not the newest time",
        0.5,
        known(attempts={"tune": [*ran("tune", TWO[0], tuned=False)["tune"], *ran("tune", TWO[1], tuned=True)["tune"]]}),
    ),
    (
        "staleness_known",
        "two ages",
        1,
        known(gates=[gate(AGED, champion_age_days=9.0), gate(AGED, champion_age_days=4.0)]),
    ),
    ("staleness_known", "one age", 0.5, known(gates=[gate(AGED, champion_age_days=9.0)])),
    (
        "staleness_known",
        "no champion to compare",
        0,
        known(gates=[gate(("champion", True, {}), champion_age_days=None)]),
    ),
    ("simpler_model_not_better", "both beaten", 1, known(**CHAMPION, gates=[gate(("baseline linear", True, {}))])),
    ("simpler_model_not_better", "linear wins", 0, known(**CHAMPION, gates=[gate(("baseline linear", False, {}))])),
    (
        "simpler_model_not_better",
        "another version",
        0,
        known(**CHAMPION, gates=[gate(("baseline linear", True, {}), version=2)]),
    ),
    (
        "quality_on_slices",
        "enough rows",
        1,
        known({"gate": {"slices": ["country"]}}, gates=[gate(("slice country=DE", True, {"is_weak": False}))]),
    ),
    (
        "quality_on_slices",
        "too few rows",
        0.5,
        known({"gate": {"slices": ["country"]}}, gates=[gate(("slice country=DE", True, {"is_weak": True}))]),
    ),
    ("quality_on_slices", "asked for, not judged", 0, known({"gate": {"slices": ["country"]}}, gates=[gate()])),
    ("quality_on_slices", "not asked for", 0, known(gates=[gate()])),
    ("inclusion", "gap judged", 1, known(gates=[gate(("selection gap country", True, {}))])),
    ("inclusion", "no gap", 0, known(gates=[gate(("scores", True, {}))])),
    ("training_reproducible", "one replay", 0.5, known(**CHAMPION, attempts={"replay": [replayed("2026-03-20")]})),
    (
        "training_reproducible",
        "two days, the champion among them",
        1,
        known(**CHAMPION, attempts={"replay": [replayed("2026-03-20", 2), replayed("2026-02-20")]}),
    ),
    (
        "training_reproducible",
        "never the champion",
        0.5,
        known(**CHAMPION, attempts={"replay": [replayed("2026-03-20", 2), replayed("2026-02-20", 2)]}),
    ),
    (
        "training_reproducible",
        "the newest differs",
        0,
        known(**CHAMPION, attempts={"replay": [replayed("2026-03-20", verdict="different"), replayed("2026-02-20")]}),
    ),
    ("pipeline_integration_tested", "same code all the way", 0.5, known(attempts=WHOLE_WAY)),
    (
        "pipeline_integration_tested",
        "other code trained",
        0,
        known(attempts=WHOLE_WAY | ran("train", "2026-03-02", code="c0")),
    ),
    ("validated_before_serving", "through the gate", 1, known(**CHAMPION, gates=[gate(("scores", True, {}))])),
    ("validated_before_serving", "held, yet champion", 0, known(**CHAMPION, gates=[gate(outcome="HOLD")])),
    ("model_debuggable", "explained", 1, known(**CHAMPION, explanation={"permutation": SHUFFLED})),
    ("model_debuggable", "no card", 0, known(**CHAMPION)),
    ("models_canaried", "the champion came by shadow", 1, known(**CHAMPION, shadows=[decided("PROMOTE")])),
    ("models_canaried", "others were in shadow", 0.5, known(**CHAMPION, shadows=[decided("DROP", 2)])),
    ("models_canaried", "begun, never judged", 0, known(**CHAMPION, shadows=[decided("START", 2)])),
    ("models_canaried", "only audited", 0.5, known(**CHAMPION, audits=[decided("PASS")])),
    ("rollback_possible", "drill passed", 1, known(drills=[decided("PASS", day="2026-03-05")])),
    ("rollback_possible", "drill of winter", 0.5, known(drills=[decided("PASS", day="2026-01-05")])),
    ("rollback_possible", "drill failed", 0, known(drills=[decided("FAIL"), decided("PASS")])),
    ("rollback_possible", "done once by hand", 0.5, known(champions=[promoted(1, "rollback"), promoted(2)])),
    ("rollback_possible", "never", 0, known(**CHAMPION)),
    ("dependency_changes", "seen, nobody told", 0.5, known(attempts=ran("ingest", *TWO))),
    ("dependency_changes", "one day", 0, known(attempts=ran("ingest", TWO[0]))),
    ("dependency_changes", "nothing sent yet", 0.5, known({"notify": {"to": ["chat"]}}, attempts=ran("ingest", *TWO))),
    (
        "dependency_changes",
        "somebody was told",
        1,
        known({"notify": {"to": ["chat"]}}, attempts=ran("ingest", *TWO), messages=[SENT]),
    ),
    (
        "input_invariants",
        "suite and two nights",
        1,
        known(rules=RULES, partitions=CLEAN, attempts=ran("validate", *TWO)),
    ),
    ("input_invariants", "empty suite", 0.5, known(partitions=CLEAN, attempts=ran("validate", *TWO))),
    ("input_invariants", "skipped nights", 0, known(rules=RULES, attempts=ran("validate", *TWO, state="skipped"))),
    ("training_serving_skew", "two nights", 1, known(drifts=[decided(columns={"a": {"grade": "quiet"}})] * 2)),
    ("training_serving_skew", "no champion yet", 0, known(drifts=[decided(labels=10)] * 2)),
    (
        "model_age",
        "limit",
        1,
        known({"audit": {"max_model_age_days": 30}}, audits=[decided("PASS", model_age_days=2.0)]),
    ),
    ("model_age", "no limit", 0.5, known(audits=[decided("PASS", model_age_days=2.0)])),
    ("model_age", "limit, never audited", 0, known({"audit": {"max_model_age_days": 30}})),
    ("numerically_stable", "two audits", 1, known(audits=[decided("PASS", score={"not_finite": 0}, scored=5)] * 2)),
    ("numerically_stable", "one audit", 0, known(audits=[decided("PASS", score={"not_finite": 0}, scored=5)])),
    (
        "computing_performance",
        "limits and four nights",
        1,
        known({"resources": LIMITED}, attempts=ran("score", *TWO, "2026-02-28", "2026-02-27")),
    ),
    (
        "computing_performance",
        "only the model's speed",
        0.5,
        known(gates=[gate(("speed", True, {}))], attempts=ran("score", *TWO, "2026-02-28", "2026-02-27")),
    ),
    ("computing_performance", "too few nights", 0, known({"resources": LIMITED}, attempts=ran("score", *TWO))),
    ("prediction_quality", "two nights with labels", 1, known(drifts=[decided(realised=REALISED)] * 2)),
    (
        "prediction_quality",
        "no limit",
        0.5,
        known({"monitor": {"loss_rise": None}}, drifts=[decided(realised=REALISED)] * 2),
    ),
    ("prediction_quality", "only estimated", 0.5, known(drifts=[decided(estimated={"roc_auc": 0.8})] * 2)),
]


@pytest.mark.parametrize(
    ("key", "expected", "evidence"),
    [pytest.param(key, expected, evidence, id=f"{key}: {what}") for key, what, expected, evidence in CASES],
)
def test_points_follow_the_evidence(key: str, expected: float, evidence: Evidence) -> None:
    assert points(key, evidence) == expected


@pytest.mark.parametrize("key", BY_KEY)
def test_nothing_ran_gives_no_point_and_says_what_to_do(key: str) -> None:
    """What the product could do and this pipeline never did is worth nothing."""
    found = judged(BY_KEY[key], known())
    assert (found["points"], bool(found["missing"])) == (0.0, True)
    assert found["step"]
    assert found["gain"] > 0


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
            GOOD.replace("2026-03-01", "2026-04-02"), "must not be in the future, got 2026-04-02", id="future"
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


def test_feature_function_of_the_demo_tells_round_amounts_and_cents() -> None:
    shape = load_function(REPOSITORY / "config", "amount_shape", "amount_shape")
    found = shape(ibis.memtable({"amount_eur": [50.0, 12.34, -20.0, None, 1e13]}, schema={"amount_eur": "float64"}))
    rows = found.to_pyarrow()
    assert rows["amount_is_round"].to_pylist() == [True, False, True, None, None]
    assert rows["amount_cents"].to_pylist() == [0, 34, 0, None, None]
