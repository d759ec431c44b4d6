"""Releases in a real bucket: what readers are given, who may switch it, and what is taken back."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from pipelines import staged
from pipelines.context import Context
from pipelines.errors import DataError, StorageError
from pipelines.exported import current_exports
from pipelines.release import retract, sweep
from pipelines.staged import open_pin, pinned
from pipelines.storage.s3 import client
from pipelines.verify import verify
from tests.builders import context
from tests.faults.test_release_kills import killed_at
from tests.scoring import Stub, again, champion, features, run_all, use_models
from tests.unit.test_cli_commands import Place

KEY = "2026-03-05"


@pytest.fixture
def run(tmp_path: Path, s3_root: str, monkeypatch: pytest.MonkeyPatch) -> Context:
    """Storage in S3, nothing released yet."""
    monkeypatch.setenv("NIGHTSHIFT_STORAGE", s3_root)
    use_models(monkeypatch, Stub(1))
    made = context(tmp_path / "home", partition=KEY)
    champion(made)
    return made


def released(run: Context, amounts: list[float], run_id: str = "run-1") -> str:
    features(run, amounts)
    return str(run_all(again(run, run_id))["release_id"])


def read_as_documented(run: Context) -> list[float]:
    """The three lines of pipelines/storage/exports.py."""
    files = [file for current in current_exports(run) for file in current.files]
    store = pyarrow.fs.S3FileSystem(endpoint_override=os.environ.get("AWS_ENDPOINT_URL"))
    paths = [file.removeprefix("s3://") for file in files]
    return [score for path in paths for score in pq.read_table(path, filesystem=store)["score"].to_pylist()]


def test_readers_get_the_newest_release_only(run: Context) -> None:
    released(run, [10.0, 20.0])
    newest = released(run, [30.0], "run-2")
    (current,) = current_exports(run)
    assert (current.partition, current.release_id, current.rows) == (KEY, newest, 1)
    assert read_as_documented(run) == [0.3]
    assert run_all(again(run, "run-2"))["state"] == "unchanged"
    assert verify(run)["problems"] == []


def test_pointer_lists_whole_urls_for_readers_without_ledger(run: Context, s3_root: str) -> None:
    released(run, [10.0])
    pointer = json.loads(run.exports.files.read(f"partition={KEY}/_current.json") or b"")
    manifest = run.exports.manifest_digest(KEY, pointer["release_id"])
    assert pointer == {
        "format": 1,
        "partition": KEY,
        "number": 1,
        "release_id": pointer["release_id"],
        "manifest_sha256": manifest,
        "files": [f"{s3_root}/exports/payments/_releases/{KEY}/{pointer['release_id']}/part-00000.parquet"],
        "rows": 1,
    }


def test_a_switch_from_an_older_pointer_loses(run: Context) -> None:
    """A run that stopped between reading the pointer and switching it; also when the pointer came back since."""
    one = released(run, [10.0])
    stale = run.exports.seen(KEY)
    two = released(run, [20.0], "run-2")
    assert not run.exports.point(stale, one)
    assert run.exports.point(run.exports.seen(KEY), one)
    assert not run.exports.point(stale, two)
    assert not run.exports.unpoint(stale)
    assert run.exports.current(KEY) == one


def test_retracted_scores_are_unreadable_and_stay_in_history(run: Context) -> None:
    release_id = released(run, [10.0])
    assert retract(run, "wrong prices", "ann")["state"] == "done"
    assert (current_exports(run), read_as_documented(run)) == ([], [])
    assert run.exports.is_kept(KEY, release_id)
    assert verify(run)["problems"] == []
    assert retract(run, "again", "bob")["state"] == "unchanged"
    assert run_all(again(run, "run-2"))["state"] == "skipped"


def test_bytes_that_somebody_changed_are_found_and_rebuilt(run: Context) -> None:
    """FAULTS C12: an outsider overwrites a published object."""
    released(run, [10.0, 20.0])
    (file,) = current_exports(run)[0].files
    place, _, name = file.rpartition("/")
    files = run.exports.files.at(place.removeprefix(f"{run.exports.files.root}/"))
    files.write(name, b"other bytes")
    assert "must have sha256" in verify(run)["problems"][0]
    assert run_all(again(run, "run-2"))["rows"] == 2
    assert verify(run)["problems"] == []
    assert read_as_documented(run) == [0.2, 0.1]


def test_a_pointer_that_cannot_be_read_is_an_error_not_an_absent_release(run: Context) -> None:
    released(run, [10.0])
    run.exports.files.write(f"partition={KEY}/_current.json", b"<html>")
    with pytest.raises(DataError, match=r"E-DATA-HASH .*_current\.json"):
        current_exports(run)


def test_sweep_removes_what_killed_runs_left_in_the_bucket(run: Context) -> None:
    released(run, [10.0])
    files = run.exports.files
    files.write(f"_releases/{KEY}/orphan/part-00000.parquet", b"x")
    key = files._key(f"_releases/{KEY}/big/part-00000.parquet")  # type: ignore[attr-defined]
    client().create_multipart_upload(Bucket=files.bucket, Key=key)  # type: ignore[attr-defined]
    assert sweep(run)["removed"] == []
    time.sleep(1.1)  # the store keeps whole seconds
    removed = sweep(run, older_than_hours=0)["removed"]
    assert f"exports/payments/_releases/{KEY}/orphan" in removed
    assert f"exports/payments/_releases/{KEY}/big/part-00000.parquet" in removed
    assert sweep(run, older_than_hours=0)["removed"] == []
    assert read_as_documented(run) == [0.1]


@pytest.mark.parametrize("storage", ["folder", "s3"])
def test_command_lists_current_files(
    tmp_path: Path, storage: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    root = request.getfixturevalue("s3_root") if storage == "s3" else str(place.home.root)
    monkeypatch.setenv("NIGHTSHIFT_STORAGE", root)
    day = place.context("2026-03-02")
    table = pa.table({"score": [0.5]})
    digest = day.exports.write(day.key, "r1", table.schema, table.to_batches(), "snappy", {})
    assert place.call("exports", "orders", "--json").exit_code == 0
    assert day.exports.point(day.exports.seen(day.key), "r1")
    values = {"model_version": 1, "row_count": 1, "digest": digest, "is_hindsight": False, "run_id": "run-1"}
    place.ledger.record_release("orders", day.key, release_id="r1", path=day.release_path("r1"), **values)
    folder = f"{root}/exports/orders/" + ("_releases/2026-03-02/r1" if storage == "s3" else "partition=2026-03-02")
    assert place.call("exports", "orders").stdout.split() == [f"{folder}/part-00000.parquet"]
    found = json.loads(place.call("exports", "orders", "--partition", "2026-03-02", "--json").stdout)
    assert found["files"] == [f"{folder}/part-00000.parquet"]
    assert found["partitions"][0]["release_id"] == "r1"
    assert json.loads(place.call("exports", "orders", "--partition", "2026-03-03", "--json").stdout)["files"] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "point",
    ["score.mid", "export.after_data", "export.after_manifest", "predictions.after_commit", "export.after_pointer"],
)
def test_a_kill_then_a_retry_gives_one_whole_release(run: Context, point: str) -> None:
    """FAULTS A1 in a bucket: readers see the old release or the new one, and the retry finishes."""
    released(run, [10.0, 20.0])
    features(run, [30.0, 40.0, 50.0])
    killed_at(run, point, "run-2")
    assert read_as_documented(run) == ([0.5, 0.4, 0.3] if point == "export.after_pointer" else [0.2, 0.1])
    run_all(again(run, "run-2"))
    assert read_as_documented(run) == [0.5, 0.4, 0.3]
    assert [row["state"] for row in run.ledger.releases(run.name)] == ["superseded", "released"]
    assert verify(run)["problems"] == []


def test_shards_that_decide_at_once_agree(run: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines open the run while a promotion comes between them: one decision counts for both."""
    features(run, [10.0])
    decided: list[int] = []
    decide = staged._decided

    def late(context: Context) -> staged.Pin | None:
        pin = decide(context)
        if pin and not decided:
            decided.append(1)
            other = open_pin(context)  # the other machine decides and writes while this one is about to
            assert other == pin
            return replace(pin, model_version=2)
        return pin

    monkeypatch.setattr(staged, "_decided", late)
    assert open_pin(run) == pinned(run)
    assert open_pin(run).model_version == 1  # type: ignore[union-attr]


def test_a_store_that_overwrites_in_spite_of_the_condition_releases_nothing(
    run: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS C8."""
    monkeypatch.setattr(
        "pipelines.storage.s3.S3Files.create", lambda self, name, content: not self.write(name, content)
    )
    with pytest.raises(StorageError, match="E-S3-NO-CAS"):
        released(run, [10.0])
