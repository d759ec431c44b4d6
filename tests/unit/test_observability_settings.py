"""What an environment's `observability` switches on, and what it refuses."""

from __future__ import annotations

import pytest

from pipelines.errors import ConfigError
from pipelines.settings.observability import Observability


def test_by_default_nothing_is_sent_and_nothing_is_asked_for() -> None:
    assert Observability().airflow_variables() == {}
    Observability().require({}, "environment 'local'")


@pytest.mark.parametrize(
    ("switched", "address", "variables"),
    [
        (
            Observability(metrics="statsd"),
            "AIRFLOW__METRICS__STATSD_HOST",
            {"AIRFLOW__METRICS__STATSD_ON": "True", "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True"},
        ),
        (
            Observability(metrics="otel"),
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            {"AIRFLOW__METRICS__OTEL_ON": "True", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
        ),
        (Observability(lineage=True), "OPENLINEAGE_URL", {"AIRFLOW__OPENLINEAGE__NAMESPACE": "nightshift"}),
        (
            Observability(lineage=True),
            "AIRFLOW__OPENLINEAGE__TRANSPORT",
            {"AIRFLOW__OPENLINEAGE__NAMESPACE": "nightshift"},
        ),
    ],
    ids=["statsd", "otel", "lineage", "lineage to a file"],
)
def test_what_is_switched_on_needs_an_address(switched: Observability, address: str, variables: dict[str, str]) -> None:
    """Airflow itself would send to nobody, without a word."""
    with pytest.raises(ConfigError, match=f"E-CONFIG-VARIABLE environment 'night': .*{address}"):
        switched.require({address: ""}, "environment 'night'")
    switched.require({address: "somewhere"}, "environment 'night'")
    assert switched.airflow_variables() == variables


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.settings.observability.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"E-CONFIG-PACKAGE .*'statsd'.*requirements-observability.txt"):
        Observability(metrics="statsd").require({"AIRFLOW__METRICS__STATSD_HOST": "x"}, "environment 'night'")
