"""Values of features as the numbers that an estimator sees. Fitted on training rows only, stored inside the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.errors import DataError, names
from pipelines.models.imputers import Imputer
from pipelines.models.prepared_column import Column, fits, missing_values, number


@dataclass(frozen=True)
class Preprocess:
    """`transform(table)` gives an `(n_rows, n_outputs)` float matrix; NaN is a value that stayed missing.

    `one_hot`: categories become 0/1 columns (an unseen one is all zero); else codes (an unseen one is missing).
    """

    columns: tuple[Column, ...]
    one_hot: bool
    scaled: bool
    imputers: tuple[Imputer, ...] = field(default=())

    @property
    def output_names(self) -> list[str]:
        return [name for column in self.columns for name in column.outputs(self.one_hot)]

    @property
    def output_types(self) -> list[str]:
        """XGBoost's: 'c' for category codes, 'q' for quantities."""
        return [
            "c" if name == column.name and column.is_coded(self.one_hot) else "q"
            for column in self.columns
            for name in column.outputs(self.one_hot)
        ]

    def origin(self) -> list[str]:
        """The feature each output column comes from."""
        return [column.name for column in self.columns for _ in column.outputs(self.one_hot)]

    def refused(self, table: pa.Table) -> np.ndarray:
        """`(n_rows,)` True where a feature with strategy 'drop' is missing."""
        refused = np.zeros(table.num_rows, dtype=bool)
        for column in self.columns:
            if column.strategy == "drop":
                refused |= missing_values(table.column(column.name), column.type)
        return refused

    def transform(self, table: pa.Table, dtype: Any = np.float64) -> np.ndarray:
        """Raises DataError E-SCORE-SCHEMA when a feature is absent or of another type."""
        self.check(table)
        numbers = self.imputed({c.name: number(table.column(c.name)) for c in self.columns if c.type == "number"})
        result = np.empty((table.num_rows, len(self.output_names)), dtype=dtype)
        position = 0
        for column in self.columns:
            raw = table.column(column.name)
            for part in column.parts(raw, numbers.get(column.name), self.one_hot, self.scaled):
                result[:, position] = part
                position += 1
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
        """Without the imputers, which have files of their own."""
        return {
            "one_hot": self.one_hot,
            "scaled": self.scaled,
            "columns": [column.to_dict() for column in self.columns],
            "imputers": [imputer.to_dict() for imputer in self.imputers],
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any], files: Mapping[str, bytes]) -> Preprocess:
        columns = tuple(Column.from_dict(entry) for entry in saved["columns"])
        imputers = tuple(Imputer.from_dict(entry, files) for entry in saved["imputers"])
        return cls(columns, bool(saved["one_hot"]), bool(saved["scaled"]), imputers)

    def imputed(self, numbers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        filled = dict(numbers)
        for imputer in self.imputers:
            filled |= imputer.fill(numbers)
        return filled
