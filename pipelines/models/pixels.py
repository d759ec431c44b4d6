"""Images as numbers: each pixel a column from 0 (black) to 1."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import DataError, ModelError

_CHANNELS = {1: ("",), 3: (",r", ",g", ",b")}


@dataclass(frozen=True)
class Pixels:
    """Squares of `size * size` pixels with 1 or 3 `channels`, stored row by row, the channels of a pixel together."""

    size: int
    channels: int

    @classmethod
    def of(cls, name: str, column: pa.ChunkedArray) -> Pixels:
        """The form of the images of the training rows.

        Raises:
            ModelError: E-TRAIN-IMAGE when there is none, or when they have different forms.
        """
        lengths = pc.unique(pc.binary_length(column)).drop_null().to_pylist()
        if not lengths:
            raise ModelError("E-TRAIN-IMAGE", f"feature '{name}'", f"none of {len(column):,} rows has an image")
        if len(lengths) > 1:
            what = f"its images have different numbers of bytes: {sorted(lengths)[:5]}"
            fix = "'image' of the column was changed: ingest and build the features of these partitions again."
            raise ModelError("E-TRAIN-IMAGE", f"feature '{name}'", what, fix)
        return cls.of_length(int(lengths[0]))

    @classmethod
    def of_length(cls, length: int) -> Pixels:
        """A square with three channels never has as many bytes as one with a single channel: 3 is no square."""
        channels = 1 if math.isqrt(length) ** 2 == length else 3
        return cls(math.isqrt(length // channels), channels)

    @classmethod
    def from_dict(cls, saved: Mapping[str, int]) -> Pixels:
        return cls(int(saved["size"]), int(saved["channels"]))

    def to_dict(self) -> dict[str, int]:
        return asdict(self)

    @property
    def length(self) -> int:
        return self.size * self.size * self.channels

    def names(self, name: str) -> list[str]:
        places = range(self.size)
        return [f"{name}~{row},{column}{mark}" for row in places for column in places for mark in self._marks]

    def values(self, name: str, column: pa.ChunkedArray) -> np.ndarray:
        """`(n_rows, length)` float32; NaN in the rows without an image.

        Raises:
            DataError: E-SCORE-SCHEMA when an image has another form.
        """
        result = np.full((len(column), self.length), np.nan, dtype=np.float32)
        present = pc.is_valid(column).to_numpy().astype(bool)
        found = column.drop_null()
        if len(found):
            if pc.unique(pc.binary_length(found)).to_pylist() != [self.length]:
                what = f"the model was trained on images of {self.size} x {self.size} x {self.channels} bytes"
                fix = "Rebuild the features with that form, or retrain and promote a model."
                raise DataError("E-SCORE-SCHEMA", f"feature '{name}'", what, fix)
            content = b"".join(found.to_pylist())
            result[present] = np.frombuffer(content, np.uint8).reshape(-1, self.length) / np.float32(255)
        return result

    @property
    def _marks(self) -> tuple[str, ...]:
        return _CHANNELS[self.channels]
