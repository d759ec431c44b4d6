"""Calls of services that may be away for a moment: repeated with growing pauses, counted, and given up together.

Who repeats what, so that nothing is repeated twice: what is called through here is repeated here, and boto3 and
MLflow's client are told not to. Two others repeat their own requests within the same bounds and are not repeated here:
boto3 the parts of an upload, delta-rs those of a table. What fails in spite of that is repeated by Airflow, as a task.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Literal, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, stop_before_delay
from tenacity.wait import wait_exponential_jitter

from pipelines.errors import NightshiftError, StorageError

log = logging.getLogger("nightshift")

Answer = TypeVar("Answer")

STEP_SECONDS = 300.0  # what one step may lose in all by repeating calls
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 10.0


@dataclass(frozen=True)
class Service:
    """Something that is called. `is_passing` tells from an error whether the same call may succeed soon.

    One call is made `attempts` times at most, and not again once `seconds` have passed since it began.
    """

    name: str
    code: str  # of the error while it is known to be down, E-...-DOWN
    title: str
    is_passing: Callable[[BaseException], bool]
    attempts: int = 8
    seconds: float = 60.0


@dataclass
class Breaker:
    """Lets calls through (closed) until `most_failures` in a row were given up; then none (open) for a pause.

    After the pause one call is let through (half open): its answer closes the breaker, its failure opens it again.
    """

    clock: Callable[[], float] = time.monotonic
    most_failures: int = 2
    pause_seconds: float = 30.0
    failures: int = 0
    first_failed_at: float = 0.0
    opened_at: float = 0.0
    is_probing: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def admit(self) -> Literal["closed", "half open", "open"]:
        """The state for one call, which must be followed by `answered`, `failed` or `left` unless it is 'open'."""
        with self._lock:
            if self.failures < self.most_failures:
                return "closed"
            if self.is_probing or self.clock() - self.opened_at < self.pause_seconds:
                return "open"
            self.is_probing = True
            return "half open"

    def answered(self) -> None:
        with self._lock:
            self.failures, self.is_probing = 0, False

    def failed(self) -> None:
        with self._lock:
            now = self.clock()
            self.first_failed_at = self.first_failed_at if self.failures else now
            self.failures, self.opened_at, self.is_probing = self.failures + 1, now, False

    def left(self) -> None:
        """The call ended without telling anything of the service, e.g. by Ctrl-C."""
        with self._lock:
            self.is_probing = False


@dataclass
class _Step:
    """What this process's current step repeated so far, and how long it may go on with that."""

    seconds_left: float
    retries: Counter[str] = field(default_factory=Counter)


# Outside of steps, e.g. in a page of the server that lives for months, only each call has its limit.
_step = _Step(math.inf)


@cache
def breaker_of(service: str, target: str) -> Breaker:  # noqa: ARG001 - they are the cache's key
    """This process's breaker for one service at one address."""
    return Breaker()


def counted(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """The summary of a step, with `retries` per service if there were any; its time for retries starts afresh."""
    global _step
    outside = _step
    _step = step = _Step(STEP_SECONDS)
    try:
        summary = work(*arguments)
    finally:
        _step = outside
    return summary | {"retries": dict(sorted(step.retries.items()))} if step.retries else summary


def call(service: Service, target: str, action: str, work: Callable[[], Answer]) -> Answer:
    """The answer of `work`, repeated while it fails for a reason that passes: doing it twice must be as doing it once.

    Raises:
        StorageError: the service's E-...-DOWN at once while its breaker is open.
        Exception: whatever `work` raised last.
    """
    breaker = breaker_of(service.name, target)
    state = breaker.admit()
    if state == "open":
        raise _down(service, target, action, breaker)
    try:
        answer = _repeated(service, target, action, 1 if state == "half open" else service.attempts, work)
    except Exception as error:
        breaker.failed() if service.is_passing(error) else breaker.answered()
        raise
    except BaseException:
        breaker.left()
        raise
    breaker.answered()
    return answer


def _repeated(service: Service, target: str, action: str, attempts: int, work: Callable[[], Answer]) -> Answer:
    step, lost = _step, 0.0

    def pause(state: RetryCallState) -> None:
        nonlocal lost
        lost = (state.seconds_since_start or 0.0) + state.upcoming_sleep
        step.retries[service.name] += 1
        error = state.outcome.exception() if state.outcome else None
        message = "%s (%s) did not answer, %s: %s. Attempt %d of %d follows in %.1f s."
        words = _one_line(error)
        log.warning(
            message, service.title, target, action, words, state.attempt_number + 1, attempts, state.upcoming_sleep
        )

    retrying = Retrying(
        retry=retry_if_exception(service.is_passing),
        stop=stop_after_attempt(attempts) | stop_before_delay(min(service.seconds, max(step.seconds_left, 0.0))),
        wait=wait_exponential_jitter(
            initial=FIRST_PAUSE_SECONDS, max=LONGEST_PAUSE_SECONDS, jitter=FIRST_PAUSE_SECONDS
        ),
        before_sleep=pause,
        reraise=True,
    )
    try:
        return retrying(work)
    finally:
        step.seconds_left -= lost


def _down(service: Service, target: str, action: str, breaker: Breaker) -> StorageError:
    ago = timedelta(seconds=breaker.clock() - breaker.first_failed_at)
    since = (datetime.now(UTC) - ago).strftime("%H:%M:%S UTC")
    again = max(0.0, breaker.opened_at + breaker.pause_seconds - breaker.clock())
    what = f"{service.title} is down since {since} (given up {breaker.failures} times), so this was not tried: {action}"
    return StorageError(
        service.code,
        target,
        what,
        f"Nothing was published. It is asked again in {again:.0f} s, or by the task's retry.",
    )


def _one_line(error: BaseException | None) -> str:
    text = error.what if isinstance(error, NightshiftError) else str(error).partition("[SQL:")[0]  # parameters follow
    return " ".join(text.split())[:200]
