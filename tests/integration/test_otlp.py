"""Metrics by OpenTelemetry from a process that ends as a task's does: without asking its exporter once more."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pipelines.home import REPOSITORY, Home
from pipelines.runs.airflow_home import airflow_environment
from tests.conftest import ALPHA, without_airflow, write_config

pytestmark = pytest.mark.slow

# What Airflow's task_runner does around a task, then the step's measures, then the end of a forked child.
TASK = """
import os, sys
sys.path.insert(0, sys.argv[1])
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics.stats_utils import get_stats_factory
from nightshift_observability import measured
stats.initialize(factory=get_stats_factory(), export_legacy_names=False)
with measured("alpha", "2026-03-02", "run", "score") as outcome:
    outcome |= {"state": "done", "rows": 70, "refused": 2}
os._exit(0)
"""
LOCAL = REPOSITORY / "config" / "environments" / "local.yaml"


class Receiver(BaseHTTPRequestHandler):
    """An OTLP/HTTP endpoint; it keeps every number that it is sent, by name and tags."""

    found: dict[str, tuple[float, dict[str, str]]] = {}

    def do_POST(self) -> None:
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

        request = ExportMetricsServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    points = [*metric.sum.data_points, *metric.gauge.data_points]
                    for point in points:
                        tags = {one.key: one.value.string_value for one in point.attributes}
                        self.found[metric.name] = (point.as_int or point.as_double, tags)
                    for histogram in metric.exponential_histogram.data_points:
                        self.found[metric.name] = (histogram.sum, {})
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_measures_arrive_before_the_process_is_gone(
    tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(tmp_path, alpha=ALPHA)
    (config / "environments").mkdir()
    (config / "environments" / "local.yaml").write_text(LOCAL.read_text() + "observability: {metrics: otel}\n")
    for name in set(os.environ) - set(without_airflow()):
        monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    environment = airflow_environment(Home(tmp_path / "home", config))
    command = [sys.executable, "-c", TASK, str(REPOSITORY / "plugins")]
    subprocess.run(command, env=environment, check=True, timeout=120)
    tags = {"pipeline": "alpha", "step": "score"}
    assert Receiver.found["airflow.nightshift.rows.scored"] == (70, tags)
    assert Receiver.found["airflow.nightshift.rows.unscored"] == (2, tags)
    assert Receiver.found["airflow.nightshift.step.ended"] == (1, tags | {"state": "done"})
    assert Receiver.found["airflow.nightshift.step.peak_memory"][0] > 20
    assert "airflow.nightshift.step.duration" in Receiver.found
