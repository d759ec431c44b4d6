"""Credentials of the object store from an Airflow connection, for installations that keep them there."""

from __future__ import annotations

import os

from pipelines.errors import ConfigError

VARIABLE = "NIGHTSHIFT_S3_CONNECTION"


def use_s3_connection() -> None:
    """Gives this task's process the credentials of the connection (type `aws`) that NIGHTSHIFT_S3_CONNECTION names.

    Without the variable boto3's standard chain holds: environment, profile, role of the machine or pod. The values
    go into this process's environment only, which boto3 and deltalake both read; Airflow masks them in logs.

    Raises:
        ConfigError: E-CONFIG-CONNECTION when there is no such connection.
    """
    name = os.environ.get(VARIABLE)
    if not name:
        return
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError

    try:
        found = Connection.get(name)
    except (AirflowNotFoundException, AirflowRuntimeError) as error:
        what = f"the Airflow connection '{name}' ({VARIABLE}) must exist"
        raise ConfigError("E-CONFIG-CONNECTION", "storage", what, "Create it under Admin > Connections.") from error
    more = found.extra_dejson
    values = {
        "AWS_ACCESS_KEY_ID": found.login,
        "AWS_SECRET_ACCESS_KEY": found.password,
        "AWS_SESSION_TOKEN": more.get("aws_session_token"),
        "AWS_REGION": more.get("region_name"),
        "AWS_DEFAULT_REGION": more.get("region_name"),
        "AWS_ENDPOINT_URL": more.get("endpoint_url"),
    }
    os.environ.update({variable: value for variable, value in values.items() if value})
