"""What a person is asked before a promotion, and what the ledger keeps of the answer."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines import approvals
from pipelines.champions import champion_history
from pipelines.ledger import Ledger

UNTIL = "2026-03-03T05:30:00+00:00"
ANSWERED = {"until": UNTIL, "by": "anna", "answered_at": "2026-03-02T07:05:09+00:00"}
GATE = {
    "outcome": "PROMOTE",
    "version": 3,
    "champion": 1,
    "trigger": "monitor on 2026-03-02: drift",
    "reasons": ["roc_auc 0.85 against 0.80"],
    "risks": ["feature 'a|b' alone nearly tells the label"],
}
CHECKS: list[dict[str, Any]] = [
    {"name": "training data", "numbers": {}},
    {
        "name": "champion",
        "numbers": {
            **{"metric": "roc_auc", "challenger": 0.85, "other": 0.8, "gain": 0.05, "lower": 0.02, "margin": 0.002},
        },
    },
    {
        "name": "baseline linear",
        "numbers": {"metric": "roc_auc", "challenger": 0.85, "other": 0.83, "gain": 0.02, "lower": -0.01},
    },
    {
        "name": "slice country=D|E",
        "numbers": {"rows": 1400, "challenger": 0.79, "champion": None, "allowed_loss": 0.05},
    },
    {"name": "calibration", "numbers": {"error": 0.03, "champion": 0.02, "limit": 0.15}},
    {"name": "error gap gender", "numbers": {"challenger": 0.05, "champion": 0.04, "limit": 0.1}},
]


def ask(**changes: Any) -> str:
    asks_always = changes.pop("asks_always", False)
    after = changes.pop("after", "")
    return approvals.question("cards", GATE | changes, {"checks": CHECKS}, UNTIL, after, asks_always)


def test_the_question_shows_outcome_risks_numbers_and_where_to_look() -> None:
    assert ask().splitlines() == [
        "The gate says **PROMOTE**: version 3 may take the place of version 1.",
        "",
        "Asked for: monitor on 2026-03-02: drift",
        "",
        "**What is risky**",
        "",
        r"* feature 'a\|b' alone nearly tells the label",
        "",
        "| | challenger | compared with | limit |",
        "|---|---|---|---|",
        r"| roc\_auc against the champion | 0.8500 | 0.8000 | gain +0.0500, at least +0.0200 (over 0.0020 needed) |",
        r"| roc\_auc against the linear baseline | 0.8500 | 0.8300 | gain +0.0200, at least -0.0100 |",
        r"| slice country=D\|E (1,400 rows) | 0.7900 | not known | loss of 0.0500 allowed |",
        "| calibration error | 0.0300 | 0.0200 | at most 0.1500 |",
        "| error gap gender | 0.0500 | 0.0400 | at most 0.1000 |",
        "",
        r"* roc\_auc 0.85 against 0.80",
        "",
        "[Everything about version 3](/nightshift/version/cards/3)",
        "",
        "Without an answer until 2026-03-03 05:30 UTC the champion stays.",
    ]


def test_the_question_about_a_first_champion_and_a_shadow() -> None:
    text = ask(champion=None, risks=[], asks_always=True, after="A yes puts it in shadow.")
    assert "version 3 may become the first champion." in text
    assert "**What is risky**: nothing was found. This pipeline always asks." in text
    assert text.endswith("the champion stays. A yes puts it in shadow.")


def test_a_record_without_risks_says_so_instead_of_none() -> None:
    assert "**What is risky** is not in the gate's record" in ask(risks=None)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (approvals.WAITING, "waits for a person until 2026-03-03 05:30 UTC; without an answer the champion stays"),
        (approvals.YES, "approved by anna at 2026-03-02 07:05 UTC"),
        (approvals.NO, "refused by anna at 2026-03-02 07:05 UTC: the champion stays"),
        (approvals.TIMEOUT, "nobody answered by 2026-03-03 05:30 UTC: the champion stays"),
        (approvals.BY_RULE, "approved by rule: no risk found"),
    ],
)
def test_each_answer_is_one_sentence_of_the_history(tmp_path: Path, outcome: str, expected: str) -> None:
    """Also where the champion stayed: a promotion that did not happen leaves no row among the champions."""
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    waiting = {"until": UNTIL, "risks": ["r"]}
    approvals.record(ledger, "cards", "2026-03-02", "run", 3, approvals.WAITING, waiting)
    approvals.record(ledger, "cards", "2026-03-02", "run", 3, outcome, waiting | ANSWERED)
    (found,) = champion_history(ledger, "cards")["approvals"]
    assert (found["partition"], found["version"], found["outcome"]) == ("2026-03-02", 3, outcome)
    assert found["reasons"] == [expected]
    assert (found["by"], found["risks"]) == ("anna", ["r"])


def test_only_a_question_in_time_can_still_be_answered(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    approvals.record(ledger, "cards", "2026-03-01", "old", 2, approvals.YES, ANSWERED)
    approvals.record(ledger, "cards", "2026-03-02", "run", 3, approvals.WAITING, {"until": UNTIL})
    before, after = datetime(2026, 3, 3, 5, 29, tzinfo=UTC), datetime(2026, 3, 3, 5, 31, tzinfo=UTC)
    found = approvals.waiting(ledger, "cards", before)
    assert found is not None
    assert found["model_version"] == 3
    assert approvals.waiting(ledger, "cards", after) is None
