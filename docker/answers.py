"""Health checks of the containers: exit 0 when the service answers. An address, or `celery` for this host's worker."""

from __future__ import annotations

import os
import sys
import urllib.request


def main(what: str) -> int:
    return _worker_answers() if what == "celery" else _server_answers(what)


def _server_answers(address: str) -> int:
    with urllib.request.urlopen(address, timeout=4) as answer:
        return 0 if answer.status == 200 else 1


def _worker_answers() -> int:
    """Asks over the broker, as tasks come: a worker that lives and has lost its broker is no worker."""
    from airflow.providers.celery.executors.celery_executor import app

    name = f"{os.environ.get('NIGHTSHIFT_WORKER', 'celery')}@{os.uname().nodename}"
    return 0 if app.control.inspect(destination=[name], timeout=10).ping() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
