"""Columns that hold images: the bytes of a file, or a path below one folder. Each is read once and kept as pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

import pyarrow as pa

from pipelines.context import Context
from pipelines.errors import DataError, quote
from pipelines.ingest.acquire import open_regular
from pipelines.ingest.locate import location
from pipelines.ingest.records import Failures, shape
from pipelines.ingest.text_types import Unfit
from pipelines.settings.source import Column, FileSource, ImageForm, SqlSource

_LONGEST_PATH = 1_000
_REMOTE_AT_ONCE = 16  # a store answers in milliseconds, and each image is a request


@dataclass
class _Named:
    """How many images were named by a path, and how many of them were not there."""

    paths: int = 0
    absent: int = 0


class ImageReader:
    """Casts the cells of image columns; `folders` says where the paths of each column start."""

    def __init__(self, folders: dict[str, str], where: str) -> None:
        self._folders, self._where = folders, where
        self._named = {name: _Named() for name in folders}

    @classmethod
    def of(cls, source: FileSource | SqlSource, context: Context) -> ImageReader | None:
        """None for a source without images."""
        columns = {name: column for name, column in source.columns.items() if column.type == "image"}
        folders = {name: _folder(source, column.form, context) for name, column in columns.items()}
        return cls(folders, context.where) if folders else None

    def cast(self, cells: Any, name: str, column: Column, tokens: tuple[str, ...]) -> tuple[pa.Array, Failures]:
        """The pixels of each cell, null where there is none or where it was refused, and what was refused."""
        from pipelines.ingest.image_pixels import pixels  # brings Pillow, which few sources need

        values: list[bytes | None] = []
        failures: Failures = {}
        listed = [None if isinstance(cell, str) and cell in tokens else cell for cell in _listed(cells)]
        for row, found in enumerate(self._contents(listed, name, column)):
            try:
                values.append(None if found is None else pixels(_or_raise(found), column.form))
            except Unfit as unfit:
                failures[row] = f"{unfit.code}: '{name}' {unfit.what}"
                values.append(None)
        return pa.array(values, pa.binary()), failures

    def check(self) -> None:
        """Raises DataError E-IN-IMAGES when not one of the named images was there: they were not delivered."""
        for name, found in self._named.items():
            if found.paths and found.absent == found.paths:
                raise DataError(
                    "E-IN-IMAGES",
                    self._where,
                    f"none of the {found.paths:,} images that '{name}' names lies below {quote(self._folders[name])}",
                    "Nothing was published. Deliver them, or correct 'image.folder'.",
                    repeat="ingest",
                )

    def _contents(self, cells: list[Any], name: str, column: Column) -> Iterator[bytes | Unfit | None]:
        folder, named = self._folders[name], self._named[name]
        read = _remote if folder.startswith("s3://") else _local

        def content(cell: Any) -> bytes | Unfit | None:
            try:
                return _bytes(cell, lambda path: read(folder, path, column.form.max_bytes, self._where))
            except Unfit as unfit:
                return unfit

        for cell, found in zip(cells, _mapped(content, cells, folder), strict=True):
            named.paths += isinstance(cell, str)
            named.absent += isinstance(found, Unfit) and found.code == "IMAGE_ABSENT"
            yield found


def _mapped(
    content: Callable[[Any], bytes | Unfit | None], cells: list[Any], folder: str
) -> Iterable[bytes | Unfit | None]:
    if not folder.startswith("s3://"):
        yield from map(content, cells)
        return
    with ThreadPoolExecutor(_REMOTE_AT_ONCE) as pool:
        for start in range(0, len(cells), _REMOTE_AT_ONCE):  # so that few images are in memory at once
            yield from pool.map(content, cells[start : start + _REMOTE_AT_ONCE])


def _folder(source: FileSource | SqlSource, form: ImageForm, context: Context) -> str:
    if form.folder is not None:
        return location(form.folder, context)
    if isinstance(source, FileSource):
        return location(source.path, context).rpartition("/")[0]
    return context.home.storage


def _listed(cells: Any) -> list[Any]:
    if isinstance(cells, list):
        return cells
    if isinstance(cells, pa.Array | pa.ChunkedArray):
        listed: list[Any] = cells.to_pylist()
        return listed
    raise TypeError(f"cells of an image column: {type(cells)}")


def _or_raise(found: bytes | Unfit) -> bytes:
    if isinstance(found, Unfit):
        raise found
    return found


def _bytes(cell: Any, read: Callable[[str], bytes]) -> bytes | None:
    """Raises Unfit for a cell that is neither, a path that leads elsewhere, and a file that cannot be had."""
    if cell is None:
        return None
    if isinstance(cell, bytes | bytearray | memoryview):
        return bytes(cell)
    if not isinstance(cell, str):
        raise Unfit("TYPE", f"must be an image or the path of one, got {shape(cell)}")
    parts = PurePosixPath(cell).parts
    is_odd = len(cell) > _LONGEST_PATH or "\\" in cell or "://" in cell or "\0" in cell
    if not parts or cell.startswith("/") or ".." in parts or is_odd:
        raise Unfit("IMAGE_PATH", f"must be a path below the images' folder, got {shape(cell)}")
    return read("/".join(parts))


def _local(folder: str, path: str, most: int, where: str) -> bytes:
    base = Path(folder)
    place = base / path
    if not place.parent.resolve().is_relative_to(base.resolve()):
        raise Unfit("IMAGE_PATH", "must be a path below the images' folder, but a link leads out of it")
    try:
        handle = open_regular(place, where)
    except DataError as error:
        raise Unfit("IMAGE_PATH", "must name a regular file, got a link, folder or device") from error
    if handle is None:
        raise _absent()
    with handle:
        return handle.read(most + 1)


def _remote(folder: str, path: str, most: int, where: str) -> bytes:
    from pipelines.storage.s3 import read_start

    place = urlparse(folder)
    key = f"{place.path.strip('/')}/{path}".lstrip("/")
    content = read_start(place.netloc, key, most + 1, where)
    if content is None:
        raise _absent()
    return content


def _absent() -> Unfit:
    return Unfit("IMAGE_ABSENT", "names a file that is not there")
