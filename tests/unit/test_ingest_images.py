"""Images at ingest: pixels worked out by hand, what is refused and why, and that nothing outside the folder is read."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.errors import DataError
from pipelines.features import build_features
from pipelines.ingest import ingest
from pipelines.ingest.image_pixels import pixels
from pipelines.ingest.text_types import Unfit
from pipelines.settings.source import Column, ImageForm
from pipelines.validate.quarantine import quarantine_reader
from tests.builders import context, put

COLUMNS = {
    "payment_id": {"type": "id", "required": True},
    "paid_at": {"type": "timestamp", "required": True},
    "picture": {"type": "image", "image": {"size": 8}},
}
AT = "2026-03-01T10:00:00Z"


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, kind, **options)
    return sink.getvalue()


def plain(width: int, height: int, value: Any = 200, mode: str = "L") -> bytes:
    return encoded(Image.new(mode, (width, height), value))


def bomb(width: int, height: int) -> bytes:
    """A PNG of some hundred bytes whose header promises that many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


def test_pixels_lie_row_by_row_and_what_is_left_of_the_square_is_black():
    """8 x 4 grey pixels in a square of 8: two black rows above, four grey ones, two black rows below."""
    found = pixels(plain(8, 4, 200), ImageForm(size=8))
    assert found == bytes(16) + bytes([200]) * 32 + bytes(16)


def test_the_channels_of_a_pixel_lie_together():
    assert pixels(plain(8, 8, (10, 20, 30), "RGB"), ImageForm(size=8, color="rgb")) == bytes([10, 20, 30]) * 64


def test_a_picture_is_turned_as_its_camera_says():
    """Orientation 3: upside down. White above, black below in the file; black above once turned."""
    picture = Image.new("L", (8, 8))
    picture.paste(255, (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 3
    assert pixels(encoded(picture, exif=exif.tobytes()), ImageForm(size=8)) == bytes(32) + bytes([255]) * 32


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (bomb(20_000, 20_000), "IMAGE_SIZE: may have at most 40,000,000 pixels"),
        (bomb(8_000, 8_000), "IMAGE_SIZE: may have at most 40,000,000 pixels, its header says 8,000 x 8,000"),
        (encoded(Image.effect_noise((64, 64), 90), "JPEG")[:-200], "IMAGE_DAMAGED: cannot be decoded"),
        (bomb(100, 100), "IMAGE_DAMAGED: cannot be decoded"),
        (encoded(Image.new("L", (8, 8)), "GIF"), "IMAGE_FORMAT: must be a PNG or JPEG file"),
        (encoded(Image.new("I;16", (8, 8))), "IMAGE_FORMAT: must have 8 bits per channel"),
        (b"", "IMAGE_FORMAT: must be a PNG or JPEG file, got 0 bytes that start with nothing"),
        (plain(8, 8) + bytes(10_000_000), "IMAGE_SIZE: may have at most 10,000,000 bytes"),
    ],
    ids=["bomb", "too many pixels", "truncated", "pixels that are not there", "gif", "16 bits", "empty", "large file"],
)
def test_what_cannot_be_trusted_is_refused_with_its_reason(content, reason):
    with pytest.raises(Unfit) as refused:
        pixels(content, ImageForm())
    assert str(refused.value).startswith(reason)


def test_image_settings_are_for_images():
    with pytest.raises(ValueError, match="'image' is for columns of type 'image', got type 'text'"):
        Column(type="text", image=ImageForm())


def csv_context(root: Path, lines: list[str], **image: Any) -> Any:
    columns = {**COLUMNS, "picture": {"type": "image", "image": {"size": 8, **image}}}
    source = {"format": "csv", "path": f"{root}/inbox/{{partition}}.csv", "columns": columns}
    (root / "inbox").mkdir(exist_ok=True)
    rows = [f"p{number},{AT},{line}" for number, line in enumerate(lines)]
    (root / "inbox" / "2026-03-01.csv").write_text("\n".join(["payment_id,paid_at,picture", *rows]) + "\n")
    return context(root, source=source, features={"columns": ["picture"]}, label=None, training=None)


def published(run: Any, table: str) -> pa.Table:
    with run.engine("ingest") as engine:
        return engine.table(engine.scan(run.snapshot(table), [run.key]), order_by=["source_line"])


def test_paths_start_beside_the_file_and_a_missing_image_is_null(tmp_path: Path):
    run = csv_context(tmp_path, ["a/one.png", ""])
    (tmp_path / "inbox" / "a").mkdir()
    (tmp_path / "inbox" / "a" / "one.png").write_bytes(plain(8, 8, 7))
    assert ingest(run)["quarantined"] == 0
    assert published(run, "raw")["picture"].to_pylist() == [bytes([7]) * 64, None]


def test_what_leads_out_of_the_folder_or_is_no_file_costs_its_row(tmp_path: Path):
    (tmp_path / "secret.png").write_bytes(plain(8, 8))
    outside = ["../secret.png", "../../etc/passwd", f"{tmp_path}/secret.png", "link/secret.png", "linked.png"]
    run = csv_context(tmp_path, [*outside, "folder", "gone.png", "s3://bucket/x.png", "good.png"])
    inbox = tmp_path / "inbox"
    (inbox / "link").symlink_to(tmp_path)
    (inbox / "linked.png").symlink_to(tmp_path / "secret.png")
    (inbox / "folder").mkdir()
    (inbox / "good.png").write_bytes(plain(8, 8))
    assert ingest(run)["quarantined"] == 8
    rejects = published(run, "quarantine")
    codes = [reasons[0].partition(":")[0] for reasons in rejects["reasons"].to_pylist()]
    assert codes == [*["IMAGE_PATH"] * 6, "IMAGE_ABSENT", "IMAGE_PATH"]
    assert rejects["source_line"].to_pylist() == [2, 3, 4, 5, 6, 7, 8, 9]
    assert published(run, "raw")["payment_id"].to_pylist() == ["p8"]


def test_images_that_were_not_delivered_at_all_publish_nothing(tmp_path: Path):
    run = csv_context(tmp_path, ["one.png", "two.png", ""], folder=f"{tmp_path}/pictures")
    with pytest.raises(DataError, match=r"E-IN-IMAGES .*none of the 2 images that 'picture' names lies below"):
        ingest(run)
    assert run.ledger.publication(run.name, "raw", run.key) is None


def test_a_changed_image_is_noticed_though_the_file_that_names_it_is_the_same(tmp_path: Path):
    run = csv_context(tmp_path, ["one.png"], folder="pictures")
    (tmp_path / "pictures").mkdir()
    place = tmp_path / "pictures" / "one.png"
    place.write_bytes(plain(8, 8, 7))
    assert [ingest(run)["state"], ingest(run)["state"]] == ["done", "unchanged"]
    place.write_bytes(plain(8, 8, 8))
    assert ingest(run)["state"] == "done"
    assert published(run, "raw")["picture"].to_pylist() == [bytes([8]) * 64]


def test_parquet_holds_bytes_or_paths_and_a_bad_one_is_quarantined(tmp_path: Path):
    (tmp_path / "inbox").mkdir()
    images = [plain(8, 8, 9), None, b"\xff\xd8\xff\xe0 cut", bomb(20_000, 20_000)]
    table = pa.table(
        {"payment_id": ["a", "b", "c", "d"], "paid_at": [AT] * 4, "picture": pa.array(images, pa.binary())}
    )
    pq.write_table(table, tmp_path / "inbox" / "2026-03-01.parquet")
    source = {"format": "parquet", "path": f"{tmp_path}/inbox/{{partition}}.parquet", "columns": COLUMNS}
    run = context(tmp_path, source=source, features={"columns": ["picture"]}, label=None, training=None)
    found = ingest(run)
    assert (found["parsed"], found["quarantined"]) == (2, 2)
    assert published(run, "raw")["picture"].to_pylist() == [bytes([9]) * 64, None]
    rejects = published(run, "quarantine")
    assert [reasons[0].split(":")[0] for reasons in rejects["reasons"].to_pylist()] == ["IMAGE_DAMAGED", "IMAGE_SIZE"]
    assert '"picture": "8 bytes"' in rejects["record"][0].as_py()


def test_a_number_where_an_image_belongs_refuses_the_schema(tmp_path: Path):
    (tmp_path / "inbox").mkdir()
    table = pa.table({"payment_id": ["a"], "paid_at": [AT], "picture": [1]})
    pq.write_table(table, tmp_path / "inbox" / "2026-03-01.parquet")
    source = {"format": "parquet", "path": f"{tmp_path}/inbox/{{partition}}.parquet", "columns": COLUMNS}
    run = context(tmp_path, source=source, features={"columns": ["picture"]}, label=None, training=None)
    with pytest.raises(
        DataError, match=r"E-SCHEMA-TYPE .*column 'picture' must be image, but the file holds it as int64"
    ):
        ingest(run)


def test_a_row_refused_by_a_rule_tells_of_its_image_only_how_large_it_is():
    """The record of a quarantined row is for people, and hundreds of bytes of pixels are not."""
    rows = pa.table(
        {
            "row_id": ["a:1"],
            "source_file": ["x.csv"],
            "source_line": [2],
            "payment_id": ["p"],
            "picture": pa.array([bytes(1_024)], pa.binary()),
            "partition": ["2026-03-01"],
        }
    )
    (record,) = (
        quarantine_reader(rows, ["payment_id", "picture"], {0: ["RULE: no"]}, "").read_all()["record"].to_pylist()
    )
    assert record == '{"payment_id": "p", "picture": "1,024 bytes"}'


def test_an_image_of_a_dimension_is_joined_as_a_feature(tmp_path: Path):
    """Each card has its picture in a dimension; a card without one has none as a feature."""
    columns = {"card_id": {"type": "id"}, "picture": {"type": "image", "image": {"size": 8}}}
    cards = {"source": {"format": "csv", "path": f"{tmp_path}/cards/cards.csv", "columns": columns}, "key": ["card_id"]}
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "cards.csv").write_text("card_id,picture\nc1,one.png\nc2,\n")
    (tmp_path / "cards" / "one.png").write_bytes(plain(8, 8, 5))
    (tmp_path / "inbox").mkdir()
    lines = [f"p{number},{card},{AT},1,DE,0" for number, card in enumerate(["c2", "c1", "c3"])]
    header = "payment_id,card_id,paid_at,amount_eur,country,is_fraud"
    (tmp_path / "inbox" / "2026-03-01.csv").write_text("\n".join([header, *lines]) + "\n")
    joined = {"kind": "join", "dimension": "cards", "columns": ["picture"]}
    groups = [{"name": "card", "owner": "tests", "entity": ["card_id"], "features": [joined]}]
    run = context(tmp_path, dimensions={"cards": cards}, features={"columns": ["amount_eur"], "groups": groups})
    ingest(run)
    with run.engine("ingest") as engine:
        raw = engine.table(engine.scan(run.snapshot("raw"), [run.key]), order_by=["row_id"])
    put(run, "clean", raw.drop_columns(["source_file", "source_line"]))
    build_features(run)
    with run.engine("build_features") as engine:
        made = engine.table(engine.scan(run.snapshot("features"), [run.key]), order_by=["row_id"])
    assert made["picture"].to_pylist() == [None, bytes([5]) * 64, None]
