"""What the log of a step carries, says, and keeps to itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from structlog.contextvars import get_contextvars

from pipelines.runs.logs import hush, logged, told


@pytest.fixture
def debug() -> Iterator[None]:
    root, botocore = logging.getLogger(), logging.getLogger("botocore")
    before = (root.level, botocore.level)
    root.setLevel(logging.DEBUG)
    botocore.setLevel(logging.NOTSET)
    yield
    root.setLevel(before[0])
    botocore.setLevel(before[1])


def test_lines_of_a_step_carry_what_it_is_about_and_later_ones_do_not() -> None:
    facts = {"pipeline": "alpha", "partition": "2026-03-02", "step": "gate", "run_id": "r1", "code_version": "abc"}
    with logged("alpha", "2026-03-02", "gate", "r1", "abc", 7):
        assert get_contextvars() == facts | {"model_version": 7}
    with logged("alpha", "2026-03-02", "gate", "r1", "abc", None):
        assert get_contextvars() == facts
    assert get_contextvars() == {}


def test_the_outcome_names_counts_and_leaves_out_what_may_quote_a_row() -> None:
    summary = {
        **{"state": "done", "outcome": "HOLD", "version": 7, "rows": 3, "refused": False},
        **{"reasons": ["slice country=Ann got worse"], "warnings": ["Ann"], "notes": "Ann", "parameters": {"a": 1}},
    }
    assert told(summary) == "state done, outcome HOLD, rows 3, refused False, version 7"


@pytest.mark.usefixtures("debug")
def test_at_debug_clients_that_log_their_requests_stay_quiet() -> None:
    """botocore logs each upload whole, with its signature."""
    assert logging.getLogger("botocore.endpoint").isEnabledFor(logging.DEBUG)
    hush()
    assert not logging.getLogger("botocore.endpoint").isEnabledFor(logging.DEBUG)
    assert logging.getLogger("nightshift").isEnabledFor(logging.DEBUG)


@pytest.mark.usefixtures("debug")
def test_a_level_that_somebody_set_stays() -> None:
    logging.getLogger("botocore").setLevel(logging.DEBUG)
    hush()
    assert logging.getLogger("botocore.endpoint").isEnabledFor(logging.DEBUG)
