"""A real S3 server (SeaweedFS) for tests: its own process on free ports, its data in a temporary folder."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from pipelines.launch.object_store import BUCKET, object_store_command, object_store_environment
from pipelines.launch.ports import free_ports


class ObjectStore:
    """One server with one empty bucket; it can be killed and started again on the same data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_ports(1)[0]
        self.environment = object_store_environment(folder, self.port)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()
        self.client().create_bucket(Bucket=BUCKET)

    @property
    def root(self) -> str:
        return f"s3://{BUCKET}"

    def client(self) -> Any:
        import boto3

        names = {"aws_access_key_id": "AWS_ACCESS_KEY_ID", "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY"}
        keys = {name: self.environment[variable] for name, variable in names.items()}
        return boto3.client("s3", endpoint_url=self.environment["AWS_ENDPOINT_URL"], region_name="us-east-1", **keys)

    def start(self) -> None:
        log = open(self.folder / "server.log", "ab")  # noqa: SIM115 - the child keeps it
        command = object_store_command(self.folder, self.port)
        self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        log.close()
        deadline = time.monotonic() + 60
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.folder / "server.log").read_text()[-2000:])
            time.sleep(0.1)

    def kill(self) -> None:
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _answers(self) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self.client().list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True
