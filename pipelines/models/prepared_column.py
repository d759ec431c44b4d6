"""One feature as the numbers of a model: filled, scaled, encoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.models.categories import CategoryEncoder
from pipelines.models.pixels import Pixels
from pipelines.models.texts import TextEncoder

_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Column:
    """How one feature is prepared. `fill` replaces missing values (a number, or a text); None leaves them."""

    name: str
    type: str
    strategy: str
    fill: float | str | None = None
    indicator: bool = False
    categories: tuple[str, ...] = ()
    mean: float = 0.0
    scale: float = 1.0
    encoder: TextEncoder | CategoryEncoder | None = None
    pixels: Pixels | None = None

    def outputs(self, one_hot: bool) -> list[str]:
        """Names of the columns that the model sees of it."""
        own = [self.name]
        if self.encoder is not None:
            own = self.encoder.names(self.name)
        elif self.pixels is not None:
            own = self.pixels.names(self.name)
        elif self.type == "category" and one_hot:
            own = [f"{self.name}={category}" for category in self.categories]
        return own + ([f"{self.name} is missing"] if self.indicator else [])

    def is_coded(self, one_hot: bool) -> bool:
        """Whether its one column holds numbers of categories."""
        return self.type == "category" and not one_hot and self.encoder is None

    def with_encoder(self, encoder: TextEncoder | CategoryEncoder) -> Column:
        """The encoder knows the categories."""
        return replace(self, encoder=encoder, categories=())

    def parts(self, table: pa.Table, numbers: np.ndarray | None, one_hot: bool, scaled: bool) -> list[np.ndarray]:
        """Arrays `(n_rows,)` for one output or `(n_rows, n)` for several.

        `numbers`: the values of a number, gaps filled as imputers fill them.
        """
        raw = table.column(self.name)
        if numbers is not None:
            parts = [self._number(numbers, scaled)]
        elif self.pixels is not None:
            parts = [self.pixels.values(self.name, raw)]
        elif self.encoder is not None:
            parts = [self.encoded(table)]
        else:
            parts = self._category(self.filled(raw), one_hot)
        return [*parts, missing_values(raw, self.type).astype(float)] if self.indicator else parts

    def encoded(self, table: pa.Table) -> np.ndarray:
        """`(n_rows, n_columns)` of the encoder; of training rows what the other folds say, where the table holds it."""
        if isinstance(self.encoder, CategoryEncoder):
            unseen = out_of_fold_names(self)
            if unseen[0] in table.schema.names:
                return self.encoder.scaled(np.column_stack([table.column(name).to_numpy() for name in unseen]))
        if self.encoder is None:
            raise TypeError(f"'{self.name}' has no encoder")
        return self.encoder.transform(self.filled(table.column(self.name)))

    def filled(self, raw: pa.ChunkedArray) -> pa.ChunkedArray:
        """The texts, a missing one replaced where the settings say by what."""
        values = text(raw)
        return values if self.fill is None else pc.fill_null(values, str(self.fill))

    def to_dict(self) -> dict[str, Any]:
        saved = {**vars(self), "categories": list(self.categories)}
        encoder = saved.pop("encoder")
        pixels = saved.pop("pixels")
        saved |= {} if pixels is None else {"pixels": pixels.to_dict()}
        return saved if encoder is None else {**saved, "encoder": encoder.to_dict()}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Column:
        encoder = _encoder(saved["encoder"]) if "encoder" in saved else None
        pixels = Pixels.from_dict(saved["pixels"]) if "pixels" in saved else None
        return cls(**{**saved, "categories": tuple(saved["categories"]), "encoder": encoder, "pixels": pixels})

    def _number(self, values: np.ndarray, scaled: bool) -> np.ndarray:
        if isinstance(self.fill, float):
            values = np.where(np.isnan(values), self.fill, values)
        return (values - self.mean) / self.scale if scaled else values

    def _category(self, values: pa.ChunkedArray, one_hot: bool) -> list[np.ndarray]:
        known = pa.array(self.categories, pa.string())
        codes = pc.index_in(values, value_set=known).cast(pa.float64()).to_numpy(zero_copy_only=False)
        if not one_hot:
            return [codes]
        return [(codes == index).astype(float) for index in range(len(self.categories))]


def out_of_fold_names(column: Column) -> list[str]:
    """Columns of prepared training rows; no feature can be called so."""
    return [] if column.encoder is None else [f"{name} out of fold" for name in column.encoder.names(column.name)]


def _encoder(saved: Mapping[str, Any]) -> TextEncoder | CategoryEncoder:
    kind = TextEncoder if saved["settings"]["encoder"] in ("tfidf", "hashing") else CategoryEncoder
    return kind.from_dict(saved)


def number(column: pa.ChunkedArray) -> np.ndarray:
    """Float64 values; null and infinity become NaN, and magnitudes stay within what 32 bits hold."""
    values = column.cast(pa.float64()) if not pa.types.is_boolean(column.type) else column.cast(pa.int8())
    array = values.cast(pa.float64()).to_numpy().astype(np.float64, copy=True)
    array[~np.isfinite(array)] = np.nan
    return np.clip(array, -_LARGEST, _LARGEST, out=array)


def text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string())


def missing_values(column: pa.ChunkedArray, kind: str) -> np.ndarray:
    """`(n_rows,)` True where there is no value; NaN and infinity are none."""
    if kind == "number":
        return np.isnan(number(column))
    return pc.is_null(column).to_numpy(zero_copy_only=False)


def fits(found: pa.DataType, kind: str) -> bool:
    """Whether a column of this type can hold such a feature."""
    if kind == "image":
        return pa.types.is_binary(found) or pa.types.is_large_binary(found)
    numeric = pa.types.is_integer(found) or pa.types.is_floating(found) or pa.types.is_boolean(found)
    return numeric if kind == "number" else not pa.types.is_floating(found)
