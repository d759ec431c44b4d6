"""When alarms become a retrain: votes, cooldown, labels and realised quality."""

from __future__ import annotations

import itertools

import pytest

from pipelines.monitoring.column_verdict import Grade
from pipelines.monitoring.decision import Decision, Facts, Vote, decide
from pipelines.monitoring.quality import Realised
from pipelines.settings.monitor import Monitor

TWO_OF_THREE = Monitor(votes=2, of_last=3, cooldown_partitions=3, min_new_labels=100)
READY = Facts(since_champion=10, since_retrain=None, new_labels=500)
GRADES: dict[str, Grade] = {"q": "quiet", "w": "watch", "a": "alarm"}


def votes(grades: str, reason: str = "SHIFT 'amount_eur'") -> list[Vote]:
    """One letter per partition, oldest first."""
    return [
        Vote(f"2026-03-{day:02d}", GRADES[letter], () if letter == "q" else (reason,))
        for day, letter in enumerate(grades, start=1)
    ]


def realised(drop: float, low: float, high: float, covers_newest: bool = True) -> Realised:
    return Realised("roc_auc", 0.9 - drop, 0.9, drop, low, high, 400, ("2026-03-01",), covers_newest)


@pytest.mark.parametrize(
    ("grades", "expected"),
    [
        pytest.param("q", "OK", id="a quiet day"),
        pytest.param("w", "WATCH", id="something to look at"),
        pytest.param("a", "WATCH", id="one alarm is not two"),
        pytest.param("aa", "RETRAIN", id="two in a row"),
        pytest.param("aqa", "RETRAIN", id="two of three with a quiet one between"),
        pytest.param("aqqa", "WATCH", id="the first alarm is too old"),
        pytest.param("aaq", "OK", id="the newest must be among them"),
        pytest.param("aaw", "WATCH", id="watching does not complete the votes"),
        pytest.param("waw", "WATCH", id="watching is no vote"),
    ],
)
def test_votes_of_the_last_partitions(grades: str, expected: str) -> None:
    assert decide(votes(grades), TWO_OF_THREE, READY).outcome == expected


@pytest.mark.parametrize(
    ("facts", "expected", "why"),
    [
        pytest.param(Facts(10, 3, 500), "WATCH", "COOLDOWN", id="asked three partitions ago"),
        pytest.param(Facts(10, 4, 500), "RETRAIN", "SHIFT", id="cooldown is over"),
        pytest.param(Facts(3, None, 500), "WATCH", "COOLDOWN", id="the champion is new"),
        pytest.param(Facts(4, None, 500), "RETRAIN", "SHIFT", id="the champion is no longer new"),
        pytest.param(Facts(10, None, 99), "WATCH", "LABELS", id="one label short"),
        pytest.param(Facts(10, None, 100), "RETRAIN", "SHIFT", id="just enough labels"),
        pytest.param(Facts(10, None, None), "RETRAIN", "SHIFT", id="a pipeline without labels is not held by them"),
    ],
)
def test_a_wanted_retrain_may_have_to_wait(facts: Facts, expected: str, why: str) -> None:
    decision = decide(votes("aa"), TWO_OF_THREE, facts)
    assert (decision.outcome, decision.reasons[0].split()[0]) == (expected, why)


@pytest.mark.parametrize(
    ("grades", "quality", "expected"),
    [
        pytest.param("q", realised(0.10, 0.06, 0.14), "RETRAIN", id="a certain loss retrains on a quiet day"),
        pytest.param("q", realised(0.10, 0.04, 0.16), "OK", id="an uncertain loss does not"),
        pytest.param("aa", realised(0.00, -0.02, 0.02), "WATCH", id="drift that cost nothing waits"),
        pytest.param("aa", realised(0.00, -0.02, 0.02, False), "RETRAIN", id="old labels say nothing about new drift"),
        pytest.param("aa", realised(0.03, 0.00, 0.08), "RETRAIN", id="drift with unclear cost retrains"),
    ],
)
def test_realised_quality_counts_more_than_drift(grades: str, quality: Realised, expected: str) -> None:
    settings = TWO_OF_THREE.model_copy(update={"max_drop": 0.05})
    facts = Facts(since_champion=10, new_labels=500, realised=quality)
    assert decide(votes(grades), settings, facts).outcome == expected


def test_realised_loss_is_only_reported_without_a_limit() -> None:
    facts = Facts(since_champion=10, new_labels=500, realised=realised(0.5, 0.4, 0.6))
    assert decide(votes("q"), TWO_OF_THREE, facts).outcome == "OK"


def test_a_dead_column_retrains_even_where_quality_held() -> None:
    settings = TWO_OF_THREE.model_copy(update={"max_drop": 0.05})
    facts = Facts(since_champion=10, new_labels=500, realised=realised(0.0, -0.02, 0.02))
    assert decide(votes("aa", "DEAD_COLUMN 'amount_eur'"), settings, facts).outcome == "RETRAIN"


def test_order_of_the_history_does_not_matter() -> None:
    history = votes("aqa")
    decisions = {decide(order, TWO_OF_THREE, READY) for order in itertools.permutations(history)}
    assert decisions == {decide(history, TWO_OF_THREE, READY)}


def test_reasons_name_the_most_important_first_and_are_bounded() -> None:
    many = Vote("2026-03-02", "alarm", tuple(f"SHIFT column {number}" for number in range(40)))
    decision: Decision = decide([*votes("a"), many], TWO_OF_THREE, READY)
    assert decision.reasons[0] == "SHIFT column 0"
    assert decision.reasons[1].startswith("VOTES 2 of the last 3")
    assert len(decision.reasons) == 13
