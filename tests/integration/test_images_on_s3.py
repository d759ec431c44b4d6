"""Images that lie in a bucket, named by a file there: read below the folder alone, and no more than they may have."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import DataError
from pipelines.ingest import ingest
from pipelines.storage.files import open_files
from tests.builders import context
from tests.unit.test_ingest_images import AT, COLUMNS, plain, published


def test_paths_start_beside_the_object_that_names_them(tmp_path: Path, s3_root: str, monkeypatch: pytest.MonkeyPatch):
    """A good one, none, one that is not there, one that leads out, and one with more bytes than allowed."""
    monkeypatch.setenv("NIGHTSHIFT_STORAGE", s3_root)
    store = open_files(f"{s3_root}/inbox")
    names = ["a/one.png", "", "gone.png", "../secret.png", "large.png"]
    lines = [f"p{number},{AT},{name}" for number, name in enumerate(names)]
    store.write("2026-03-01.csv", "\n".join(["payment_id,paid_at,picture", *lines]).encode() + b"\n")
    store.write("a/one.png", plain(8, 8, 7))
    store.write("large.png", plain(8, 8) + bytes(2_000))
    open_files(s3_root).write("secret.png", plain(8, 8))
    columns = COLUMNS | {"picture": {"type": "image", "image": {"size": 8, "max_bytes": 1_000}}}
    source = {"format": "csv", "path": f"{s3_root}/inbox/{{partition}}.csv", "columns": columns}
    run = context(tmp_path, source=source, features={"columns": ["picture"]}, label=None, training=None)
    found = ingest(run)
    assert (found["parsed"], found["quarantined"]) == (2, 3)
    assert published(run, "raw")["picture"].to_pylist() == [bytes([7]) * 64, None]
    reasons = [reasons[0].partition(":")[0] for reasons in published(run, "quarantine")["reasons"].to_pylist()]
    assert reasons == ["IMAGE_ABSENT", "IMAGE_PATH", "IMAGE_SIZE"]
    assert ingest(run)["state"] == "unchanged"


def test_a_bucket_without_the_images_publishes_nothing(tmp_path: Path, s3_root: str):
    open_files(f"{s3_root}/inbox").write("2026-03-01.csv", f"payment_id,paid_at,picture\np,{AT},one.png\n".encode())
    columns = COLUMNS | {"picture": {"type": "image", "image": {"folder": f"{s3_root}/pictures"}}}
    source = {"format": "csv", "path": f"{s3_root}/inbox/{{partition}}.csv", "columns": columns}
    run = context(tmp_path, source=source, features={"columns": ["picture"]}, label=None, training=None)
    with pytest.raises(DataError, match=r"E-IN-IMAGES .*none of the 1 images that 'picture' names"):
        ingest(run)
