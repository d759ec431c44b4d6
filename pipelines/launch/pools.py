"""Airflow's pools of an installation: those of its environment, and those that pipelines name."""

from __future__ import annotations

from contextlib import suppress

from pipelines.errors import ConfigError
from pipelines.home import Home
from pipelines.settings import load_environment, load_pipeline, pipeline_names


def wanted_pools(home: Home) -> dict[str, dict[str, object]]:
    """Slots per pool, in the form that `airflow pools import` reads; a pool that only a pipeline names has as many
    slots as its largest task takes.

    A task whose pool is missing would wait silently for ever. Broken pipelines are left out: they have no DAG either.
    """
    slots = dict(load_environment(home.config).pools)
    named: dict[str, int] = {}
    for name in pipeline_names(home.config):
        with suppress(ConfigError, ValueError):
            for resources in load_pipeline(name, home.config).resources.values():
                named[resources.pool] = max(named.get(resources.pool, 1), resources.pool_slots)
    named.pop("default_pool", None)
    return {
        pool: {"slots": count, "description": "", "include_deferred": False} for pool, count in (named | slots).items()
    }
