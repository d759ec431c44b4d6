"""Finds the declared columns among the names of a source, or refuses the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pipelines.errors import DataError, did_you_mean, names, quote, shapes
from pipelines.settings.source import FileSource, SqlSource

_FIX = "Nothing was published. Fix the file."


def spelled(source: FileSource | SqlSource) -> dict[str, str]:
    """Declared column name -> its name in the source."""
    return {name: column.source_name or name for name, column in source.columns.items()}


def match_columns(found: Sequence[str], source: FileSource | SqlSource, where: str) -> dict[str, int]:
    """Declared column name -> position among the `found` names.

    Raises:
        DataError: E-IN-LIMIT, E-SCHEMA-DUPCOL, E-SCHEMA-MISSING or E-SCHEMA-EXTRA.
    """
    if len(found) > source.limits.max_columns:
        raise DataError("E-IN-LIMIT", where, f"at most {source.limits.max_columns} columns are read, got {len(found)}")
    twice = [name for name, count in Counter(found).items() if count > 1]
    wanted = spelled(source)
    if twice:
        shown = names(twice) if set(found) & set(wanted.values()) else shapes(twice)
        raise DataError(
            "E-SCHEMA-DUPCOL", where, f"column names must differ, got {shown} more than once", _FIX, "ingest"
        )
    refuse_missing(list(wanted.values()), found, where)
    extra = [name for name in found if name not in set(wanted.values())]
    if extra and source.extra_columns == "refuse":
        raise extra_columns(extra, where)
    return {name: list(found).index(spelling) for name, spelling in wanted.items()}


def refuse_missing(declared: Sequence[str], found: Sequence[str], where: str) -> None:
    """Raises DataError E-SCHEMA-MISSING when a declared name was not found, with those that nobody declared.

    A renamed column is one of these; the declared ones are no help, and would crowd them out.
    """
    missing = [name for name in declared if name not in found]
    if not missing:
        return
    strange = [name for name in found if name not in declared]
    hint = did_you_mean(missing[0], strange)
    if len(strange) == len(found) and not hint:  # perhaps the file has no header, and these are values of its first row
        what = f"none of the {len(declared)} declared columns is in the header, which looks like {shapes(found)}"
        raise DataError(
            "E-SCHEMA-MISSING", where, what, f"If the file has no header line, it needs one. {_FIX}", "ingest"
        )
    what = f"column {quote(missing[0])} is" if len(missing) == 1 else f"columns {names(missing)} are"
    beside = f"undeclared: {names(strange)}" if strange else f"found only: {names(found)}"
    raise DataError(
        "E-SCHEMA-MISSING", where, f"{what} missing ({beside})", " ".join(filter(None, [hint, _FIX])), "ingest"
    )


def extra_columns(extra: Sequence[str], where: str) -> DataError:
    return DataError(
        "E-SCHEMA-EXTRA", where, f"only declared columns are allowed, got {names(extra)} too", _FIX, "ingest"
    )
