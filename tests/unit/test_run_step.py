"""Attempts of a step: what is final, what is retried, and with how much memory."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from pipelines.context import Context
from pipelines.errors import DataError, ExhaustedError, ResourceError
from pipelines.home import REPOSITORY
from pipelines.runs.step import code_version, run_step
from pipelines.settings.pipeline import Resources
from tests.builders import context, pipeline

OUT_OF_MEMORY: dict[str, Callable[[], BaseException]] = {
    "python": MemoryError,
    "arrow": lambda: pa.lib.ArrowMemoryError("malloc of size 9 failed"),
    "duckdb": lambda: duckdb.OutOfMemoryException("could not allocate block"),
    "xgboost": lambda: RuntimeError("std::bad_alloc"),
    "torch": lambda: RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
}


def failing(error: BaseException) -> Callable[[Context], dict[str, Any]]:
    def work(_context: Context) -> dict[str, Any]:
        raise error

    return work


def seen(run: Context, step: str = "score", **options: Any) -> bool:
    """Whether an attempt at `step` works with small batches now."""
    return bool(run_step(run, step, lambda given: {"small": given.is_small}, **options)["small"])


@pytest.mark.parametrize("error", OUT_OF_MEMORY.values(), ids=OUT_OF_MEMORY.keys())
def test_out_of_memory_is_retried_once_with_smaller_batches(tmp_path: Path, error: Callable[[], BaseException]) -> None:
    run = context(tmp_path)
    with pytest.raises(ResourceError, match="E-RUN-MEMORY payments 2026-03-01: 'score' must do with 4 GiB") as first:
        run_step(run, "score", failing(error()))
    assert first.value.retryable
    assert "One retry works with smaller batches" in str(first.value)
    with pytest.raises(ExhaustedError, match=r"raise 'resources.score.memory_gib'") as second:
        run_step(run, "score", failing(error()))
    assert not second.value.retryable
    attempts = run.ledger.attempts("payments")
    assert [(row["state"], row["summary"]["attempt"]["is_small"]) for row in attempts] == [
        ("failed", False),
        ("failed", True),
    ]
    assert all(row["error"].startswith("E-RUN-MEMORY") and row["peak_rss_mib"] > 0 for row in attempts)


def test_only_the_part_that_ran_out_works_smaller(tmp_path: Path) -> None:
    run = context(tmp_path)
    with pytest.raises(ResourceError):
        run_step(run, "score", failing(MemoryError()), part={"shard": 1})
    assert seen(run, part={"shard": 1})
    assert not seen(run, part={"shard": 0})
    assert not seen(run, "audit")
    assert seen(replace(run, run_id="run-2"), part={"shard": 1})  # the same rows need as much in another run


def test_more_memory_starts_again_with_full_batches(tmp_path: Path) -> None:
    run = context(tmp_path)
    with pytest.raises(ResourceError):
        run_step(run, "score", failing(MemoryError()))
    richer = {"score": Resources(memory_gib=8)}
    assert not seen(replace(run, pipeline=run.pipeline.model_copy(update={"resources": richer})))


def test_an_attempt_that_died_without_a_word_may_have_been_short_of_memory(tmp_path: Path) -> None:
    run = context(tmp_path)
    plan = {"attempt": {"part": {}, "memory_gib": 4.0, "is_small": False}}
    run.ledger.start_attempt("payments", run.key, "score", "run-1", code_version(), plan)
    assert seen(run)
    assert not seen(replace(run, run_id="run-2"))  # that one may be alive


def test_a_small_attempt_that_was_killed_for_memory_is_not_tried_again(tmp_path: Path) -> None:
    run = context(tmp_path)
    plan = {"attempt": {"part": {}, "memory_gib": 4.0, "is_small": True}}
    attempt = run.ledger.start_attempt("payments", run.key, "score", "run-1", code_version(), plan)
    run.ledger.fail_running(attempt, "E-RUN-MEMORY payments 2026-03-01: ...", 4100)
    with pytest.raises(ExhaustedError, match="ran out of its 4 GiB with smaller batches, too") as told:
        seen(run)
    assert told.value.repeat == "score"
    assert seen(replace(run, run_id="run-2"))  # a person started it again


def test_an_attempt_that_ended_is_not_overruled_by_the_watchdog(tmp_path: Path) -> None:
    run = context(tmp_path)
    seen(run)
    (row,) = run.ledger.attempts("payments")
    run.ledger.fail_running(row["id"], "E-RUN-TIMEOUT payments 2026-03-01: ...", 100)
    assert [(row["state"], row["error"]) for row in run.ledger.attempts("payments")] == [("done", None)]


def test_the_time_limit_of_the_step_ends_it(tmp_path: Path) -> None:
    run = context(tmp_path, resources={"ingest": {"time_limit_minutes": 0.004}})
    with pytest.raises(ResourceError, match=r"E-RUN-TIMEOUT payments 2026-03-01: 'ingest' must end within 0\.004 min"):
        run_step(run, "ingest", lambda _: {"slept": signal.sigtimedwait([], 20)})
    (row,) = run.ledger.attempts("payments")
    assert row["state"] == "failed"
    assert row["error"].startswith("E-RUN-TIMEOUT")


def test_a_refusal_stays_a_refusal(tmp_path: Path) -> None:
    run = context(tmp_path)
    with pytest.raises(DataError):
        run_step(run, "ingest", failing(DataError("E-IN-EMPTY", "here", "there are no rows")))
    (row,) = run.ledger.attempts("payments")
    assert (row["state"], row["error"]) == ("refused", "E-IN-EMPTY here: there are no rows.")


def test_a_small_engine_and_small_batches_give_the_same_rows(tmp_path: Path) -> None:
    run = context(tmp_path, score={"batch_rows": 100})
    small = replace(run, is_small=True)
    assert (run.batch_rows, small.batch_rows) == (100, 12)
    rows = pa.table({"key": [index * 7919 % 5000 for index in range(5000)]})
    results = []
    for one in (run, small):
        with one.engine("deduplicate") as engine:
            results.append(engine.table(engine.memory(rows), order_by=["key"]))
    assert results[0].equals(results[1])


def test_resources_merge_key_by_key_and_the_file_wins() -> None:
    defaults = {"train": Resources(queue="gpu", cpus=8), "default": Resources(retries=5)}
    settings = pipeline(resources={"default": {"cpus": 4}, "train": {"memory_gib": 16}}).with_defaults(defaults)
    train, ingest = settings.resources_of("train"), settings.resources_of("ingest")
    # The file's 'default' wins over the environment's 'train'.
    assert (train.queue, train.cpus, train.memory_gib, train.retries) == ("gpu", 4, 16, 5)
    assert (ingest.queue, ingest.cpus, ingest.memory_gib, ingest.retries) == ("default", 4, 4.0, 5)


def test_resources_do_not_change_what_a_pipeline_is() -> None:
    assert pipeline(resources={"train": {"queue": "gpu"}}).digest() == pipeline().digest()
    assert pipeline(partition="week").digest() != pipeline().digest()


# Takes `full` MiB, or `small` MiB when asked to make do with less.
GREEDY = """
import sys, time
from pathlib import Path
from pipelines.runs.step import run_step
from tests.builders import context
def work(given):
    held = b"1" * (int(sys.argv[3] if given.is_small else sys.argv[2]) * 2**20)
    time.sleep(2.5 if len(held) > 2**30 else 0)
    return {"mib": len(held) // 2**20}
print(run_step(context(Path(sys.argv[1]), resources={"score": {"memory_gib": 1}}), "score", work))
"""


def greedy(root: Path, full: int, small: int) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", GREEDY, str(root), str(full), str(small)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_a_step_killed_for_memory_gets_through_with_smaller_batches(tmp_path: Path) -> None:
    code, said = greedy(tmp_path, 1200, 100)
    assert (code, "E-RUN-MEMORY payments 2026-03-01: 'score' must do with 1 GiB, but took" in said) == (-9, True)
    assert greedy(tmp_path, 1200, 100) == (0, "{'mib': 100}\n")


@pytest.mark.slow
def test_a_step_killed_for_memory_twice_is_final(tmp_path: Path) -> None:
    assert [greedy(tmp_path, 1200, 1100)[0] for _ in range(2)] == [-9, -9]
    code, said = greedy(tmp_path, 1200, 1100)
    assert (code, "ExhaustedError: E-RUN-MEMORY" in said) == (1, True)
    assert len(context(tmp_path).ledger.attempts("payments")) == 2
