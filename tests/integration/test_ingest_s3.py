"""Files in an S3 store (moto): read, absent, denied and unreachable."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import ConfigError, DataError, StorageError
from pipelines.ingest import ingest
from tests.builders import PAYMENTS, context

CONTENT = b"payment_id,card_id,paid_at,amount_eur,country,is_fraud\n0017,c,2026-03-01 10:00:00,12.5,NA,0\n"
SOURCE = {"format": "csv", "path": "s3://inbox/{partition}.csv.gz", "columns": PAYMENTS["source"]["columns"]}

pytestmark = pytest.mark.slow


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    pytest.importorskip("moto.server", reason="moto's server is not installed")
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "canary-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="inbox")
    yield client
    client.delete_object(Bucket="inbox", Key="2026-03-01.csv.gz")
    client.delete_object(Bucket="inbox", Key="2026-03-01.csv.gz.rows")
    server.stop()


def test_an_object_is_read_like_a_file(store: Any, tmp_path: Path) -> None:
    store.put_object(Bucket="inbox", Key="2026-03-01.csv.gz", Body=gzip.compress(CONTENT))
    run = context(tmp_path, source=SOURCE)
    summary = ingest(run)
    assert (summary["read"], summary["source"]) == (1, "s3://inbox/2026-03-01.csv.gz")
    assert ingest(run)["state"] == "unchanged"


def test_a_sidecar_beside_the_object_is_believed(store: Any, tmp_path: Path) -> None:
    store.put_object(Bucket="inbox", Key="2026-03-01.csv.gz", Body=CONTENT)
    store.put_object(Bucket="inbox", Key="2026-03-01.csv.gz.rows", Body=b"2")
    with pytest.raises(DataError, match="E-IN-SIDECAR"):
        ingest(context(tmp_path, source=SOURCE))


@pytest.mark.usefixtures("store")
def test_an_absent_object_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="E-IN-MISSING"):
        ingest(context(tmp_path, source=SOURCE))
    with pytest.raises(ConfigError, match="E-S3-BUCKET"):
        ingest(context(tmp_path, source=SOURCE | {"path": "s3://nowhere/x.csv"}))


@pytest.mark.usefixtures("store")
def test_an_unreachable_store_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match="E-S3-UNAVAILABLE") as raised:
        ingest(context(tmp_path, source=SOURCE))
    assert raised.value.retryable
    assert "canary-secret" not in str(raised.value)
