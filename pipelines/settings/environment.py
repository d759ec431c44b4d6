"""Where pipelines run: `config/environments/<name>.yaml`, chosen by NIGHTSHIFT_ENVIRONMENT (`local` when unset).

An environment holds what differs between a laptop and a cluster: the settings of Airflow and the resources that steps
get when a pipeline file asks for nothing else. Addresses and secrets come from the process environment, never from
here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, PositiveInt

from pipelines.errors import ConfigError, did_you_mean, names, quote
from pipelines.home import REPOSITORY
from pipelines.settings.base import Settings
from pipelines.settings.observability import Observability
from pipelines.settings.pipeline import STEPS, Pipeline, Resources

VARIABLE = "NIGHTSHIFT_ENVIRONMENT"


class Environment(Settings):
    """One environment."""

    description: str = ""
    requires: tuple[str, ...] = Field((), description="variables that must be set: addresses and secrets")
    airflow: dict[str, dict[str, str | int | float | bool]] = Field(
        {}, description="settings of airflow.cfg by section; a variable AIRFLOW__SECTION__KEY wins"
    )
    resources: dict[str, Resources] = Field(
        {}, description="per step, as in a pipeline file, whose own 'resources' win; 'default' for the rest"
    )

    pools: dict[str, PositiveInt] = Field(
        {}, description="slots of Airflow's pools; 'backfill', where it is named, bounds what backfills take of a night"
    )

    observability: Observability = Field(Observability(), description="metrics, lineage and logs for other systems")

    def airflow_variables(self) -> dict[str, str]:
        """The settings of Airflow as it reads them from the environment."""
        backfill = {"NIGHTSHIFT_BACKFILL_POOL": "backfill"} if "backfill" in self.pools else {}
        return (
            backfill
            | self.observability.airflow_variables()
            | {
                f"AIRFLOW__{section.upper()}__{key.upper()}": str(value)
                for section, settings in self.airflow.items()
                for key, value in settings.items()
            }
        )


def environment_name() -> str:
    return os.environ.get(VARIABLE) or "local"


def environment_file(name: str, config: Path) -> Path:
    """The file of an environment, from this configuration folder, else from the repository's own.

    Raises:
        ConfigError: E-CONFIG-ENVIRONMENT when neither has it.
    """
    folders = (config / "environments", REPOSITORY / "config" / "environments")
    for folder in folders:
        if (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    known = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
    hint = did_you_mean(name, known) or f"Known: {names(known)}."
    raise ConfigError("E-CONFIG-ENVIRONMENT", str(folders[0]), f"there is no environment {quote(name)}", hint)


def require_variables(environment: Environment, given: Mapping[str, str], name: str) -> None:
    """Raises ConfigError, E-CONFIG-VARIABLE, when a variable that the environment needs is unset or empty.

    E-CONFIG-PACKAGE when what `observability` switches on is not installed.
    """
    missing = [variable for variable in environment.requires if not given.get(variable)]
    if missing:
        raise ConfigError(
            "E-CONFIG-VARIABLE",
            f"environment '{name}'",
            f"these variables must be set: {names(missing)}",
            "They hold the addresses of its servers; see docker/.env.example.",
        )
    environment.observability.require(given, f"environment '{name}'")


def require_time(environment: Environment, pipeline: Pipeline) -> None:
    """Raises ConfigError, E-CONFIG-LIMIT, when a step may run until the broker hands it out a second time.

    Celery gives a task to another worker when the first has not ended it within `visibility_timeout`. The second start
    is refused, but it takes a worker's time; twice the limit leaves room for the wait in the queue.
    """
    broker = environment.airflow.get("celery_broker_transport_options", {}).get("visibility_timeout")
    for step in STEPS if broker else ():
        minutes = pipeline.resources_of(step).time_limit_minutes
        if minutes and 2 * 60 * minutes > float(broker or 0):
            raise ConfigError(
                "E-CONFIG-LIMIT",
                f"{pipeline.name} {step}",
                f"twice 'time_limit_minutes' must fit the broker's visibility_timeout ({broker} s), got {minutes:g}",
                "Lower the limit, or raise visibility_timeout in the environment's celery_broker_transport_options.",
            )
