"""The same nights on a folder and in S3: equal releases, though no two steps share a disk."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines.home import Home
from pipelines.ledger import Ledger
from pipelines.runs.step import open_context
from pipelines.storage.files import open_files
from pipelines.verify import verify
from tests.faults.chain import DAILY, PIPELINE, RETRAIN
from tests.faults.world import World
from tests.object_store import ObjectStore

pytestmark = pytest.mark.slow


class Machines:
    """Steps of one pipeline, each on a machine of its own: an empty home, and only S3 and the ledger in common."""

    def __init__(self, world: World, root: Path, storage: str, store: ObjectStore) -> None:
        self.world, self.root, self.used = world, root, 0
        self.environment = {
            **store.environment,
            "NIGHTSHIFT_STORAGE": storage,
            "NIGHTSHIFT_LEDGER_URL": f"sqlite:///{root}/shared/ledger.db",
            "MLFLOW_TRACKING_URI": f"sqlite:///{root}/shared/mlflow.db",
        }

    @property
    def home(self) -> Home:
        return Home(self.root / f"machine-{self.used}", self.world.home.config)

    def days(self, partitions: list[str]) -> None:
        self._run("days", ",".join(partitions))

    def steps(self, steps: tuple[str, ...], partition: str) -> None:
        for step in steps:
            answers = list(self.home.root.glob("*.json"))  # what Airflow keeps as XCom
            self.used += 1
            self.home.root.mkdir(parents=True)
            for path in answers:
                shutil.copy(path, self.home.root)
            self._run("step", step, partition)

    def _run(self, *arguments: str) -> None:
        self.world.finish(*arguments, **{**self.environment, "NIGHTSHIFT_HOME": str(self.home.root)})


@pytest.fixture(scope="module")
def machines(world: World, object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Machines:
    """All nights of the world once more, in S3."""
    world.restore("end")
    made = Machines(world, tmp_path_factory.mktemp("machines"), f"{object_store.root}/chain", object_store)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in object_store.environment.items():
            patch.setenv(name, value)
        for path in (world.home.root / "inbox").rglob("*"):
            if path.is_file():
                name = str(path.relative_to(world.home.root))
                open_files(made.environment["NIGHTSHIFT_STORAGE"]).upload(path, name)
    made.days([str(day.date) for day in world.days[:-1]])
    made.steps(RETRAIN, world.before)
    made.steps(DAILY, world.last)
    return made


@pytest.fixture
def opened(machines: Machines, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The last night's run, opened on one more machine."""
    for name, value in machines.environment.items():
        monkeypatch.setenv(name, value)
    return open_context(PIPELINE, machines.world.last, "reader", Home(tmp_path / "home", machines.world.home.config))


def _exported(run: Any, scratch: Path) -> list[str]:
    """sha256 of the files that readers of the last partition are given."""
    current = run.exports.current_files(run.key)
    place = open_files(current.files[0].rpartition("/")[0])
    copies = [place.fetch(file.rpartition("/")[2], scratch) for file in current.files]
    return [hashlib.sha256(copy.read_bytes()).hexdigest() for copy in copies if copy]


def test_released_files_are_the_same_byte_for_byte(world: World, opened: Any, tmp_path: Path) -> None:
    expected = world.expected["monitor"]
    files = [value for name, value in expected["exports"].items() if name.endswith(".parquet")]
    assert files
    assert _exported(opened, tmp_path) == files
    releases = [
        (row["partition"], row["seq"], row["release_id"], row["state"]) for row in opened.ledger.releases(PIPELINE)
    ]
    assert releases == expected["releases"]
    models = [(row["version"], row["artifact_sha256"]) for row in opened.ledger.models(PIPELINE)]
    assert models == expected["models"]


def test_published_contents_are_the_same(world: World, opened: Any) -> None:
    """All but those that hold the source's name, which is a URL there."""
    for table in ("clean", "features", "predictions", "labels_chargebacks", "dimension_cards"):
        found = {row["partition"]: row["content_digest"] for row in opened.ledger.publications(PIPELINE, table)}
        assert found == world.expected["monitor"]["digests"][table], table


def test_everything_verifies_on_a_machine_that_never_ran_a_step(opened: Any) -> None:
    assert verify(opened)["problems"] == []
    assert Ledger(opened.home.ledger_url).champion(PIPELINE)


def test_no_machine_keeps_anything_that_another_would_need(machines: Machines) -> None:
    kept = {path.relative_to(home).parts[0] for home in machines.root.glob("machine-*") for path in home.rglob("*")}
    assert {name for name in kept if not name.endswith(".json")} <= {"scratch", "mlflow"}
