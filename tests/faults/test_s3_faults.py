"""An object store that refuses, hangs, cuts or forgets to answer: a real server behind tests/fault_proxy.py."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from pipelines.calls import breaker_of
from pipelines.errors import StorageError
from pipelines.exported import current_exports
from pipelines.home import REPOSITORY
from pipelines.release import sweep
from pipelines.storage import s3
from pipelines.storage.files import Files, open_files
from pipelines.storage.s3 import require_conditional_writes
from pipelines.storage.tables import PublishConflict, Snapshot, publish
from pipelines.verify import verify
from tests.builders import context, payments
from tests.fault_proxy import FaultProxy
from tests.object_store import ObjectStore
from tests.scoring import Stub, champion, features, run_all, use_models

ROWS = payments([{"row_id": "a", "amount_eur": 1.0}, {"row_id": "b", "amount_eur": 2.0}])
DAY = "2026-03-01"


@pytest.fixture
def proxy(object_store: ObjectStore, s3_root: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:  # noqa: ARG001
    """The endpoint of this test's clients."""
    made = FaultProxy(object_store.port)
    monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
    monkeypatch.setattr(s3, "_PART_BYTES", 5 << 20)
    monkeypatch.setattr(s3, "STORE", replace(s3.STORE, attempts=3))
    yield made
    made.close()


@pytest.fixture
def files(proxy: FaultProxy, s3_root: str) -> Files:  # noqa: ARG001 - clients go through it
    return open_files(s3_root)


@pytest.fixture
def table(files: Files) -> str:
    """A table with one published day."""
    uri = files.address("clean")
    publish(Snapshot.latest(uri), DAY, ROWS, {"partition": DAY})
    return uri


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Clients made from now on give up on a silent store after a second."""

    def become() -> None:
        monkeypatch.setattr(s3, "READ_SECONDS", 1)
        s3._client.cache_clear()

    return become


def rows_of(uri: str) -> list[str]:
    return sorted(Snapshot.latest(uri).read([DAY])["row_id"].to_pylist())


# -- refused, away, silent ------------------------------------------------------------------------------------------


def test_two_refusals_are_repeated(files: Files, table: str, proxy: FaultProxy) -> None:
    """FAULTS C1."""
    proxy.add("status", times=2)
    files.write("a", b"1")
    proxy.add("status", times=2)
    assert files.read("a") == b"1"
    proxy.add("status", times=2)
    assert rows_of(table) == ["a", "b"]


CALLS: dict[str, Callable[[Files, str], Any]] = {
    "read": lambda files, _: files.read("a"),
    "write": lambda files, _: files.write("a", b"1"),
    "create": lambda files, _: files.create("a", b"1"),
    "list": lambda files, _: list(files.entries()),
    "latest version": lambda _, uri: Snapshot.latest(uri),
    "absent table": lambda files, _: Snapshot.latest(files.address("nowhere")),
    "publish": lambda _, uri: publish(Snapshot(uri, 1), DAY, ROWS.slice(0, 1), {"partition": DAY}),
}


@pytest.mark.parametrize(
    ("fault", "call"),
    [
        *((fault, call) for fault in ("status", "reset") for call in CALLS),
        *(("hang", call) for call in ("read", "create", "latest version")),
    ],
)
def test_a_store_that_stays_away_is_named_in_bounded_time(
    files: Files, table: str, proxy: FaultProxy, impatient: Callable[[], None], fault: Any, call: str
) -> None:
    """FAULTS C2, C3. Also a table that cannot be looked up: it must not count as absent."""
    if fault == "hang":
        impatient()
    proxy.add(fault, status=500, code="InternalError")
    started = time.monotonic()
    with pytest.raises(StorageError, match=r"E-S3-UNAVAILABLE .*") as caught:
        CALLS[call](files, table)
    assert time.monotonic() - started < 20
    assert caught.value.retryable
    proxy.faults.clear()
    assert (files.read("a"), rows_of(table)) == (None, ["a", "b"])


def test_one_silence_and_one_reset_are_repeated(
    files: Files, table: str, proxy: FaultProxy, impatient: Callable[[], None]
) -> None:
    """FAULTS C3."""
    impatient()
    for fault in ("hang", "reset"):
        proxy.add(fault, times=1)
        files.write("a", fault.encode())
        proxy.add(fault, times=1)
        assert files.read("a") == fault.encode()
        proxy.add(fault, times=1)
        assert rows_of(table) == ["a", "b"]


# -- cut bodies -----------------------------------------------------------------------------------------------------


def test_a_body_that_is_cut_is_noticed_by_each_reader(
    files: Files, table: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    """FAULTS C4: boto3 in memory and to a file, deltalake's log, the data files of a table, and consumers' pyarrow."""
    files.write("a", b"0123456789" * 100)
    (data,) = Snapshot.latest(table).files([DAY])
    snapshot = Snapshot.latest(table)
    proxy.add("truncate", method="GET")
    with pytest.raises(StorageError, match="E-S3-UNAVAILABLE"):
        files.read("a")
    with pytest.raises(StorageError, match="E-S3-UNAVAILABLE"):
        files.fetch("a", tmp_path)
    breaker_of.cache_clear()  # each reader by itself
    with pytest.raises(StorageError, match="E-S3-UNAVAILABLE"):
        snapshot.local_files([DAY], tmp_path)
    with pytest.raises(StorageError, match="E-S3-UNAVAILABLE"):
        Snapshot.latest(table)
    store = pyarrow.fs.S3FileSystem(endpoint_override=proxy.url, retry_strategy=_once(), request_timeout=1)
    with pytest.raises(OSError, match=r"."):
        pq.read_table(data.removeprefix("s3://"), filesystem=store)
    proxy.faults.clear()
    breaker_of.cache_clear()
    assert [Path(path).stat().st_size > 0 for path in snapshot.local_files([DAY], tmp_path)] == [True]


def test_a_data_file_that_is_cut_for_deltalake_is_noticed(table: str, proxy: FaultProxy) -> None:
    snapshot = Snapshot.latest(table)
    proxy.add("truncate", method="GET", path=".parquet")
    with pytest.raises(StorageError, match="E-S3-UNAVAILABLE"):
        snapshot.read([DAY])


def _once() -> Any:
    return pyarrow.fs.AwsStandardS3RetryStrategy(max_attempts=1)


# -- lost answers ---------------------------------------------------------------------------------------------------


def test_writes_whose_answers_are_lost_count_once(files: Files, proxy: FaultProxy) -> None:
    """FAULTS C5: our own conditional write must not look like somebody else's."""
    proxy.add("lost", method="PUT", times=1)
    files.write("a", b"1")
    proxy.add("lost", method="PUT", times=1)
    assert files.create("claim", b"mine")
    proxy.add("lost", method="PUT", times=1)
    assert files.swap("claim", b"mine", b"next")
    proxy.add("lost", method="PUT", times=1)
    assert not files.create("claim", b"yours")
    assert (files.read("a"), files.read("claim")) == (b"1", b"next")


def test_a_commit_whose_answer_is_lost_is_recognised(table: str, proxy: FaultProxy) -> None:
    """FAULTS C5: one commit, no false conflict, no row twice; a real conflict stays one."""
    before = Snapshot.latest(table)
    proxy.add("lost", method="PUT", path=f"_delta_log/{before.version + 1:020d}.json", times=1)
    written = publish(before, DAY, ROWS.slice(0, 1), {"partition": DAY})
    assert (written.version, written.rows) == (before.version + 1, 1)
    assert Snapshot.latest(table).version == written.version
    assert rows_of(table) == ["a"]
    assert publish(Snapshot.latest(table), DAY, ROWS.slice(0, 1), {"partition": DAY}).digest == written.digest
    with pytest.raises(PublishConflict):
        publish(before, DAY, ROWS, {"partition": DAY})


def test_a_first_commit_whose_answer_is_lost_makes_the_table_once(files: Files, proxy: FaultProxy) -> None:
    uri = files.address("fresh")
    proxy.add("lost", method="PUT", path="_delta_log/", times=1)
    assert publish(Snapshot.latest(uri), DAY, ROWS, {"partition": DAY}).rows == 2
    assert rows_of(uri) == ["a", "b"]


def test_a_completed_upload_whose_answer_is_lost_is_whole(files: Files, proxy: FaultProxy, tmp_path: Path) -> None:
    """FAULTS C5: the repetition finds the upload gone."""
    source = tmp_path / "big"
    source.write_bytes(bytes(range(256)) * 45_000)  # 11 MB, three parts
    proxy.add("lost", method="POST", path="uploadId=", times=1)
    files.upload(source, "big")
    copy = files.fetch("big", tmp_path / "copy")
    assert copy is not None
    assert copy.read_bytes() == source.read_bytes()
    assert files.unfinished(time.time() + 60, remove=False) == []


UPLOAD = """
import sys
from pathlib import Path
from pipelines.storage import s3
from pipelines.storage.files import open_files
s3._PART_BYTES = 5 << 20
open_files(sys.argv[1]).upload(Path(sys.argv[2]), "big")
"""


def test_an_upload_that_is_killed_leaves_nothing_visible(
    files: Files, proxy: FaultProxy, s3_root: str, tmp_path: Path
) -> None:
    """FAULTS C6."""
    source = tmp_path / "big"
    source.write_bytes(b"x" * (11 << 20))
    proxy.add("hang", method="PUT", path="partNumber=3")
    child = subprocess.Popen([sys.executable, "-c", UPLOAD, s3_root, str(source)], cwd=REPOSITORY)
    deadline = time.monotonic() + 30
    while proxy.calls("PUT", "partNumber=3") == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert files.read("big") is None
    assert list(files.entries()) == []
    assert files.unfinished(time.time() + 60, remove=True) == ["big"]
    assert files.unfinished(time.time() + 60, remove=True) == []


# -- rights, clocks, odd stores -------------------------------------------------------------------------------------


def test_a_denied_prefix_is_named_and_works_after_the_right_is_given(
    files: Files, table: str, proxy: FaultProxy
) -> None:
    """FAULTS C10: also for tables, whose lookup must not count as absent."""
    proxy.add("status", path="clean/", status=403, code="AccessDenied")
    proxy.add("status", path="clean%2F", status=403, code="AccessDenied")
    for call in (CALLS["latest version"], lambda one, _: one.read("clean/a"), CALLS["publish"]):
        with pytest.raises(StorageError, match=r"E-S3-DENIED .*clean"):
            call(files, table)
    files.write("a", b"elsewhere it works")
    proxy.faults.clear()
    assert rows_of(table) == ["a", "b"]


def test_a_clock_that_is_wrong_is_no_denial(files: Files, table: str, proxy: FaultProxy) -> None:
    """FAULTS F2."""
    proxy.add("status", status=403, code="RequestTimeTooSkewed")
    for call in (CALLS["read"], CALLS["latest version"]):
        with pytest.raises(StorageError, match="E-PRE-CLOCK"):
            call(files, table)


def test_a_store_without_conditional_writes_is_found_out(files: Files, proxy: FaultProxy) -> None:
    """FAULTS C8."""
    proxy.add("agree", header="if-none-match")
    with pytest.raises(StorageError, match="E-S3-NO-CAS"):
        require_conditional_writes(files.at("here"))  # type: ignore[arg-type]


def test_a_store_that_refuses_checksums_is_told_how(
    files: Files, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS C9."""
    proxy.add("status", header="x-amz-checksum", status=400, code="InvalidRequest")
    proxy.add("status", header="x-amz-sdk-checksum", status=400, code="InvalidRequest")
    with pytest.raises(StorageError, match=r"E-S3-REFUSED .*AWS_REQUEST_CHECKSUM_CALCULATION=when_required"):
        files.write("a", b"1")
    for name in ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"):
        monkeypatch.setenv(name, "when_required")
    files.write("a", b"1")
    assert files.read("a") == b"1"


# -- whole releases -------------------------------------------------------------------------------------------------


@pytest.fixture
def run(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("NIGHTSHIFT_STORAGE", files.root)
    use_models(monkeypatch, Stub(1))
    made = context(tmp_path / "home", partition="2026-03-05", score={"shards": 2})
    champion(made)
    features(made, [10.0, 20.0, 30.0])
    return made


def test_a_release_of_which_every_second_answer_is_lost_is_one_release(run: Any, proxy: FaultProxy) -> None:
    for _ in range(40):
        proxy.add("lost", method="PUT", times=1)
        proxy.add("none", method="PUT", times=1)
    summary = run_all(run)
    proxy.faults.clear()
    (current,) = current_exports(run)
    assert (current.release_id, current.rows) == (summary["release_id"], 3)
    assert [row["state"] for row in run.ledger.releases(run.name)] == ["released"]
    assert run.snapshot("predictions").read([run.key]).num_rows == 3
    assert verify(run)["problems"] == []


def test_a_bucket_in_which_nothing_may_be_deleted_still_releases(run: Any, proxy: FaultProxy) -> None:
    """FAULTS C11: the clean-up says so."""
    proxy.add("status", method="DELETE", status=403, code="AccessDenied")
    assert run_all(run)["state"] == "done"
    run.exports.files.write(f"_releases/{run.key}/orphan/part-00000.parquet", b"x")
    with pytest.raises(StorageError, match="E-S3-DENIED storage: deleting"):
        sweep(run, older_than_hours=-1)
    assert len(current_exports(run)) == 1
