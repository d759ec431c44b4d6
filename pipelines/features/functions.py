"""Reviewed functions from `config/features/<module>.py`: loaded by path, checked for what they promised."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import ibis
import ibis.expr.types as ir

from pipelines.engine import Engine
from pipelines.errors import ConfigError, DataError, names, quote, without_values
from pipelines.settings.features import FunctionFeature

TableFunction = Callable[[ir.Table], ir.Table]


def module_path(config: Path, module: str) -> Path:
    return config / "features" / f"{module}.py"


def module_digest(config: Path, module: str) -> str:
    """sha256 of the module's bytes, 16 hex digits: other code makes other features.

    Raises:
        ConfigError: E-FEATURE-FUNCTION when the file does not exist.
    """
    path = module_path(config, module)
    if not path.is_file():
        raise ConfigError("E-FEATURE-FUNCTION", str(path), "the module of a feature function does not exist")
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def load_function(config: Path, module: str, function: str) -> TableFunction:
    """The function, from a module that is executed anew and not entered into `sys.modules`.

    From the text itself, never from cached bytecode: Python takes that for fresh when an edited file has the same size
    and second as before, and the features would then be others than their digest says.
    """
    path = module_path(config, module)
    module_digest(config, module)
    loaded = ModuleType(f"nightshift_features_{module}")
    loaded.__file__ = str(path)
    try:
        exec(compile(path.read_bytes(), path, "exec"), vars(loaded))
    except Exception as error:
        raise ConfigError("E-FEATURE-FUNCTION", str(path), f"the module cannot be imported: {error!r}") from error
    found = getattr(loaded, function, None)
    if not callable(found):
        raise ConfigError("E-FEATURE-FUNCTION", str(path), f"the module has no function {quote(function)}")
    return found


def function_columns(
    engine: Engine, rows: ir.Table, feature: FunctionFeature, call: TableFunction, where: str
) -> ir.Table:
    """`row_id` and the promised columns, one row per row of `rows`; numbers as float64, categories as text.

    Raises:
        DataError: E-FEATURE-FUNCTION when the result has other columns or other rows than promised.
    """
    place = f"{where} {feature.module}.{feature.function}"
    try:
        result = call(rows)
    except Exception as error:
        what = f"the function raised {without_values(error)}"
        raise DataError("E-FEATURE-FUNCTION", place, what, "Nothing was published. Mend the function.") from error
    if not isinstance(result, ir.Table):
        raise DataError("E-FEATURE-FUNCTION", place, f"the result must be an Ibis table, got {type(result).__name__}")
    _check_columns(rows, result, feature, place)
    made = engine.materialize(
        result.select("row_id", **{name: _typed(result[name], name, feature, place) for name in feature.columns})
    )
    _check_rows(engine, rows, made, place)
    return made


def _check_columns(rows: ir.Table, result: ir.Table, feature: FunctionFeature, place: str) -> None:
    missing = [name for name in [*rows.columns, *feature.columns] if name not in result.columns]
    extra = [name for name in result.columns if name not in {*rows.columns, *feature.columns}]
    if missing or extra:
        problem = f"lacks {names(missing)}" if missing else f"has {names(extra)} beside them"
        raise DataError(
            "E-FEATURE-FUNCTION",
            place,
            f"the result must have the given columns and {names(feature.columns)}, but it {problem}",
            "Return the given table with exactly the columns that the group lists.",
        )


def _check_rows(engine: Engine, rows: ir.Table, made: ir.Table, place: str) -> None:
    """Same number of rows, each id once, no other ids."""
    counts = engine.table(made.aggregate(rows=made.count(), ids=made.row_id.nunique())).to_pylist()[0]
    wanted = engine.count(rows)
    strangers = engine.count(made.anti_join(rows, "row_id"))
    if counts["rows"] != wanted or counts["ids"] != wanted or strangers:
        raise DataError(
            "E-FEATURE-FUNCTION",
            place,
            f"the result must hold the same {wanted} rows, got {counts['rows']} rows with {counts['ids']} row ids, "
            f"{strangers} of them unknown",
            "Join many to one and filter nothing.",
        )


def _typed(column: ir.Value, name: str, feature: FunctionFeature, place: str) -> ir.Value:
    if name in (*feature.categories, *feature.texts):
        return column.cast("string")
    if column.type().is_boolean():
        return column.cast("int64").cast("float64")
    if not column.type().is_numeric() and not column.type().is_null():
        what = f"column '{name}' must be a number, got {column.type()}"
        raise DataError("E-FEATURE-FUNCTION", place, what, "List it under 'categories' or 'texts' if it holds text.")
    return column.cast(ibis.dtype("float64"))
