"""A worker of a search: takes one trial after another until all have ended, its own and those of the others."""

from __future__ import annotations

import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import psutil

from pipelines.errors import ModelError, NightshiftError
from pipelines.failpoints import reach
from pipelines.ledger import Row
from pipelines.models.fitting import fit_on_part
from pipelines.models.recipe import Recipe, Rows
from pipelines.settings.search import Tuning
from pipelines.training.metrics import direction, metric
from pipelines.training.tuning_study import BEAT_SECONDS, COMPLETE, FAILED, PRUNED, Claim, Studies

log = logging.getLogger("nightshift")

_PAUSE_SECONDS = 1.0
_LONGEST_REASON = 400
_CLOCK_SECONDS = 5.0  # the start of a process is known by a clock that may be set


@dataclass(frozen=True)
class Search:
    """One search: trials learn from the rows before the `validation` ones (a mask) and are judged on these."""

    studies: Studies
    study: str
    tuning: Tuning
    first: Sequence[Mapping[str, Any]]
    recipe: Recipe
    rows: Rows
    validation: np.ndarray
    metric: str
    occasion: str = ""


def work(search: Search) -> None:
    """Takes part until every trial has ended.

    Raises:
        NightshiftError: trouble that is not the trial's own, e.g. with storage; the trial is given back.
    """
    owner = _owner()
    while True:
        claim = search.studies.claim(search.study, search.tuning.trials, owner, search.tuning.workers == 1, _is_gone)
        if claim is True:
            return
        if isinstance(claim, Claim):
            _try(search, claim, owner)
        else:
            time.sleep(_PAUSE_SECONDS)


def _try(search: Search, claim: Claim, owner: str) -> None:
    from pipelines.training.tuning_sampler import Proposer

    studies, study, number = search.studies, search.study, claim.number
    given = claim.parameters
    if given is None and number < len(search.first):
        given = search.first[number]["parameters"]
    is_higher_better = direction(search.metric) == "higher"
    proposer = Proposer(search.recipe.training, search.tuning, is_higher_better, search.occasion)
    try:
        attempt = proposer.trial(number, claim.known, given)
        if not studies.begin(study, number, owner, attempt.parameters):
            return
        with _beating(lambda: studies.beat(study, number, owner)):
            reach(f"tune.trial_{number}")
            result = _result(search, attempt)
    except BaseException:
        with suppress(NightshiftError):
            studies.release(study, number, owner)
        raise
    if not studies.end(study, number, owner, **result):
        log.warning("trial %d of %s was taken over by another worker, so this result does not count", number, study)
    reach("tune.after_trial")


def _result(search: Search, attempt: Any) -> dict[str, Any]:
    """`state`, `value` and `reason` of a trial; what makes no model, or none that can be judged, is a failed trial."""
    from optuna import TrialPruned

    recipe = replace(search.recipe.with_parameters(attempt.parameters), look=attempt.look)
    found: dict[str, Any]
    try:
        value = _judged(search, recipe)
        found = {"state": COMPLETE, "value": value}
        if not math.isfinite(value):
            found = {"state": FAILED, "reason": f"'{search.metric}' is no number on the last training partitions"}
    except TrialPruned:
        found = {"state": PRUNED}
    except (ModelError, ValueError, ArithmeticError) as error:
        if isinstance(error, NightshiftError) and not isinstance(error, ModelError):
            raise
        found = {"state": FAILED, "reason": str(error)[:_LONGEST_REASON] or type(error).__name__}
    return {**found, "looks": attempt.looks, "notes": attempt.notes}


def _judged(search: Search, recipe: Recipe) -> float:
    model = fit_on_part(recipe, search.rows, search.validation)
    late = search.rows.take(search.validation)
    return metric(search.metric, late.target, model.predict(late.table))


def best_of(trials: Sequence[Row], metric_name: str) -> Row | None:
    """The completed trial with the best value; of equals the first."""
    complete = [row for row in trials if row["state"] == COMPLETE]
    sign = -1 if direction(metric_name) == "higher" else 1
    return min(complete, key=lambda row: (sign * row["value"], row["number"]), default=None)


@contextmanager
def _beating(beat: Callable[[], bool]) -> Iterator[None]:
    """Says every few seconds that this worker is alive, while a trial is fitted."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(BEAT_SECONDS):
            with suppress(NightshiftError):
                beat()

    thread = threading.Thread(target=run, name="tune-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _owner() -> str:
    """This process, told apart from any other one that ever ran."""
    return f"{_machine()} {os.getpid()} {psutil.Process().create_time()}"


def _machine() -> str:
    """This machine's name; processes of another container count as those of another machine."""
    try:
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{socket.gethostname()} -"


def _is_gone(owner: str) -> bool:
    """Whether a worker's process has ended; of another machine nobody knows, its heartbeat tells."""
    machine, _, rest = owner.rpartition(" ")
    machine, _, process = machine.rpartition(" ")
    if machine != _machine():
        return False
    try:
        found = psutil.Process(int(process))
        is_another = abs(found.create_time() - float(rest)) > _CLOCK_SECONDS
        return is_another or found.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
