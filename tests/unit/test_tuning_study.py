"""Workers share a search: every trial is claimed once, a dead worker's again, and never more than were asked for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from pipelines.training import tuning_study
from pipelines.training.tuning_study import COMPLETE, FAILED, RUNNING, Claim, Studies

STUDY = "payments snapshot digest"
TRIALS = 3


@pytest.fixture
def book(ledger_url: str) -> Studies:
    return Studies(ledger_url)


def claim(book: Studies, owner: str, gone: str = "", in_order: bool = False, count: int = TRIALS) -> Claim | bool:
    return book.claim(STUDY, count, owner, in_order, lambda one: one == gone)


def taken(book: Studies, owner: str, gone: str = "") -> Claim:
    found = claim(book, owner, gone)
    assert isinstance(found, Claim)
    return found


def test_each_trial_is_claimed_once_and_knows_those_before_it(book: Studies) -> None:
    first, second, third = (taken(book, owner) for owner in "abc")
    assert [one.number for one in (first, second, third)] == [0, 1, 2]
    assert [[row["number"] for row in one.known] for one in (first, second, third)] == [[], [0], [0, 1]]
    assert claim(book, "d") is False  # the others are still at work
    for number, owner in enumerate("abc"):
        assert book.end(STUDY, number, owner, COMPLETE, value=number / 2, looks=[[5, 0.1]], notes={})
    assert claim(book, "d") is True
    assert [row["value"] for row in book.trials(STUDY)] == [0.0, 0.5, 1.0]


def test_a_claim_whose_answer_was_lost_is_the_same_claim(book: Studies) -> None:
    assert taken(book, "a").number == taken(book, "a").number == 0


def test_a_trial_of_a_dead_worker_is_repeated_with_its_parameters(book: Studies) -> None:
    taken(book, "a")
    assert book.begin(STUDY, 0, "a", {"max_depth": 3})
    again = taken(book, "b", gone="a")
    assert (again.number, again.parameters, again.known) == (0, {"max_depth": 3}, [])
    assert not book.end(STUDY, 0, "a", COMPLETE, value=9.0)  # it was only slow, and comes too late
    assert book.end(STUDY, 0, "b", COMPLETE, value=1.0)
    (row,) = book.trials(STUDY)
    assert (row["value"], row["owner"], row["tries"]) == (1.0, "b", 2)


def test_a_worker_on_another_machine_is_dead_when_its_heart_stops(
    book: Studies, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken(book, "a")
    assert taken(book, "b").number == 1
    monkeypatch.setattr(tuning_study, "DEAD_AFTER_SECONDS", -1.0)
    assert taken(book, "c").number == 0
    assert not book.beat(STUDY, 0, "a")


def test_a_trial_that_ends_its_process_three_times_has_failed(book: Studies) -> None:
    for owner, dead in (("a", ""), ("b", "a"), ("c", "b")):
        assert taken(book, owner, gone=dead).number == 0
    assert taken(book, "d", gone="c").number == 1
    (row, _) = book.trials(STUDY)
    assert (row["state"], row["reason"][:25]) == (FAILED, "its process died 3 times:")


def test_a_trial_that_was_given_back_is_free_at_once_and_loses_no_try(book: Studies) -> None:
    for _ in range(5):
        assert taken(book, "a").number == 0
        assert book.release(STUDY, 0, "a")
    assert taken(book, "b").number == 0
    assert book.trials(STUDY)[0]["tries"] == 1


def test_in_order_a_trial_waits_for_all_before_it(book: Studies) -> None:
    """Two runs of a search that has one worker: what a trial knows must not depend on who was quicker."""
    assert isinstance(claim(book, "a", in_order=True), Claim)
    assert claim(book, "b", in_order=True) is False
    book.end(STUDY, 0, "a", COMPLETE, value=1.0)
    second = claim(book, "b", in_order=True)
    assert isinstance(second, Claim)
    assert [row["state"] for row in second.known] == [COMPLETE]


def test_no_number_is_kept_as_none(book: Studies) -> None:
    taken(book, "a")
    book.end(STUDY, 0, "a", FAILED, value=float("nan"), reason="'roc_auc' is no number")
    assert book.trials(STUDY)[0]["value"] is None


def test_eight_workers_at_once_claim_every_trial_once(ledger_url: str) -> None:
    barrier = Barrier(8, timeout=60)

    def work(number: int) -> list[int]:
        book, found = Studies(ledger_url), []
        barrier.wait()
        while isinstance(one := claim(book, f"worker {number}", count=20), Claim):
            found.append(one.number)
            assert book.end(STUDY, one.number, f"worker {number}", COMPLETE, value=1.0)
        return found

    with ThreadPoolExecutor(8) as pool:
        claimed = [number for found in pool.map(work, range(8)) for number in found]
    assert sorted(claimed) == list(range(20))


def test_a_search_is_opened_once_and_keeps_what_it_began_with(book: Studies) -> None:
    values = {"pipeline": "p", "snapshot_id": "s", "partition": "2026-03-01", "metric": "roc_auc"}
    values |= {"direction": "higher", "trials": 3, "code_version": "abc", "settings": {"trials": 3}}
    first = book.open(STUDY, **values, first=[{"origin": "settings", "parameters": {"eta": 0.1}}])
    again = book.open(STUDY, **values, first=[])
    assert again == first
    assert again["first"][0]["parameters"] == {"eta": 0.1}
    assert [row["study"] for row in book.of("p")] == [STUDY]
    assert book.of("q") == []
    assert RUNNING not in [row["state"] for row in book.trials(STUDY)]
