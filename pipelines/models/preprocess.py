"""Values of features as the numbers that an estimator sees. Fitted on training rows only, stored inside the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import DataError, ModelError, names
from pipelines.models.imputers import Imputer, fit_imputer
from pipelines.settings.training import Constant, Drop, Fitted, Iterative, Missing, Native, Neighbours

# Beyond these the rarest categories count as unseen: a leaked id must not grow the model without bound.
MOST_CATEGORIES_NATIVE = 1_000
MOST_CATEGORIES_ONE_HOT = 50
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Column:
    """How one feature is prepared. `fill` replaces missing values (a number, or a category); None leaves them."""

    name: str
    type: str
    strategy: str
    fill: float | str | None = None
    indicator: bool = False
    categories: tuple[str, ...] = ()
    mean: float = 0.0
    scale: float = 1.0


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
        return [name for column in self.columns for name in self._outputs(column)]

    @property
    def output_types(self) -> list[str]:
        """XGBoost's: 'c' for category codes, 'q' for quantities."""
        return ["c" if name in self._coded() else "q" for name in self.output_names]

    def origin(self) -> list[str]:
        """The feature each output column comes from."""
        return [column.name for column in self.columns for _ in self._outputs(column)]

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
        numbers = self._imputed({c.name: number(table.column(c.name)) for c in self.columns if c.type == "number"})
        result = np.empty((table.num_rows, len(self.output_names)), dtype=dtype)
        position = 0
        for column in self.columns:
            values = numbers[column.name] if column.type == "number" else _text(table.column(column.name))
            for part in self._parts(column, values, table.column(column.name)):
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
            if column.name in found and not _fits(found[column.name], column.type)
        ]
        if absent or wrong:
            what = f"the model needs the features {names(absent)}" if absent else f"features changed: {names(wrong)}"
            raise DataError("E-SCORE-SCHEMA", "features", what, "Rebuild the features, or retrain and promote a model.")

    def to_dict(self) -> dict[str, Any]:
        """Without the imputers, which have files of their own."""
        return {
            "one_hot": self.one_hot,
            "scaled": self.scaled,
            "columns": [{**vars(column), "categories": list(column.categories)} for column in self.columns],
            "imputers": [imputer.to_dict() for imputer in self.imputers],
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any], files: Mapping[str, bytes]) -> Preprocess:
        columns = tuple(Column(**{**entry, "categories": tuple(entry["categories"])}) for entry in saved["columns"])
        imputers = tuple(Imputer.from_dict(entry, files) for entry in saved["imputers"])
        return cls(columns, bool(saved["one_hot"]), bool(saved["scaled"]), imputers)

    def _outputs(self, column: Column) -> list[str]:
        own = [column.name]
        if column.type == "category" and self.one_hot:
            own = [f"{column.name}={category}" for category in column.categories]
        return own + ([f"{column.name} is missing"] if column.indicator else [])

    def _coded(self) -> set[str]:
        return set() if self.one_hot else {column.name for column in self.columns if column.type == "category"}

    def _imputed(self, numbers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        filled = dict(numbers)
        for imputer in self.imputers:
            filled |= imputer.fill(numbers)
        return filled

    def _parts(self, column: Column, values: Any, raw: pa.ChunkedArray) -> list[np.ndarray]:
        missing = missing_values(raw, column.type) if column.indicator else None
        parts = [self._number(column, values)] if column.type == "number" else self._category(column, values)
        return parts if missing is None else [*parts, missing.astype(float)]

    def _number(self, column: Column, values: np.ndarray) -> np.ndarray:
        if isinstance(column.fill, float):
            values = np.where(np.isnan(values), column.fill, values)
        return (values - column.mean) / column.scale if self.scaled else values

    def _category(self, column: Column, values: pa.ChunkedArray) -> list[np.ndarray]:
        if column.fill is not None:
            values = pc.fill_null(values, str(column.fill))
        known = pa.array(column.categories, pa.string())
        codes = pc.index_in(values, value_set=known).cast(pa.float64()).to_numpy(zero_copy_only=False)
        if not self.one_hot:
            return [codes]
        return [(codes == index).astype(float) for index in range(len(column.categories))]


def fit_preprocess(
    table: pa.Table,
    types: Mapping[str, str],
    missing: Mapping[str, Missing],
    *,
    one_hot: bool,
    scaled: bool,
    takes_missing: bool,
    seed: int,
) -> Preprocess:
    """Learns fills, categories and scales from the training rows `table`.

    `takes_missing` says whether the estimator itself copes with gaps. Where it does not, gaps that forward fill
    left are filled with the median, and 'native' with gaps is refused.

    Raises:
        ModelError: E-TRAIN-MISSING names a feature whose gaps nobody handles.
    """
    settings = {name: missing.get(name) or missing.get("default") or Native() for name in types}
    usable = {name: number(table.column(name)) for name, kind in types.items() if kind == "number"}
    columns = []
    for name, kind in types.items():
        setting = settings[name]
        if kind == "category":
            column = _fit_category(name, table.column(name), setting, one_hot)
        else:
            column = _fit_number(name, usable[name], setting, takes_missing)
        columns.append(column)
    imputers = _fit_imputers(usable, settings, seed)
    draft = Preprocess(tuple(columns), one_hot, scaled, imputers)
    return _with_scales(draft, usable) if scaled else draft


def number(column: pa.ChunkedArray) -> np.ndarray:
    """Float64 values; null and infinity become NaN, and magnitudes stay within what 32 bits hold."""
    values = column.cast(pa.float64()) if not pa.types.is_boolean(column.type) else column.cast(pa.int8())
    array = values.cast(pa.float64()).to_numpy().astype(np.float64, copy=True)
    array[~np.isfinite(array)] = np.nan
    return np.clip(array, -_LARGEST, _LARGEST, out=array)


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string())


def missing_values(column: pa.ChunkedArray, kind: str) -> np.ndarray:
    """`(n_rows,)` True where there is no value; NaN and infinity are none."""
    if kind == "number":
        return np.isnan(number(column))
    return pc.is_null(column).to_numpy(zero_copy_only=False)


def _fits(found: pa.DataType, kind: str) -> bool:
    numeric = pa.types.is_integer(found) or pa.types.is_floating(found) or pa.types.is_boolean(found)
    return numeric if kind == "number" else not pa.types.is_floating(found)


def _fit_number(name: str, values: np.ndarray, setting: Missing, takes_missing: bool) -> Column:
    present = values[~np.isnan(values)]
    indicator = bool(getattr(setting, "indicator", False))
    column = Column(name, "number", setting.strategy, indicator=indicator)
    if isinstance(setting, Constant):
        return Column(**{**vars(column), "fill": float(setting.value)})
    if isinstance(setting, Fitted):
        return Column(**{**vars(column), "fill": _typical(present, setting.strategy)})
    if setting.strategy == "forward_fill" and not takes_missing:
        return Column(**{**vars(column), "fill": _typical(present, "median")})
    if setting.strategy == "native" and not takes_missing and len(present) < len(values):
        raise ModelError(
            "E-TRAIN-MISSING",
            f"feature '{name}'",
            f"{len(values) - len(present)} of {len(values)} training values are missing and this estimator takes none",
            f"Set training.missing.{name} (or 'default') to median, constant, ..., or use XGBoost.",
        )
    return column


def _fit_category(name: str, column: pa.ChunkedArray, setting: Missing, one_hot: bool) -> Column:
    counts = sorted(
        (
            (str(entry["values"]), int(entry["counts"]))
            for entry in _text(column).drop_null().value_counts().to_pylist()
        ),
        key=lambda pair: (-pair[1], pair[0]),
    )
    most = MOST_CATEGORIES_ONE_HOT if one_hot else MOST_CATEGORIES_NATIVE
    known = {category for category, _count in counts[:most]}
    fill = None
    if isinstance(setting, Constant):
        fill = str(setting.value)
        known.add(fill)
    elif isinstance(setting, Fitted) and counts:
        fill = counts[0][0]
    indicator = bool(getattr(setting, "indicator", False))
    return Column(name, "category", setting.strategy, fill, indicator, tuple(sorted(known)))


def _typical(present: np.ndarray, strategy: str) -> float:
    """Zero for a feature without any value: it then carries no information either way."""
    if not len(present):
        return 0.0
    if strategy == "mean":
        return float(np.mean(present))
    if strategy == "median":
        return float(np.median(present))
    values, counts = np.unique(present, return_counts=True)
    return float(values[np.argmax(counts)])


def _fit_imputers(usable: Mapping[str, np.ndarray], settings: Mapping[str, Missing], seed: int) -> tuple[Imputer, ...]:
    groups: dict[str, tuple[Neighbours | Iterative, list[str]]] = {}
    for name in usable:
        setting = settings[name]
        if isinstance(setting, Neighbours | Iterative):
            key = setting.model_copy(update={"indicator": False}).model_dump_json()
            groups.setdefault(key, (setting, []))[1].append(name)
    dropped = [name for name in usable if isinstance(settings[name], Drop)]
    context = {name: values for name, values in usable.items() if name not in dropped}
    return tuple(
        fit_imputer(index, setting, targets, context, seed)
        for index, (_key, (setting, targets)) in enumerate(sorted(groups.items()))
    )


def _with_scales(draft: Preprocess, usable: Mapping[str, np.ndarray]) -> Preprocess:
    """Standardises numbers by the mean and deviation of the filled training values; a constant keeps scale 1."""
    filled = draft._imputed(dict(usable))
    columns = []
    for column in draft.columns:
        if column.type == "number":
            values = filled[column.name]
            if isinstance(column.fill, float):
                values = np.where(np.isnan(values), column.fill, values)
            present = values[~np.isnan(values)]
            mean = float(np.mean(present)) if len(present) else 0.0
            deviation = float(np.std(present)) if len(present) else 0.0
            scale = deviation if deviation > 1e-12 * max(1.0, abs(mean)) else 1.0
            column = Column(**{**vars(column), "mean": mean, "scale": scale})
        columns.append(column)
    return Preprocess(tuple(columns), draft.one_hot, draft.scaled, draft.imputers)
