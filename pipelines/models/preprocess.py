"""Values of features as the numbers that an estimator sees. Fitted on training rows only, stored inside the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from pipelines.errors import DataError, names
from pipelines.models.imputers import Imputer
from pipelines.models.prepared_column import Column, fits, missing_values, number
from pipelines.models.projection import FILE as PROJECTION
from pipelines.models.projection import Projection
from pipelines.settings.preparation import Scale

_T = TypeVar("_T")


@dataclass(frozen=True)
class Preprocess:
    """`transform(table)` gives an `(n_rows, n_outputs)` float matrix; NaN is a value that stayed missing.

    `one_hot`: categories become 0/1 columns (an unseen one is all zero); else codes (an unseen one is missing).
    Features are encoded and scaled; of these columns those at `kept` go on, and `projection` makes fewer of them.
    `facts` tell how it was learnt; they are kept with the model's.
    """

    columns: tuple[Column, ...]
    one_hot: bool
    scaled: bool
    imputers: tuple[Imputer, ...] = field(default=())
    scale: Scale = "standard"
    kept: tuple[int, ...] | None = None
    projection: Projection | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def encoded_names(self) -> list[str]:
        """Of all columns before selection and projection."""
        return [name for column in self.columns for name in column.outputs(self.one_hot)]

    @property
    def selected_names(self) -> list[str]:
        return self._selected(self.encoded_names)

    @property
    def output_names(self) -> list[str]:
        if self.projection is None:
            return self.selected_names
        return [*(self.selected_names if self.projection.settings.keep_inputs else []), *self.projection.names]

    @property
    def output_types(self) -> list[str]:
        """XGBoost's: 'c' for category codes, 'q' for quantities."""
        if self.projection is not None:
            return ["q"] * len(self.output_names)
        return self._selected(
            [
                "c" if name == column.name and column.is_coded(self.one_hot) else "q"
                for column in self.columns
                for name in column.outputs(self.one_hot)
            ]
        )

    @property
    def encoded_origin(self) -> list[str]:
        """The feature that each encoded column comes from."""
        return [column.name for column in self.columns for _ in column.outputs(self.one_hot)]

    def origin(self) -> list[str]:
        """The feature that each selected column comes from; without a projection these are the outputs."""
        return self._selected(self.encoded_origin)

    def by_feature(self, weights: np.ndarray) -> dict[str, float]:
        """Weights of the outputs `(n_outputs,)` added up by feature; a component's are shared out by its loadings."""
        if self.projection is not None:
            shared = weights[-self.projection.settings.components :] @ self.projection.shares()
            weights = shared + (weights[: len(shared)] if self.projection.settings.keep_inputs else 0.0)
        totals = dict.fromkeys((column.name for column in self.columns), 0.0)
        for name, weight in zip(self.origin(), weights, strict=True):
            totals[name] += float(weight)
        return totals

    def pulled_back(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """A linear function of the outputs as one of the encoded columns; None when a component is no sum of them.

        `weights` is `(n, n_outputs)`; returns `(n, n_encoded)`, 0 where a column was not selected, and what is added
        `(n,)`.
        """
        added = np.zeros(len(weights))
        if self.projection is not None:
            if self.projection.matrix is None:
                return None
            components = weights[:, -self.projection.settings.components :]
            added = components @ self.projection.arrays["offset_0"]
            of_inputs = components @ self.projection.matrix
            keeps = self.projection.settings.keep_inputs
            weights = of_inputs + weights[:, : of_inputs.shape[1]] if keeps else of_inputs
        if self.kept is None:
            return weights, added
        found = np.zeros((len(weights), len(self.encoded_names)))
        found[:, list(self.kept)] = weights
        return found, added

    def refused(self, table: pa.Table) -> np.ndarray:
        """`(n_rows,)` True where a feature with strategy 'drop' is missing."""
        refused = np.zeros(table.num_rows, dtype=bool)
        for column in self.columns:
            if column.strategy == "drop":
                refused |= missing_values(table.column(column.name), column.type)
        return refused

    def transform(self, table: pa.Table, dtype: Any = np.float64) -> np.ndarray:
        """Raises DataError E-SCORE-SCHEMA when a feature is absent or of another type."""
        if self.projection is None:
            encoded = self.encode(table, dtype)
            return encoded if self.kept is None else np.ascontiguousarray(encoded[:, list(self.kept)])
        encoded = self.encode(table)
        inputs = encoded if self.kept is None else encoded[:, list(self.kept)]
        components = self.projection.apply(inputs)
        if self.projection.settings.keep_inputs:
            components = np.column_stack([inputs, components])
        return components.astype(dtype, copy=False)

    def encode(self, table: pa.Table, dtype: Any = np.float64) -> np.ndarray:
        """`(n_rows, n_encoded)`: every feature encoded and scaled, before selection and projection."""
        self.check(table)
        numbers = self.imputed({c.name: number(table.column(c.name)) for c in self.columns if c.type == "number"})
        result = np.empty((table.num_rows, len(self.encoded_names)), dtype=dtype)
        position = 0
        for column in self.columns:
            for part in column.parts(table, numbers.get(column.name), self.one_hot, self.scaled):
                width = 1 if part.ndim == 1 else part.shape[1]
                result[:, position : position + width] = part.reshape(len(part), width)
                position += width
        return result

    def check(self, table: pa.Table) -> None:
        # Looked up once: a table's own lookup by name goes through all its columns.
        found = {field.name: field.type for field in table.schema}
        absent = [column.name for column in self.columns if column.name not in found]
        wrong = [
            f"{column.name} ({found[column.name]}, trained as {column.type})"
            for column in self.columns
            if column.name in found and not fits(found[column.name], column.type)
        ]
        if absent or wrong:
            what = f"the model needs the features {names(absent)}" if absent else f"features changed: {names(wrong)}"
            raise DataError("E-SCORE-SCHEMA", "features", what, "Rebuild the features, or retrain and promote a model.")

    def to_dict(self) -> dict[str, Any]:
        """Without what lies in files of its own. Only what was asked for is named."""
        return {
            "one_hot": self.one_hot,
            "scaled": self.scaled,
            "columns": [column.to_dict() for column in self.columns],
            "imputers": [imputer.to_dict() for imputer in self.imputers],
            **({"scale": self.scale} if self.scale != "standard" else {}),
            **({"kept": list(self.kept)} if self.kept is not None else {}),
            **({"projection": self.projection.to_dict()} if self.projection is not None else {}),
        }

    def to_files(self) -> dict[str, bytes]:
        """The imputers and the projection."""
        files = {imputer.file: imputer.to_bytes() for imputer in self.imputers}
        return files if self.projection is None else {**files, PROJECTION: self.projection.to_bytes()}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any], files: Mapping[str, bytes]) -> Preprocess:
        columns = tuple(Column.from_dict(entry) for entry in saved["columns"])
        imputers = tuple(Imputer.from_dict(entry, files) for entry in saved["imputers"])
        return cls(
            columns,
            bool(saved["one_hot"]),
            bool(saved["scaled"]),
            imputers,
            scale=saved.get("scale", "standard"),
            kept=tuple(saved["kept"]) if "kept" in saved else None,
            projection=Projection.from_dict(saved["projection"], files) if "projection" in saved else None,
        )

    def _selected(self, values: list[_T]) -> list[_T]:
        return values if self.kept is None else [values[place] for place in self.kept]

    def imputed(self, numbers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        filled = dict(numbers)
        for imputer in self.imputers:
            filled |= imputer.fill(numbers)
        return filled
