"""Exports as consumers read them: pandas, pyarrow, DuckDB, Polars where installed; superseded releases stay unseen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from tests.builders import context
from tests.scoring import Stub, again, champion, features, run_all, use_models

pytestmark = pytest.mark.slow

Read = Callable[[Path], list[tuple[str, str, float]]]


@pytest.fixture
def exports(tmp_path, monkeypatch) -> Path:
    """Two released days, the first of them superseded once."""
    use_models(monkeypatch, Stub(1))
    for day, amounts in {"2026-03-05": [10.0, 20.0], "2026-03-06": [30.0]}.items():
        run = context(tmp_path, partition=day)
        if day == "2026-03-05":
            champion(run)
            features(run, [99.0, 98.0, 97.0])
            run_all(again(run, "first"))
        features(run, amounts)
        run_all(run)
    return run.home.root / "exports" / run.name


EXPECTED = [("2026-03-05", "p0", 0.10), ("2026-03-05", "p1", 0.20), ("2026-03-06", "p0", 0.30)]


def rows_of(frame: pd.DataFrame) -> list[tuple[str, str, float]]:
    return sorted((str(row.partition)[:10], row.payment_id, row.score) for row in frame.itertuples())


def pandas_folder(root: Path):
    return rows_of(pd.read_parquet(root))


def pandas_files(root: Path):
    return rows_of(pd.concat(pd.read_parquet(path) for path in sorted(root.glob("partition=*/*.parquet"))))


def pandas_one_day(root: Path):
    return rows_of(pd.concat([pd.read_parquet(path) for path in sorted(root.glob("partition=*"))]))


def arrow_table(root: Path):
    return rows_of(pq.read_table(root).to_pandas())


def arrow_dataset(root: Path):
    partitioning = ds.HivePartitioning.discover(infer_dictionary=True)
    return rows_of(ds.dataset(root, format="parquet", partitioning=partitioning).to_table().to_pandas())


def arrow_dataset_without_names(root: Path):
    return rows_of(ds.dataset(root, format="parquet").to_table().to_pandas())


def duckdb_hive(root: Path):
    query = f"SELECT * FROM read_parquet('{root}/partition=*/*.parquet', hive_partitioning = true)"
    return rows_of(duckdb.sql(query).df())


def duckdb_plain(root: Path):
    return rows_of(duckdb.sql(f"SELECT * FROM '{root}/partition=*/*.parquet'").df())


def duckdb_filtered(root: Path):
    query = f"SELECT * FROM '{root}/partition=*/*.parquet' WHERE partition >= '2026-03-05'"
    return rows_of(duckdb.sql(query).df())


def polars_files(root: Path):
    polars = pytest.importorskip("polars", reason="polars is not installed")
    return rows_of(polars.read_parquet(f"{root}/partition=*/*.parquet").to_pandas())


READERS: list[Read] = [
    pandas_folder,
    pandas_files,
    pandas_one_day,
    arrow_table,
    arrow_dataset,
    arrow_dataset_without_names,
    duckdb_hive,
    duckdb_plain,
    duckdb_filtered,
    polars_files,
]


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_readers_see_the_current_releases_only(exports, read):
    assert read(exports) == EXPECTED
