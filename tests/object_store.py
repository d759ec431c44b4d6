"""A real S3 server (SeaweedFS) for tests: its own process on free ports, its data in a temporary folder."""

from __future__ import annotations

import os
import signal
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.servers.children import end_with_parent
from pipelines.servers.object_store import (
    BUCKET,
    object_store_client,
    object_store_command,
    object_store_environment,
    wait_for_object_store,
)
from pipelines.servers.ports import free_ports


class ObjectStore:
    """One server with one bucket; it can be killed and started again on the same data."""

    root = f"s3://{BUCKET}"

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_ports(1)[0]
        self.environment = object_store_environment(folder, self.port)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def client(self) -> Any:
        return object_store_client(self.folder, self.port)

    def start(self) -> None:
        with open(self.folder / "server.log", "ab") as log:
            command = object_store_command(self.folder, self.port)
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=partial(end_with_parent, signal.SIGKILL),
            )
        wait_for_object_store(self.folder, self.port)

    def kill(self) -> None:
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
