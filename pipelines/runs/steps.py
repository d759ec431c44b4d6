"""The steps by name, so that a task needs only text to run one, and imports only what it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipelines.errors import ConfigError, NightshiftError, did_you_mean, quote
from pipelines.home import Home

if TYPE_CHECKING:
    from pipelines.context import Context
    from pipelines.runs.step import Summary

log = logging.getLogger("nightshift")

# step -> "module:function"; modules are imported when the step runs, never when a DAG is parsed.
STEPS: dict[str, str] = {
    "ingest": "pipelines.ingest:ingest",
    "validate": "pipelines.validate:validate",
    "deduplicate": "pipelines.deduplicate:deduplicate",
    "build_features": "pipelines.features:build_features",
    "score": "pipelines.score:score",
    "audit": "pipelines.audit:audit",
    "release": "pipelines.release:release",
    "monitor": "pipelines.monitoring:monitor",
    "shadow": "pipelines.training:shadow",
    "snapshot": "pipelines.training:snapshot",
    "tune": "pipelines.training:tune",
    "train": "pipelines.training:train",
    "evaluate": "pipelines.training:evaluate",
    "gate": "pipelines.training:gate",
    "promote": "pipelines.training:promote",
    "rollback": "pipelines.training:rollback",
    "replay": "pipelines.training:replay",
    "retract": "pipelines.retract:retract",
}


# What tells apart the tasks that run one step for one partition.
_PARTS = ("shard", "worker")
# Steps after which the morning report has something new to say.
_TOLD = ("monitor", "shadow", "gate", "promote", "rollback", "retract")


def step_function(step: str) -> Callable[..., Summary]:
    """The function of a step.

    Raises:
        ConfigError: E-RUN-STEP for a name that is no step.
    """
    place = STEPS.get(step)
    if place is None:
        raise ConfigError("E-RUN-STEP", "run", f"there is no step {quote(step)}", did_you_mean(step, STEPS))
    module, _, function = place.partition(":")
    work: Callable[..., Summary] = getattr(import_module(module), function)
    return work


def call_step(
    pipeline: str,
    partition: str,
    run_id: str,
    step: str,
    arguments: Mapping[str, Any] | None = None,
    notes: Mapping[str, Any] | None = None,
    home: Home | None = None,
) -> Summary:
    """Runs `step` for one partition; `notes` (for example what triggered the run) join its recorded summary.

    Raises:
        NightshiftError: what the step refused or could not do; its attempt in the ledger says so, too.
    """
    # Here and not above: DAG files import this module, and the context brings pyarrow, deltalake and ibis with it.
    from pipelines.runs.step import open_context, run_step

    context = open_context(pipeline, partition, run_id, home)
    part = {name: value for name, value in (arguments or {}).items() if name in _PARTS}

    def work(given: Context) -> Summary:
        return {**step_function(step)(given, **(arguments or {})), **(notes or {})}

    try:
        summary = run_step(context, step, work, part=part or None, version=(arguments or {}).get("version"))
    except NightshiftError:
        _refresh_report(context)
        raise
    if step in _TOLD:
        _refresh_report(context)
    return summary


def _refresh_report(context: Context) -> None:
    """The morning report after a decision or a refusal.

    The step is done and recorded by now: whatever is wrong with the report, template errors included, is logged and
    must not fail the night.
    """
    from pipelines.report.morning import write_morning

    try:
        write_morning(context.home)
    except Exception:
        log.exception("the morning report could not be written")


def latest_clean(pipeline: str, home: Home | None = None) -> str:
    """Key of the newest partition that was accepted: the day a retrain without a date stands on.

    Raises:
        ConfigError: E-RUN-PARTITION when no partition was accepted yet.
    """
    from pipelines.ledger import Ledger

    home = home or Home.resolve()
    accepted = [row["partition"] for row in Ledger(home.ledger_url).accounting(pipeline) if row["state"] == "clean"]
    if not accepted:
        raise ConfigError(
            "E-RUN-PARTITION",
            pipeline,
            "no partition was accepted yet",
            f"Run '{pipeline}__daily' for a partition first.",
        )
    return str(max(accepted))
