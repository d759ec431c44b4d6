"""Registration with a real MLflow server over HTTP: it keeps its own copy, scoring needs only the storage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.errors import StorageError
from pipelines.models import load_model
from pipelines.servers.ports import free_ports
from pipelines.training import mlflow_client, snapshot, train
from tests.model import feeds
from tests.model.test_retrain import ready

pytestmark = pytest.mark.slow


class Server:
    """`mlflow server` that stores artifacts itself, in a folder that no client knows."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_ports(1)[0]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db", "--workers", "1"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        log = (self.folder / "server.log").open("ab")
        self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, cwd=self.folder)
        log.close()
        deadline = time.monotonic() + 90
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.folder / "server.log").read_text()[-2000:])
            time.sleep(0.2)

    def kill(self) -> None:
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _answers(self) -> bool:
        try:
            return bool(urllib.request.urlopen(f"{self.url}/health", timeout=2).status == 200)
        except (urllib.error.URLError, OSError):
            return False


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    (tmp_path / "server").mkdir()
    made = Server(tmp_path / "server")
    made.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", made.url)
    monkeypatch.setattr(mlflow_client, "MLFLOW", replace(mlflow_client.MLFLOW, attempts=3))
    yield made
    made.kill()


def test_a_server_that_dies_costs_a_retry_and_no_training(
    server: Server, s3_root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS D13. The second attempt finds the fitted model in the storage; scoring never asks MLflow."""
    monkeypatch.setenv("NIGHTSHIFT_STORAGE", s3_root)
    run = ready(lambda partition, **changes: feeds.context(tmp_path / "home", partition, **changes))
    snapshot_id = snapshot(run)["snapshot_id"]
    server.kill()
    started = time.monotonic()
    with pytest.raises(StorageError, match="E-REG-DOWN") as caught:
        train(run, snapshot_id)
    assert caught.value.retryable
    assert time.monotonic() - started < 60
    (kept,) = run.home.files("models", run.name).folders(1)
    server.start()
    monkeypatch.setattr("pipelines.training.fit_step.fit", None)  # it must not fit again
    version = train(run, snapshot_id)["version"]
    row = run.ledger.model(run.name, version)
    assert (row["artifact_sha256"], row["artifact_uri"]) == (kept, f"models/{run.name}/{kept}")
    copies = {path.name for path in (server.folder / "artifacts").rglob("model/artifacts/model/*")}
    assert copies == {entry.name for entry in run.home.files(row["artifact_uri"]).entries()}
    server.kill()
    assert load_model(run, version).version == version
    assert not (run.home.root / "mlflow").exists()
