"""Settings of what is read: files, tables and queries, their columns and their limits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from pipelines.settings.base import Name, Settings
from pipelines.settings.dated_path import has_partition

ColumnType = Literal["id", "text", "category", "integer", "number", "boolean", "timestamp", "date", "image"]


class ImageForm(Settings):
    """What the images of a column become when they are read: squares of `size` pixels, sides in their ratio, the rest
    black. Tables hold these pixels, so that training, scoring and replay see the same without the files."""

    size: int = Field(32, ge=8, le=128, description="pixels per side")
    color: Literal["gray", "rgb"] = Field("gray", description="one column of the model per pixel, or three")
    folder: str | None = Field(
        None,
        description="local path or s3:// URL where paths start, filled in as `path` of the source; unset: the folder "
        "of the source's file, of a query the storage. No path leads out of it",
    )
    max_bytes: PositiveInt = Field(10_000_000, description="of one file; a larger one refuses the row")
    max_pixels: int = Field(40_000_000, ge=1, le=80_000_000, description="by its header; more refuse the row")

    @property
    def channels(self) -> int:
        return 1 if self.color == "gray" else 3


class Column(Settings):
    """One declared column. `id`, `text` and `category` stay as written: leading zeros and long numbers survive."""

    type: ColumnType
    required: bool = Field(False, description="a null here refuses the row at ingest")
    optional: bool = Field(False, description="may be null in every row of a partition; else that refuses it")
    source_name: str | None = Field(None, description="its name in the source; the declared name when unset")
    format: str | None = Field(
        None,
        description="strptime format of a timestamp or date; ISO 8601 when unset. Values without zone are UTC",
    )
    timezone: str | None = Field(
        None,
        description="IANA zone of timestamps without one, UTC if unset; a local time that does not exist, or exists "
        "twice when clocks change, refuses the row",
    )
    null_tokens: tuple[str, ...] | None = Field(None, description="overrides the source's null tokens")
    true_tokens: tuple[str, ...] = ("true", "1", "t", "yes")
    false_tokens: tuple[str, ...] = ("false", "0", "f", "no")
    # Left out of the digest where it is not set: other columns mean what they meant before there were images.
    image: ImageForm | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="type `image` alone: what is read of it; the defaults when unset",
    )

    @property
    def form(self) -> ImageForm:
        return self.image or ImageForm()

    @model_validator(mode="after")
    def _image_of_its_type(self) -> Column:
        if self.image and self.type != "image":
            raise ValueError(f"'image' is for columns of type 'image', got type '{self.type}'")
        return self


class Limits(Settings):
    """What a source may cost; beyond it the partition is refused with E-IN-LIMIT."""

    max_bytes: PositiveInt = Field(20_000_000_000, description="decompressed")
    max_ratio: PositiveInt = Field(200, description="decompressed bytes per compressed byte, above 100 MB")
    max_columns: PositiveInt = 2_000
    max_cell_chars: PositiveInt = 100_000
    max_records: PositiveInt = 2_000_000_000


class _Source(Settings):
    columns: dict[Name, Column] = Field(min_length=1)
    null_tokens: tuple[str, ...] = ("",)
    extra_columns: Literal["ignore", "refuse"] = "ignore"
    limits: Limits = Limits()

    @property
    def has_images(self) -> bool:
        return any(column.type == "image" for column in self.columns.values())


class FileSource(_Source):
    """Files. With `{partition}` in `path` there is one file per partition; else the one file is sliced by
    `time_column`, or dealt out, or, with neither, is a snapshot that is read whole for each partition."""

    format: Literal["csv", "jsonl", "parquet"]
    path: str = Field(
        description="local path or s3:// URL; '{partition}' and '${VARIABLE}' are filled in, '{partition:%Y%m%d}' "
        "where names have the date in another form (%Y, %m, %d, %H)"
    )
    missing: Literal["fail", "skip"] = Field("fail", description="what a partition without file or rows means")
    time_column: Name | None = Field(None, description="slices one file into partitions")
    # Left out of the digest where it is not set: other sources mean what they meant before rows could be dealt.
    dealt: bool = Field(
        False,
        exclude_if=lambda value: not value,
        description="one file whose rows have no time: each belongs to one of the partitions `start` to `end`, chosen "
        "by a digest of its key (of all columns without one), so that a model is judged on rows it never saw",
    )
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    quote: Annotated[str, Field(min_length=1, max_length=1)] | None = '"'
    encoding: Literal["utf-8", "latin-1", "cp1252", "utf-16"] = "utf-8"
    header: bool = Field(True, description="false: fields are the declared columns in order")

    @model_validator(mode="after")
    def _one_way_to_slice(self) -> FileSource:
        if self.time_column and has_partition(self.path):
            raise ValueError("'time_column' slices one file; leave it out when 'path' holds '{partition}'")
        if self.dealt and (self.time_column or has_partition(self.path)):
            raise ValueError("'dealt' is for one file without time; leave it out with 'time_column' or '{partition}'")
        if self.time_column and self.time_column not in self.columns:
            raise ValueError(f"'time_column' must be a declared column, got '{self.time_column}'")
        return self


class SqlSource(_Source):
    """One query through SQLAlchemy; `:partition_start` and `:partition_end` (UTC) are bound, never pasted in."""

    format: Literal["sql"]
    url: str = Field(description="SQLAlchemy URL; secrets only as '${VARIABLE}'")
    query: str
    missing: Literal["fail", "skip"] = "fail"


Source = Annotated[FileSource | SqlSource, Field(discriminator="format")]


class LabelSource(Settings):
    """Labels that arrive apart from the rows, joined one to one on the pipeline's key."""

    source: Source
    column: Name


class Dimension(Settings):
    """A slowly changing table: each row of an entity holds from `valid_from` until its next row.

    Read whole (a snapshot) at each ingest; joined as of the event's time.
    """

    source: FileSource
    key: tuple[Name, ...] = Field(min_length=1)
    valid_from: Name | None = Field(None, description="unset: one row per key, valid always")
