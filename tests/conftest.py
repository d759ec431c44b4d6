"""An Airflow of its own for tests that ask for it (`airflow_home`); all other tests never import Airflow."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.home import REPOSITORY, Home
from tests.object_store import ObjectStore
from tests.postgres import PostgresServer

ALPHA = """
name: alpha
owner: tests
start: 2026-03-01
end: 2026-03-12
source:
  format: csv
  path: inbox/{partition}.csv
  columns:
    payment_id: {type: id}
    paid_at: {type: timestamp}
    amount: {type: number}
    is_fraud: {type: integer}
key: [payment_id]
event_time: paid_at
features: {columns: [amount]}
label: {column: is_fraud}
training: {task: binary}
score: {shards: 2}
retrain: {schedule: "0 3 * * *", approve: always}
resources:
  train: {queue: gpu, pool: gpu, time_limit_minutes: 90}
"""
BETA = """
name: beta
owner: tests
start: 2026-03-02
partition: week
timezone: Europe/Berlin
schedule: null
source:
  format: csv
  path: inbox/{partition}.csv
  columns: {word: {type: text}}
"""
SUITE = '{"name": "%s", "expectations": [{"type": "expect_column_to_exist", "kwargs": {"column": "%s"}}]}'


def without_airflow() -> dict[str, str]:
    """This process's environment without what another test's Airflow put there: variables that are set win."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "MLFLOW"))}


def write_config(root: Path, **pipelines: str) -> Path:
    """A configuration folder with these pipelines, and a suite for each beside it."""
    (root / "config" / "pipelines").mkdir(parents=True)
    (root / "expectations").mkdir()
    for name, text in pipelines.items():
        (root / "config" / "pipelines" / f"{name}.yaml").write_text(text)
        (root / "expectations" / f"{name}.json").write_text(SUITE % (name, "word" if name == "beta" else "payment_id"))
    return root / "config"


# Files that start an Airflow server, Celery or a whole cluster, and mostly wait for it.
_SERVERS = (
    "tests/browser/",
    "tests/cluster/",
    "tests/integration/test_airflow_resources.py",
    "tests/integration/test_airflow_up.py",
    "tests/integration/test_docker_commands.py",
    "tests/integration/test_observability.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start servers begin, then those that are slow: nothing long is left for the end. Those that import
    Airflow into this process come last."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def place(item: pytest.Item) -> tuple[bool, ...]:
        return not item.nodeid.startswith(_SERVERS), item.nodeid.startswith("tests/dags/"), item.path not in slow

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file stays with one process, and all that start servers with the same one: there is one Airflow at a time."""
    from xdist.scheduler import LoadFileScheduling

    class OneOfServers(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "servers" if nodeid.startswith(_SERVERS) else super()._split_scope(nodeid)

    return OneOfServers(config, log)


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home whose settings are in the environment before Airflow is imported for the first time in this process."""
    from pipelines.runs.airflow_home import airflow_environment

    root = tmp_path_factory.mktemp("airflow")
    home = Home(root=root / "home", config=write_config(root, alpha=ALPHA, beta=BETA))
    before = dict(os.environ)
    os.environ.update(airflow_environment(home))
    sys.path[:0] = [str(REPOSITORY / "plugins")]
    try:
        yield home
    finally:
        sys.path.remove(str(REPOSITORY / "plugins"))
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, which may be changed, of the home of a finished `nightshift demo`.

    The original is the one that NIGHTSHIFT_DEMO_HOME names, else made once for all processes of this test run.
    """
    given = os.environ.get("NIGHTSHIFT_DEMO_HOME")
    original = Path(given) if given else _finished_demo(tmp_path_factory)
    return Path(shutil.copytree(original, tmp_path_factory.mktemp("demo") / "home", symlinks=True))


def _finished_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from filelock import FileLock

    # Each worker of a parallel run has a folder of its own below the one that all share.
    own = tmp_path_factory.getbasetemp()
    home = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "finished_demo"
    with FileLock(f"{home}.lock"):
        if not home.exists():
            making = home.with_suffix(".making")
            program = str(Path(sys.executable).with_name("nightshift"))
            subprocess.run([program, "--home", str(making), "demo"], check=True, cwd=REPOSITORY, env=without_airflow())
            making.rename(home)
    return home


@pytest.fixture(autouse=True)
def _nothing_is_known_to_be_down() -> None:
    """No test inherits a circuit breaker that another opened."""
    from pipelines.calls import breaker_of

    breaker_of.cache_clear()


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """A real S3 server; use a prefix of your own below its root."""
    store = ObjectStore(tmp_path_factory.mktemp("object_store"))
    yield store
    store.kill()


@pytest.fixture
def s3_root(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """An empty `s3://bucket/prefix`, with the environment that reaches it."""
    for name, value in object_store.environment.items():
        monkeypatch.setenv(name, value)
    return f"{object_store.root}/{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16]}"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A real PostgreSQL server; take a database of your own by `fresh()`."""
    server = PostgresServer(tmp_path_factory.mktemp("postgres"))
    yield server
    server.kill()


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty ledger, of both kinds in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.fresh()
