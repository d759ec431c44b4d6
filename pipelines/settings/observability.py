"""What an installation tells the systems that watch it: metrics, lineage and logs; all off by default.

Addresses and secrets come from the process environment, as everywhere (docs/observability.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Literal

from pydantic import Field

from pipelines.errors import ConfigError
from pipelines.settings.base import Settings

# Where each is sent: one of these variables must be set.
_ADDRESSES = {
    "statsd": ("AIRFLOW__METRICS__STATSD_HOST",),
    "otel": ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    "lineage": ("OPENLINEAGE_URL", "AIRFLOW__OPENLINEAGE__TRANSPORT", "AIRFLOW__OPENLINEAGE__CONFIG_PATH"),
}
_PACKAGES = {"statsd": "statsd", "otel": "opentelemetry", "lineage": "openlineage"}
# StatsD has no tags of its own: without this way to write them all pipelines would share one number.
_VARIABLES = {
    "statsd": {"AIRFLOW__METRICS__STATSD_ON": "True", "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True"},
    "otel": {"AIRFLOW__METRICS__OTEL_ON": "True", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
    "lineage": {"AIRFLOW__OPENLINEAGE__NAMESPACE": "nightshift"},
}


class Observability(Settings):
    """What is sent, beside the pages and the ledger."""

    metrics: Literal["statsd", "otel"] | None = Field(None, description="to StatsD or to OpenTelemetry; null: nowhere")
    lineage: bool = Field(False, description="OpenLineage events of every run")
    json_logs: bool = Field(False, description="one JSON object per line also where servers print to a terminal")

    def airflow_variables(self) -> dict[str, str]:
        logs = {"AIRFLOW__LOGGING__JSON_LOGS": "True"} if self.json_logs else {}
        return logs | {name: value for part in self._parts() for name, value in _VARIABLES[part].items()}

    def require(self, given: Mapping[str, str], where: str) -> None:
        """Checks that what is switched on can work.

        Raises:
            ConfigError: E-CONFIG-VARIABLE without an address, E-CONFIG-PACKAGE where the package is not installed.
        """
        for part in self._parts():
            if not any(given.get(name) for name in _ADDRESSES[part]):
                what = f"'{part}' is switched on, so one of these must be set: {', '.join(_ADDRESSES[part])}"
                raise ConfigError("E-CONFIG-VARIABLE", where, what, "See docs/observability.md.")
            if find_spec(_PACKAGES[part]) is None:
                what = f"'{part}' is switched on, so the package '{_PACKAGES[part]}' must be installed"
                fix = "Run pip install -r requirements-observability.txt -c constraints.txt."
                raise ConfigError("E-CONFIG-PACKAGE", where, what, fix)

    def _parts(self) -> list[str]:
        return [part for part in (self.metrics, "lineage" if self.lineage else None) if part]
