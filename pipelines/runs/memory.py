"""A step that ran out of memory runs once more with smaller batches; then it is final.

What counts as out of memory: the watchdog's E-RUN-MEMORY, a failed allocation, and an attempt of the same task that
died without a word. The kernel's own killer leaves nothing behind, and neither does a lost machine: the next attempt
works with smaller batches in both cases, which costs a little time and changes no result.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import duckdb

from pipelines.context import Context
from pipelines.errors import ExhaustedError, ResourceError
from pipelines.ledger import Row
from pipelines.runs.watchdog import Watch, too_much


@dataclass(frozen=True)
class Plan:
    """How an attempt works: for which part of the partition, with how much memory, and whether with small batches."""

    part: dict[str, Any]
    memory_gib: float
    is_small: bool

    def to_summary(self) -> dict[str, Any]:
        return {"attempt": asdict(self)}


def plan_attempt(context: Context, step: str, part: dict[str, Any], code: str) -> Plan:
    """Small after an attempt at this part that had as much memory and ran out of it.

    Raises:
        ExhaustedError: E-RUN-MEMORY when a small attempt of this run, with this memory and code, was killed for it.
    """
    memory = context.pipeline.resources_of(step).memory_gib
    tried = [
        (row, row["summary"]["attempt"])
        for row in context.ledger.attempts(context.name, context.key)
        if row["step"] == step and "attempt" in (row["summary"] or {})
    ]
    short = [
        (row, how)
        for row, how in tried
        if how["part"] == part and how["memory_gib"] >= memory and _is_short_of_memory(row, context.run_id)
    ]
    for row, how in short:
        if (
            how["is_small"]
            and row["state"] == "failed"
            and (row["run_id"], row["code_version"]) == (context.run_id, code)
        ):
            raise ExhaustedError(
                "E-RUN-MEMORY",
                context.where,
                f"'{step}' ran out of its {memory:g} GiB with smaller batches, too",
                f"Raise 'resources.{step}.memory_gib'.",
                repeat=step,
            )
    return Plan(part, memory, bool(short))


def _is_short_of_memory(row: Row, run_id: str) -> bool:
    if row["state"] == "running":  # of another run it may well be alive
        return bool(row["run_id"] == run_id)
    return row["state"] == "failed" and str(row["error"]).startswith("E-RUN-MEMORY")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed: in Python, NumPy or Arrow (all MemoryError), DuckDB, XGBoost, or PyTorch on CPU."""
    if isinstance(error, MemoryError | duckdb.OutOfMemoryException):
        return True
    return any(words in str(error) for words in ("std::bad_alloc", "DefaultCPUAllocator"))


def out_of_memory(watch: Watch, error: BaseException, peak_mib: int) -> ResourceError:
    """The allocation that failed as E-RUN-MEMORY: final when the batches were small already."""
    what = f"an allocation failed at a peak of {peak_mib:,} MiB ({type(error).__name__}: {str(error)[:200]})"
    kind = ExhaustedError if watch.is_small else ResourceError
    return kind("E-RUN-MEMORY", watch.where, *too_much(watch, what))
