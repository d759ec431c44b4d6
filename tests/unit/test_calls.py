"""Retries and the circuit breaker, with a clock of the test's own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import tenacity.nap
from hypothesis import given
from hypothesis import strategies as st

from pipelines import calls
from pipelines.calls import Breaker, Service, breaker_of, call, counted
from pipelines.errors import StorageError


class Away(Exception):
    """The service does not answer."""


class Denied(Exception):
    """The service answered: no."""


SERVICE = Service("shop", "E-SHOP-DOWN", "the shop", lambda error: isinstance(error, Away), attempts=4, seconds=60)


class Clock:
    """Seconds that pass only when somebody sleeps or work takes time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.slept = 1000.0, list[float]()
        monkeypatch.setattr("time.monotonic", lambda: self.now)
        monkeypatch.setattr(tenacity.nap.time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    breaker_of.cache_clear()
    clock = Clock(monkeypatch)
    real = Breaker
    monkeypatch.setattr(calls, "Breaker", lambda: real(clock=lambda: clock.now))
    return clock


def answers(*outcomes: Any, took: float = 0.0, clock: Clock | None = None) -> Callable[[], Any]:
    """Work with these outcomes in turn: an exception is raised, anything else is returned."""
    rest = list(outcomes)

    def work() -> Any:
        if clock:
            clock.now += took
        outcome = rest.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return work


def test_a_service_that_comes_back_costs_two_pauses_and_is_counted(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "nightshift")
    summary = counted(
        lambda: {"rows": call(SERVICE, "here", "reading", answers(Away("no route"), Away("no route"), 7))}
    )
    assert summary == {"rows": 7, "retries": {"shop": 2}}
    assert [0.2 <= clock.slept[0] <= 0.4, 0.4 <= clock.slept[1] <= 0.6] == [True, True]
    assert len(caplog.records) == 2
    assert "the shop (here) did not answer, reading: no route. Attempt 2 of 4" in caplog.text


@pytest.mark.usefixtures("clock")
def test_a_step_without_retries_has_no_counter() -> None:
    assert counted(lambda rows: {"rows": rows}, 3) == {"rows": 3}


def test_a_refusal_is_final_at_once_and_no_sign_of_an_outage(clock: Clock) -> None:
    for _ in range(5):
        with pytest.raises(Denied):
            call(SERVICE, "here", "reading", answers(Denied()))
    assert clock.slept == []
    assert call(SERVICE, "here", "reading", answers(1)) == 1


def test_attempts_are_bounded(clock: Clock) -> None:
    with pytest.raises(Away):
        call(SERVICE, "here", "reading", answers(*[Away()] * 4, "a fifth attempt was made"))
    assert len(clock.slept) == 3


def test_slow_failures_are_bounded_by_time_not_by_attempts(clock: Clock) -> None:
    """25 s per failure: after the second the third would begin at about 52 s, after it 60 s are over."""
    started = clock.now
    with pytest.raises(Away):
        call(SERVICE, "here", "reading", answers(*[Away()] * 3, "a fourth", took=25.0, clock=clock))
    assert clock.now - started < 60 + 25


def test_many_services_down_cannot_add_up(clock: Clock) -> None:
    """20 addresses that each take 50 s to give up would cost 1000 s; the step gives up waiting after 300."""

    def work() -> dict[str, Any]:
        for number in range(20):
            with pytest.raises(Away):
                call(SERVICE, f"shop {number}", "reading", answers(*[Away()] * 4, took=16.0, clock=clock))
        return {}

    started = clock.now
    assert counted(work)["retries"]["shop"] < 30
    # The single attempt that each of the others still makes is no waiting.
    assert clock.now - started < calls.STEP_SECONDS + 60 + 20 * 16
    with pytest.raises(Away):
        counted(lambda: {"x": call(SERVICE, "a new step", "reading", answers(*[Away()] * 4))})
    assert len(clock.slept) > 3, "the next step has time of its own"


def test_an_outage_is_noticed_once_and_probed_after_the_pause(clock: Clock) -> None:
    for _ in range(2):
        with pytest.raises(Away):
            call(SERVICE, "here", "reading", answers(*[Away()] * 4))
    before = clock.now
    with pytest.raises(
        StorageError, match=r"E-SHOP-DOWN here: the shop is down since .* UTC .*not tried: reading"
    ) as no:
        call(SERVICE, "here", "reading", answers("must not be asked"))
    assert no.value.retryable
    assert clock.now == before, "no waiting while it is known to be down"
    assert call(SERVICE, "elsewhere", "reading", answers(1)) == 1, "another address is another service"
    clock.now += 31
    with pytest.raises(Away):
        call(SERVICE, "here", "reading", answers(Away(), "a probe is one attempt"))
    with pytest.raises(StorageError, match="E-SHOP-DOWN"):
        call(SERVICE, "here", "reading", answers("must not be asked"))
    clock.now += 31
    assert call(SERVICE, "here", "reading", answers(2)) == 2
    assert call(SERVICE, "here", "reading", answers(Away(), 3)) == 3, "closed again: retries are back"


def test_an_interrupted_probe_leaves_room_for_the_next(clock: Clock) -> None:
    for _ in range(2):
        with pytest.raises(Away):
            call(SERVICE, "here", "reading", answers(*[Away()] * 4))
    clock.now += 31
    with pytest.raises(KeyboardInterrupt):
        call(SERVICE, "here", "reading", answers(KeyboardInterrupt()))
    assert call(SERVICE, "here", "reading", answers(1)) == 1


@given(st.lists(st.tuples(st.sampled_from(["answer", "fail", "leave"]), st.floats(0, 40))))
def test_a_breaker_is_open_only_within_a_pause_after_enough_failures(events: list[tuple[str, float]]) -> None:
    """Against a plain reading of the rule: the failures in a row so far, and the time since the last of them."""
    now = 0.0
    breaker = Breaker(clock=lambda: now)
    row, last = 0, 0.0
    for outcome, pause in events:
        now += pause
        expected = "closed" if row < 2 else "open" if now - last < 30 else "half open"
        state = breaker.admit()
        assert state == expected
        if state == "open":
            continue
        if state == "half open":
            assert breaker.admit() == "open", "one probe at a time"
        {"answer": breaker.answered, "fail": breaker.failed, "leave": breaker.left}[outcome]()
        row, last = {"answer": (0, last), "fail": (row + 1, now), "leave": (row, last)}[outcome]
