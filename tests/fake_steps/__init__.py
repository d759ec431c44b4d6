"""Stand-ins for the steps, so that the DAGs are tested without data: they write one line each and obey wishes.

A child process uses them when `site/` is on its PYTHONPATH. `FAKE_STEPS` names a folder: each call appends a JSON line
to `calls.jsonl` there, and a file `<step>.<partition>` or `<step>` in it holds the wish: `fail`, `retryable`, `skip`,
`hold` (until the file is gone), `stuck` (in native code, the first time), `memory` or a JSON summary.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from pipelines.context import Context
from pipelines.errors import DataError, StorageError

NAMES = [
    "ingest", "validate", "deduplicate", "build_features", "score", "audit", "release", "monitor", "snapshot", "tune",
    "train", "evaluate", "gate", "promote", "rollback", "replay", "shadow", "retract",
]  # fmt: skip
SUMMARIES: dict[str, dict[str, Any]] = {
    "monitor": {"decision": "OK", "reasons": []},
    "snapshot": {"snapshot_id": "snap-1"},
    "train": {"version": 7},
    "gate": {"outcome": "PROMOTE"},
    "replay": {"version": 3, "verdict": "equal", "differences": []},
}


def folder() -> Path:
    return Path(os.environ["FAKE_STEPS"])


def calls() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder() / "calls.jsonl").read_text().splitlines()]


def _wish(step: str, partition: str) -> str:
    for name in (f"{step}.{partition}", step):
        if (folder() / name).exists():
            return (folder() / name).read_text().strip()
    return ""


def _act(step: str, context: Context, arguments: dict[str, Any]) -> dict[str, Any]:
    line = {"step": step, "partition": context.key, "run_id": context.run_id, "arguments": arguments}
    with open(folder() / "calls.jsonl", "a") as file:
        file.write(json.dumps(line) + "\n")
    wish = _wish(step, context.key)
    if wish == "fail":
        _account(context, "refused")
        raise DataError("E-FAKE-DATA", context.where, "the fake data are bad", "Send other data.")
    is_first = sum(call["step"] == step and call["partition"] == context.key for call in calls()) == 1
    if wish == "retryable" and is_first:
        raise StorageError("E-FAKE-STORE", context.where, "the fake store is away")
    if wish == "stuck" and is_first:
        _hang_in_native_code()
    if wish == "memory":
        raise MemoryError("there is no more")
    while wish == "hold":
        time.sleep(0.2)
        wish = _wish(step, context.key)
    if wish == "skip":
        if step == "ingest":
            _account(context, "absent")
        return {"state": "skipped", "reason": f"nothing for {step}"}
    if step == "deduplicate":
        _account(context, "clean")
    return json.loads(wish) if wish.startswith("{") else dict(SUMMARIES.get(step, {"rows": 3}))


def _hang_in_native_code() -> None:
    """One call that no signal ends and that does not come back to Python."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM, signal.SIGTERM])
    ctypes.CDLL(None).sleep(3600)


def _account(context: Context, state: str) -> None:
    counts = {"read": 3, "clean": 3, "quarantined": 0, "duplicate": 0} if state == "clean" else {}
    zeros = {"read": 0, "clean": 0, "quarantined": 0, "duplicate": 0}
    context.ledger.set_accounting(
        context.name, context.key, state=state, reason=None, run_id=context.run_id, **(zeros | counts)
    )


def unsettled_history(context: Context) -> list[str]:
    """The two partitions before this one, from the pipeline's start, without an accounting row."""
    known = {row["partition"] for row in context.ledger.accounting(context.name)}
    first = context.pipeline.first_partition().start
    earlier = [context.partition.shift(-1), context.partition.shift(-2)]
    return sorted(one.key for one in earlier if one.start >= first and one.key not in known)


def require_history(context: Context) -> None:
    missing = unsettled_history(context)
    if missing:
        raise DataError("E-HISTORY-MISSING", context.where, f"earlier partitions are not done: {missing}")


def __getattr__(name: str) -> Any:
    if name not in NAMES:
        raise AttributeError(name)
    return lambda context, *args, **kwargs: _act(name, context, {**kwargs, **({"position": args} if args else {})})
