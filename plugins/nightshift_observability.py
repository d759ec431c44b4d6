"""Tells a metrics system what a step came to, through Airflow's own Stats: StatsD or OpenTelemetry, off by default."""

from __future__ import annotations

import logging
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from airflow.sdk.configuration import conf

from pipelines.errors import DataError, ModelError

log = logging.getLogger("nightshift")

_SWITCHES = ("statsd_on", "statsd_datadog_enabled", "otel_on")


def is_measured() -> bool:
    """Whether this installation has metrics switched on ([metrics] in Airflow's configuration)."""
    return any(conf.getboolean("metrics", switch, fallback=False) for switch in _SWITCHES)


@contextmanager
def measured(pipeline: str, partition: str, run_id: str, step: str) -> Iterator[dict[str, Any]]:
    """Sends the measures of the step that the block runs; the block fills the given dictionary with its summary.

    Nothing is worked out while metrics are off. Whatever is wrong with metrics is logged and must not fail the night.
    """
    summary: dict[str, Any] = {}
    if not is_measured():
        yield summary
        return
    started, state = datetime.now(UTC), "failed"
    try:
        yield summary
        state = str(summary.get("state", "done"))
    except (DataError, ModelError):
        state = "refused"
        raise
    finally:
        try:
            _send(pipeline, partition, run_id, step, state, started, summary)
        except Exception:
            log.exception("the metrics of this step could not be sent")


def _send(
    name: str, partition: str, run_id: str, step: str, state: str, started: datetime, summary: dict[str, Any]
) -> None:
    from airflow.sdk.observability import stats

    from pipelines.home import Home
    from pipelines.ledger import Ledger
    from pipelines.runs.measures import Ended, measures
    from pipelines.settings import load_pipeline

    home = Home.resolve()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    pipeline = load_pipeline(name, home.config)
    ended = Ended(pipeline, partition, run_id, step, state, started, datetime.now(UTC), peak, summary)
    for one in measures(ended, Ledger(home.ledger_url)):
        tags = dict(one.tags)
        if one.kind == "counter":
            stats.incr(one.name, int(one.value), tags=tags)
        elif one.kind == "gauge":
            stats.gauge(one.name, one.value, tags=tags)
        else:
            stats.timing(one.name, one.value, tags=tags)
    _flush()


def _flush() -> None:
    """OpenTelemetry's reader sends every minute, and a task's process ends without asking it once more."""
    if conf.getboolean("metrics", "otel_on", fallback=False):
        from opentelemetry import metrics

        flush = getattr(metrics.get_meter_provider(), "force_flush", None)
        if flush:
            flush(timeout_millis=5000)
