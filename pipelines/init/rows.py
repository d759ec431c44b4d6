"""All rows of a sample in one DuckDB table or view, columns by place: memory is bounded, the rest is on disk."""

from __future__ import annotations

import codecs
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import DataError, quote
from pipelines.init.dialect import Dialect, dialect_of
from pipelines.init.samples import Sample, is_gzip, require_same_columns

Native = Literal["text", "json_text", "integer", "number", "boolean", "timestamp", "date", "other"]
"""How the file itself holds a column; 'text' may be read as anything, 'json_text' as no number."""

_MEMORY = "2GB"
_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")


@dataclass(frozen=True)
class Rows:
    """`columns`: name in the source -> how it is held; the table `cells` has them as `c0`, `c1`, ..., and `file`."""

    connection: duckdb.DuckDBPyConnection
    columns: dict[str, Native]
    dialect: Dialect | None
    count: int

    def place(self, name: str) -> str:
        return f"c{list(self.columns).index(name)}"

    def one(self, query: str) -> tuple[Any, ...]:
        found = self.connection.execute(query).fetchone()
        return tuple(found or ())

    def all(self, query: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(query).fetchall()

    def table(self, query: str) -> pa.Table:
        return self.connection.execute(query).to_arrow_table()


def open_rows(sample: Sample, folder: Path, header: bool | None = None) -> Rows:
    """Loads the sample; text files are copied into a database in `folder`, Parquet is read where it lies.

    Raises:
        DataError: E-INIT-COLUMNS when files differ, E-INIT-EMPTY without rows, E-INIT-FORMAT when it cannot be read.
    """
    connection = duckdb.connect(str(folder / "sample.duckdb"))
    settings = {
        "memory_limit": _MEMORY,
        "temp_directory": str(folder),
        "TimeZone": "UTC",
        "enable_progress_bar": "false",
    }
    for name, value in settings.items():
        connection.execute(f"SET {name} = '{value}'")
    try:
        dialect: Dialect | None = None
        if sample.format == "csv":
            columns, dialect = _csv(connection, sample, folder, header)
        else:
            columns = _jsonl(connection, sample) if sample.format == "jsonl" else _parquet(connection, sample)
        count = connection.execute("SELECT count(*) FROM cells").fetchone()
    except (duckdb.Error, pa.ArrowInvalid) as error:
        what = f"the files cannot be read: {' '.join(str(error).split())[:200]}"
        raise DataError("E-INIT-FORMAT", sample.told, what) from error
    if not count or not count[0]:
        raise DataError("E-INIT-EMPTY", sample.told, "there are no rows", "Give a file with rows.")
    return Rows(connection, columns, dialect, int(count[0]))


def _csv(
    connection: duckdb.DuckDBPyConnection, sample: Sample, folder: Path, header: bool | None
) -> tuple[dict[str, Native], Dialect]:
    leading = dialect_of(sample.files[0], header)
    dialects = {
        file: leading if file == sample.files[0] else dialect_of(file, header, leading) for file in sample.files
    }
    require_same_columns({file: one.columns for file, one in dialects.items()})
    first = dialects[sample.files[0]]
    for file, one in dialects.items():
        if (one.delimiter, one.encoding, one.header) != (first.delimiter, first.encoding, first.header):
            what = f"all files must be written alike: {_told(one)}, but {quote(sample.files[0].name)}: {_told(first)}"
            raise DataError("E-INIT-FORMAT", file.name, what, "Give files of one feed.")
    # One broken quote in one file must not decide for all.
    first = max(dialects.values(), key=lambda one: (one.quote is not None, one.fitting))
    names = [name for name in first.columns if name]
    parts = [_csv_scan(one, files, names, folder) for one, files in _alike(dialects)]
    connection.execute(f"CREATE TABLE cells AS {' UNION ALL BY NAME '.join(parts)}")
    return dict.fromkeys(names, "text"), first


def _told(dialect: Dialect) -> str:
    return f"{dialect.encoding}, {quote(dialect.delimiter)}, {'a' if dialect.header else 'no'} header"


def _alike(dialects: dict[Path, Dialect]) -> list[tuple[Dialect, list[tuple[int, Path]]]]:
    """Files with the same order of columns and the same compression, with their numbers."""
    groups: dict[tuple[Any, ...], tuple[Dialect, list[tuple[int, Path]]]] = {}
    for number, (file, one) in enumerate(dialects.items()):
        groups.setdefault((one.columns, is_gzip(file)), (one, []))[1].append((number, file))
    return list(groups.values())


def _csv_scan(dialect: Dialect, files: Sequence[tuple[int, Path]], names: Sequence[str], folder: Path) -> str:
    """Malformed lines are left out here; ingest quarantines them."""
    paths, compression = [str(file) for _, file in files], "gzip" if is_gzip(files[0][1]) else "uncompressed"
    if dialect.encoding != "utf-8":
        paths, compression = (
            [_as_utf8(file, dialect, folder / f"{number}.txt") for number, file in files],
            "uncompressed",
        )
    given = ", ".join(f"{_text(f'f{place}')}: 'VARCHAR'" for place in range(len(dialect.columns)))
    numbers = ", ".join(f"({_text(path)}, {number})" for path, (number, _) in zip(paths, files, strict=True))
    wanted = [f"f{dialect.columns.index(name)} AS c{place}" for place, name in enumerate(names)]
    mark, gap, header = _text(dialect.quote or ""), _text(dialect.delimiter), str(dialect.header).lower()
    return (
        f"SELECT {', '.join(wanted)}, numbers.number AS file FROM read_csv([{_listed(paths)}], "
        f"auto_detect=false, columns={{{given}}}, header={header}, delim={gap}, "
        f"quote={mark}, escape={mark}, compression='{compression}', ignore_errors=true, filename=true) "
        f"JOIN (VALUES {numbers}) AS numbers(path, number) ON filename = numbers.path"
    )


def _as_utf8(file: Path, dialect: Dialect, target: Path) -> str:
    with gzip.open(file) if is_gzip(file) else file.open("rb") as source, target.open("w", encoding="utf-8") as text:
        for piece in codecs.iterdecode(iter(lambda: source.read(1 << 20), b""), dialect.encoding, "replace"):
            text.write(piece)
    return str(target)


def _jsonl(connection: duckdb.DuckDBPyConnection, sample: Sample) -> dict[str, Native]:
    """Keys of any line are columns; a kind is a number only if every value is one."""
    compression = "gzip" if is_gzip(sample.files[0]) else "uncompressed"
    scan = (
        f"read_ndjson([{_listed(map(str, sample.files))}], maximum_depth=1, sample_size=-1, union_by_name=true, "
        f"ignore_errors=true, filename=true, compression='{compression}')"
    )
    names = [row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall() if row[0] != "filename"]
    kinds = {name: _json_native(connection, scan, name) for name in names}
    wanted = ", ".join(f"to_json({_name(name)}) ->> '$' AS c{place}" for place, name in enumerate(names))
    connection.execute(f"CREATE TABLE cells AS SELECT {wanted}, number AS file FROM {scan} {_numbered(sample)}")
    return kinds


def _json_native(connection: duckdb.DuckDBPyConnection, scan: str, name: str) -> Native:
    kind = f"json_type(to_json({_name(name)}))"
    found = {row[0] for row in connection.execute(f"SELECT DISTINCT {kind} FROM {scan}").fetchall()} - {None, "NULL"}
    if found and found <= {"UBIGINT", "BIGINT"}:
        return "integer"
    if found and found <= {"UBIGINT", "BIGINT", "DOUBLE"}:
        return "number"
    if found & {"OBJECT", "ARRAY"}:
        return "other"
    return "boolean" if found == {"BOOLEAN"} else "json_text"


def _parquet(connection: duckdb.DuckDBPyConnection, sample: Sample) -> dict[str, Native]:
    require_same_columns({file: tuple(pq.read_schema(file).names) for file in sample.files})
    scan = (
        f"read_parquet([{_listed(map(str, sample.files))}], union_by_name=true, filename=true, hive_partitioning=false)"
    )
    described = connection.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()
    kinds = {row[0]: _native(row[1]) for row in described if row[0] != "filename"}
    wanted = ", ".join(f"{_name(name)} AS c{place}" for place, name in enumerate(kinds))
    connection.execute(f"CREATE VIEW cells AS SELECT {wanted}, number AS file FROM {scan} {_numbered(sample)}")
    return kinds


def _native(kind: str) -> Native:
    if kind in _WHOLE:
        return "integer"
    if kind in ("FLOAT", "DOUBLE") or kind.startswith("DECIMAL"):
        return "number"
    if kind.startswith("TIMESTAMP"):
        return "timestamp"
    return {"VARCHAR": "text", "BOOLEAN": "boolean", "DATE": "date"}.get(kind, "other")  # type: ignore[return-value]


def _numbered(sample: Sample) -> str:
    """Joins the number of the file of each row."""
    numbers = ", ".join(f"({_text(str(file))}, {number})" for number, file in enumerate(sample.files))
    return f"JOIN (VALUES {numbers}) AS numbers(path, number) ON filename = numbers.path"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _name(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def _listed(paths: Any) -> str:
    return ", ".join(_text(str(path)) for path in paths)
