"""The one-shot job before all else: makes the bucket, brings Airflow's database to this version, imports the pools."""

from __future__ import annotations

import os
import sys
from urllib.parse import urlsplit

from pipelines.errors import NightshiftError
from pipelines.home import Home
from pipelines.launch.services import prepare


def main() -> int:
    _make_bucket(urlsplit(os.environ["NIGHTSHIFT_STORAGE"]).netloc)
    prepare(Home.resolve(), dict(os.environ), lambda: False)
    return 0


def _make_bucket(name: str) -> None:
    """A bucket that exists is left as it is; on Amazon's S3 it comes from whoever runs the account."""
    import boto3
    from botocore.exceptions import ClientError

    client = boto3.client("s3")
    try:
        client.head_bucket(Bucket=name)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
            raise
        client.create_bucket(Bucket=name)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NightshiftError as error:
        sys.exit(str(error))
