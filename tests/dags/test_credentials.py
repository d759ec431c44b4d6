"""Credentials of the object store from an Airflow connection."""

from __future__ import annotations

import json
import os

import pytest

from pipelines.errors import ConfigError

pytestmark = pytest.mark.usefixtures("airflow_home")  # Airflow is set up before its first import

CONNECTION = {
    "conn_type": "aws",
    "login": "key-of-lake",
    "password": "canary-secret",
    "extra": {"region_name": "eu-central-1", "endpoint_url": "http://store:8333"},
}
NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN")


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES, "AWS_DEFAULT_REGION", "NIGHTSHIFT_S3_CONNECTION"):
        monkeypatch.setenv(name, "")  # so that monkeypatch puts back what the function sets
        monkeypatch.delenv(name)


def test_without_a_connection_the_standard_chain_holds() -> None:
    from nightshift_credentials import use_s3_connection

    use_s3_connection()
    assert not [name for name in NAMES if name in os.environ]


def test_a_connection_gives_this_process_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    from nightshift_credentials import use_s3_connection

    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps(CONNECTION))
    monkeypatch.setenv("NIGHTSHIFT_S3_CONNECTION", "lake")
    use_s3_connection()
    found = {name: os.environ[name] for name in NAMES if name in os.environ}
    assert found == {
        "AWS_ACCESS_KEY_ID": "key-of-lake",
        "AWS_SECRET_ACCESS_KEY": "canary-secret",
        "AWS_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL": "http://store:8333",
    }


def test_a_connection_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from nightshift_credentials import use_s3_connection

    monkeypatch.setenv("NIGHTSHIFT_S3_CONNECTION", "lkae")
    with pytest.raises(ConfigError, match="E-CONFIG-CONNECTION storage: the Airflow connection 'lkae'"):
        use_s3_connection()
