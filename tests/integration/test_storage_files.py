"""Files on a folder and in a real S3 bucket behave alike."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import ConfigError, StorageError
from pipelines.storage.files import Files, open_files
from pipelines.storage.s3 import S3Files, client, require_conditional_writes
from tests.object_store import ObjectStore


@pytest.fixture(params=["local", "s3"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    return open_files(str(tmp_path / "files") if request.param == "local" else request.getfixturevalue("s3_root"))


def test_a_file_reads_back_and_is_replaced_as_a_whole(files: Files) -> None:
    assert files.read("a/b.json") is None
    files.write("a/b.json", b"first, and longer")
    files.write("a/b.json", b"second")
    assert files.read("a/b.json") == b"second"
    assert files.at("a").read("b.json") == b"second"


def test_only_the_first_create_counts_but_the_same_content_is_fine(files: Files) -> None:
    assert files.create("claim", b"mine")
    assert not files.create("claim", b"yours")
    assert files.create("claim", b"mine")  # an answer was lost and the request repeated
    assert files.read("claim") == b"mine"


def test_of_many_writers_one_creates(files: Files) -> None:
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: files.create("race", str(number).encode()), range(8)))
    assert won.count(True) == 1
    assert files.read("race") == str(won.index(True)).encode()


def test_of_many_writers_one_swaps(files: Files) -> None:
    files.write("pointer", b"old")
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: files.swap("pointer", b"old", str(number).encode()), range(8)))
    assert won.count(True) == 1
    assert files.read("pointer") == str(won.index(True)).encode()


@pytest.mark.parametrize(
    ("there", "expected", "swapped"),
    [(None, None, True), (b"x", None, False), (None, b"x", False), (b"y", b"x", False), (b"new", b"x", True)],
    ids=["absent as expected", "taken", "gone", "another's", "already ours"],
)
def test_swap_changes_only_what_it_expected(
    files: Files, there: bytes | None, expected: bytes | None, swapped: bool
) -> None:
    if there is not None:
        files.write("pointer", there)
    assert files.swap("pointer", expected, b"new") is swapped
    assert files.read("pointer") == (b"new" if swapped else there)


def test_a_local_file_goes_up_and_comes_down(files: Files, tmp_path: Path) -> None:
    source = tmp_path / "part.parquet"
    source.write_bytes(b"PAR1" * 1000)
    files.upload(source, "day=1/part.parquet")
    found = files.fetch("day=1/part.parquet", tmp_path / "scratch")
    assert found is not None
    assert found.read_bytes() == source.read_bytes()
    assert files.fetch("day=2/part.parquet", tmp_path / "scratch") is None


def test_entries_are_listed_by_name_below_a_prefix(files: Files) -> None:
    before = time.time() - 60
    for name in ("b/2", "b/10", "bc", "a"):
        files.write(name, b"12345")
    assert [entry.name for entry in files.at("b").entries()] == ["10", "2"]
    found = list(files.entries("b/"))
    assert [(entry.name, entry.size) for entry in found] == [("b/10", 5), ("b/2", 5)]
    assert all(entry.changed > before for entry in found)
    assert [entry.name for entry in files.entries()] == ["a", "b/10", "b/2", "bc"]


def test_removing_what_is_absent_is_fine(files: Files) -> None:
    files.write("a", b"1")
    files.remove("a")
    files.remove("a")
    assert files.read("a") is None


def test_a_store_without_conditional_writes_is_refused(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = S3Files(s3_root)
    require_conditional_writes(files)
    monkeypatch.setattr(S3Files, "create", lambda self, name, content: self.write(name, content) is None)
    with pytest.raises(StorageError, match="E-S3-NO-CAS"):
        require_conditional_writes(files.at("elsewhere"))


def test_uploads_that_killed_writers_left_are_ended(s3_root: str) -> None:
    files: Any = S3Files(s3_root)
    key = files._key("big")
    client().create_multipart_upload(Bucket=files.bucket, Key=key)
    assert files.unfinished(before=time.time() - 3600, remove=True) == []
    assert files.unfinished(before=time.time() + 60, remove=False) == ["big"]
    assert files.unfinished(before=time.time() + 60, remove=True) == ["big"]
    assert files.unfinished(before=time.time() + 60, remove=True) == []


def test_a_missing_bucket_is_named(s3_root: str) -> None:  # noqa: ARG001 - sets the environment
    with pytest.raises(ConfigError, match="E-S3-BUCKET storage: the bucket 'nowhere' does not exist"):
        open_files("s3://nowhere/x").write("a", b"1")


def test_wrong_credentials_are_denied_without_being_shown(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret")
    with pytest.raises(StorageError, match="E-S3-DENIED") as caught:
        open_files(s3_root).write("a", b"1")
    assert "canary" not in str(caught.value)


@pytest.mark.slow
def test_files_outlive_a_killed_server(s3_root: str, object_store: ObjectStore) -> None:
    files = open_files(s3_root)
    files.write("a", b"kept")
    object_store.kill()
    with pytest.raises(StorageError, match="E-S3-UNAVAILABLE"):
        files.read("a")
    object_store.start()
    assert files.read("a") == b"kept"
