"""The step as a whole: files in, tables and ledger out; twice, corrected, killed, refused."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.context import Context
from pipelines.errors import ConfigError, DataError, StorageError
from pipelines.ingest import ingest
from tests.builders import PAYMENTS, context

HEADER = "payment_id,card_id,paid_at,amount_eur,country,is_fraud\n"
GOOD = "0017,9007199254740993,2026-03-01 10:00:00,12.5,NA,0\n"
OTHER = "0018,c2,2026-03-01T23:59:59Z,,DE,1\n"
BAD = "0019,c3,2026-03-01 10:00:00,12,5,DE,0\n"
COLUMNS = PAYMENTS["source"]["columns"]


def deliver(root: Path, content: str | bytes, name: str = "2026-03-01.csv") -> Path:
    path = root / "inbox" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def source(**changes: Any) -> dict[str, Any]:
    return {"format": "csv", "path": "inbox/{partition}.csv", "columns": COLUMNS} | changes


def rows(run: Context, table: str = "raw") -> list[dict[str, Any]]:
    snapshot = run.snapshot(table)
    return snapshot.read([run.key]).sort_by("row_id").to_pylist() if snapshot.exists else []


def published(run: Context) -> tuple[tuple[str, str], ...]:
    return tuple(
        (table, row["content_digest"])
        for table in ("raw", "quarantine/ingest")
        if (row := run.ledger.publication(run.name, table, run.key))
    )


def test_ingest_publishes_each_record_once(tmp_path: Path) -> None:
    deliver(tmp_path, HEADER + GOOD + BAD + OTHER)
    run = context(tmp_path)
    summary = ingest(run)
    assert (summary["state"], summary["read"], summary["parsed"], summary["quarantined"]) == ("done", 3, 2, 1)
    first, second = rows(run)
    assert (first["payment_id"], first["card_id"], first["country"]) == ("0017", "9007199254740993", "NA")
    assert (first["source_file"], first["source_line"], second["source_line"]) == ("2026-03-01.csv", 2, 4)
    (refused,) = rows(run, "quarantine")
    assert refused["record"] == BAD.strip()
    assert refused["reasons"] == ["FIELD_COUNT: the record has 7 fields, the header 6"]
    assert (refused["source_line"], refused["stage"]) == (3, "ingest")
    ids = {first["row_id"], second["row_id"], refused["row_id"]}
    assert sorted(row_id[-10:] for row_id in ids) == [":000000001", ":000000002", ":000000003"]
    facts = run.ledger.publication("payments", "raw", run.key)["facts"]
    assert {name: facts[name] for name in ("read", "quarantined", "source", "sha256")} == {
        "read": 3,
        "quarantined": 1,
        "source": "2026-03-01.csv",
        "sha256": hashlib.sha256((HEADER + GOOD + BAD + OTHER).encode()).hexdigest(),
    }


def test_every_reason_of_a_row_is_told(tmp_path: Path) -> None:
    deliver(tmp_path, HEADER + GOOD + ",c,2026-03-02 00:00:00,nan,DE,x\n")
    run = context(tmp_path)
    ingest(run)
    (refused,) = rows(run, "quarantine")
    assert [reason.split(":")[0] for reason in refused["reasons"]] == [
        "REQUIRED",
        "TIME_OUTSIDE_PARTITION",
        "NUMBER_NOT_FINITE",
        "TYPE",
    ]


RULES = {
    "long cell": (f"1,{'x' * 101},2026-03-01,1,DE,0", "CELL_TOO_LONG"),
    "year 1800": ("1,c,1800-01-01,1,DE,0", "TIME_RANGE"),
    "year 2300": ("1,c,2300-01-01,1,DE,0", "TIME_RANGE"),
    "the day before": ("1,c,2026-02-28 23:59:59,1,DE,0", "TIME_OUTSIDE_PARTITION"),
    "midnight after": ("1,c,2026-03-02 00:00:00,1,DE,0", "TIME_OUTSIDE_PARTITION"),
    "no time": ("1,c,,1,DE,0", "REQUIRED"),
}


@pytest.mark.parametrize(("line", "rule"), RULES.values(), ids=RULES.keys())
def test_a_record_is_refused_by_the_rule(tmp_path: Path, line: str, rule: str) -> None:
    deliver(tmp_path, HEADER + GOOD + line + "\n")
    run = context(tmp_path, source=source(limits={"max_cell_chars": 100}))
    assert ingest(run)["quarantined"] == 1
    (refused,) = rows(run, "quarantine")
    assert [reason.split(":")[0] for reason in refused["reasons"]] == [rule]


def test_the_same_content_again_changes_nothing_and_other_content_makes_a_generation(tmp_path: Path) -> None:
    deliver(tmp_path, HEADER + GOOD)
    run = context(tmp_path)
    ingest(run)
    versions = [run.snapshot(table).version for table in ("raw", "quarantine")]
    again = ingest(context(tmp_path, run_id="run-2"))
    assert (again["state"], again["generation"], again["read"]) == ("unchanged", 1, 1)
    assert [run.snapshot(table).version for table in ("raw", "quarantine")] == versions
    deliver(tmp_path, HEADER + GOOD + OTHER)
    corrected = ingest(context(tmp_path, run_id="run-3"))
    assert (corrected["state"], corrected["generation"], corrected["read"]) == ("done", 2, 2)
    assert len(rows(run)) == 2
    assert len(run.ledger.inputs("payments", run.key)) == 2


def test_a_corrected_file_takes_its_old_refused_records_back(tmp_path: Path) -> None:
    deliver(tmp_path, HEADER + GOOD + BAD)
    run = context(tmp_path)
    ingest(run)
    deliver(tmp_path, HEADER + GOOD)
    ingest(context(tmp_path, run_id="run-2"))
    assert rows(run, "quarantine") == []


def test_gzip_and_plain_give_the_same_rows(tmp_path: Path) -> None:
    text = (HEADER + GOOD + BAD + OTHER).encode()
    digests = []
    for name, content in (("plain", text), ("packed", gzip.compress(text)), ("two members", _members(text))):
        root = tmp_path / name
        root.mkdir()
        deliver(root, content)
        run = context(root)
        ingest(run)
        digests.append(published(run))
    assert len(digests[0]) == 2
    assert digests[0] == digests[1] == digests[2]


def _members(text: bytes) -> bytes:
    return gzip.compress(text[:40]) + gzip.compress(text[40:])


def _link(root: Path) -> None:
    deliver(root, HEADER + GOOD, "elsewhere.csv")
    (root / "inbox" / "2026-03-01.csv").symlink_to(root / "inbox" / "elsewhere.csv")


def _bomb(root: Path) -> None:
    deliver(root, gzip.compress(HEADER.encode() + b"1" * 120_000_000))


REFUSED: dict[str, tuple[Callable[[Path], Any], dict[str, Any], str]] = {
    "no file": (lambda _root: None, {}, "E-IN-MISSING"),
    "no bytes": (lambda root: deliver(root, ""), {}, "E-IN-EMPTY"),
    "no bytes in gzip": (lambda root: deliver(root, gzip.compress(b"")), {}, "E-IN-EMPTY"),
    "only a byte order mark": (lambda root: deliver(root, b"\xef\xbb\xbf"), {}, "E-IN-EMPTY"),
    "only a header": (lambda root: deliver(root, HEADER), {}, "E-IN-EMPTY"),
    "Parquet named csv": (lambda root: deliver(root, b"PAR1....PAR1"), {}, "E-IN-FORMAT"),
    "zip named csv": (lambda root: deliver(root, b"PK\x03\x04...."), {}, "E-IN-FORMAT"),
    "UTF-16 that nobody declared": (lambda root: deliver(root, HEADER.encode("utf-16")), {}, "E-IN-FORMAT"),
    "cut gzip": (lambda root: deliver(root, gzip.compress((HEADER + GOOD).encode())[:-9]), {}, "E-IN-ARCHIVE"),
    "damaged gzip": (lambda root: deliver(root, _damaged()), {}, "E-IN-ARCHIVE"),
    "bytes behind gzip": (lambda root: deliver(root, gzip.compress(b"a,b\n") + b"xyz"), {}, "E-IN-ARCHIVE"),
    "gzip in gzip": (lambda root: deliver(root, gzip.compress(gzip.compress(b"a"))), {}, "E-IN-FORMAT"),
    "decompression bomb": (_bomb, {}, "E-IN-LIMIT"),
    "too many bytes": (lambda root: deliver(root, HEADER + GOOD * 9), {"limits": {"max_bytes": 200}}, "E-IN-LIMIT"),
    "too many records": (lambda root: deliver(root, HEADER + GOOD * 3), {"limits": {"max_records": 2}}, "E-IN-LIMIT"),
    "a missing column": (
        lambda root: deliver(root, HEADER.replace("is_fraud", "fraud") + GOOD),
        {},
        "E-SCHEMA-MISSING",
    ),
    "a link": (_link, {}, "E-SEC-PATH"),
    "a folder": (lambda root: (root / "inbox/2026-03-01.csv").mkdir(parents=True), {}, "E-SEC-PATH"),
}


def _damaged() -> bytes:
    packed = bytearray(gzip.compress((HEADER + GOOD * 50).encode()))
    packed[30] ^= 0xFF
    return bytes(packed)


@pytest.mark.parametrize(("prepare", "changes", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_a_file_is_refused_as_a_whole(
    tmp_path: Path, prepare: Callable[[Path], Any], changes: dict[str, Any], code: str
) -> None:
    prepare(tmp_path)
    run = context(tmp_path, source=source(**changes))
    with pytest.raises(DataError) as raised:
        ingest(run)
    assert raised.value.code == code
    assert published(run) == ()
    (account,) = run.ledger.accounting("payments")
    assert (account["state"], account["read"]) == ("refused", 0)
    assert code in account["reason"]
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_linked_folder_that_leaves_the_inbox_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "p.csv").write_text(HEADER + GOOD)
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "2026-03-01").symlink_to(tmp_path / "outside")
    run = context(tmp_path, source=source(path="inbox/{partition}/p.csv"))
    with pytest.raises(DataError, match="E-SEC-PATH"):
        ingest(run)


def test_a_missing_file_may_be_skipped(tmp_path: Path) -> None:
    run = context(tmp_path, source=source(missing="skip"))
    assert ingest(run)["state"] == "skipped"
    assert [row["state"] for row in run.ledger.accounting("payments")] == ["absent"]


def test_a_file_that_is_gone_takes_nothing_back(tmp_path: Path) -> None:
    path = deliver(tmp_path, HEADER + GOOD)
    run = context(tmp_path, source=source(missing="skip"))
    ingest(run)
    path.unlink()
    assert ingest(run)["state"] == "unchanged"
    assert run.ledger.accounting("payments") == []


@pytest.mark.parametrize(
    ("suffix", "text", "code"),
    [
        (".rows", "1\n", None),
        (".rows", "2\n", "E-IN-SIDECAR"),
        (".sha256", hashlib.sha256((HEADER + GOOD).encode()).hexdigest() + "  2026-03-01.csv\n", None),
        (".sha256", "0" * 64, "E-IN-SIDECAR"),
    ],
    ids=["rows agree", "rows differ", "digest agrees", "digest differs"],
)
def test_sidecars_are_believed(tmp_path: Path, suffix: str, text: str, code: str | None) -> None:
    deliver(tmp_path, HEADER + GOOD)
    deliver(tmp_path, text, "2026-03-01.csv" + suffix)
    if code is None:
        assert ingest(context(tmp_path))["read"] == 1
        return
    with pytest.raises(DataError, match=code):
        ingest(context(tmp_path))


def test_a_file_that_changes_while_it_is_read_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = deliver(tmp_path, HEADER + GOOD)
    run = context(tmp_path)

    def grow(point: str) -> None:
        if point == "ingest.mid_copy":
            with path.open("a") as file:
                file.write(OTHER)

    monkeypatch.setattr("pipelines.ingest.reading.reach", grow)
    with pytest.raises(StorageError, match="E-IN-CHANGED") as raised:
        ingest(run)
    assert raised.value.retryable
    assert published(run) == ()


def test_lines_that_the_parser_loses_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(tmp_path, HEADER + GOOD + OTHER)
    from pipelines.ingest import reading

    def forgetful(blocks: Any, _encoding: str) -> Any:
        return (block.replace(OTHER.encode(), b"") for block in blocks)

    monkeypatch.setattr(reading, "utf8_blocks", forgetful)
    with pytest.raises(DataError, match="E-IN-RECORDS"):
        ingest(context(tmp_path))


def test_an_unset_variable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAYMENTS_INBOX", raising=False)
    run = context(tmp_path, source=source(path="${PAYMENTS_INBOX}/{partition}.csv"))
    with pytest.raises(ConfigError, match="export PAYMENTS_INBOX="):
        ingest(run)
    assert run.ledger.accounting("payments") == []


def test_the_home_variable_is_the_home_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NIGHTSHIFT_HOME", raising=False)
    deliver(tmp_path, HEADER + GOOD)
    run = context(tmp_path, source=source(path="${NIGHTSHIFT_HOME}/inbox/{partition}.csv"))
    assert ingest(run)["read"] == 1


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp1252", "utf-16"])
def test_declared_encodings_give_the_same_values(tmp_path: Path, encoding: Any) -> None:
    deliver(tmp_path, (HEADER + GOOD.replace("NA", "Türkiye")).encode(encoding))
    run = context(tmp_path, source=source(encoding=encoding))
    ingest(run)
    assert [row["country"] for row in rows(run)] == ["Türkiye"]


def test_bytes_outside_the_encoding_are_refused_with_their_place(tmp_path: Path) -> None:
    deliver(tmp_path, (HEADER + GOOD).encode("cp1252") + b"1,c,2026-03-01,1,D\xe4\x81,0\n")
    run = context(tmp_path, source=source(encoding="cp1252"))
    ingest(run)
    (refused,) = rows(run, "quarantine")
    assert refused["reasons"] == ["ENCODING: byte at offset 19 of the line is not cp1252"]


SLICED = (
    HEADER
    + "a,c,2026-02-28 23:00:00,1,DE,0\n"
    + "broken,1\n"
    + "b,c,2026-03-01 00:00:00,1,DE,0\n"
    + "also broken,2\n"
    + "c,c,2026-03-01 12:00:00,x,DE,0\n"
    + "d,c,2026-03-02 00:00:00,1,DE,0\n"
)


def test_one_file_is_sliced_so_that_each_record_belongs_to_one_partition(tmp_path: Path) -> None:
    deliver(tmp_path, SLICED, "all.csv")
    found = {}
    for key in ("2026-02-28", "2026-03-01", "2026-03-02"):
        run = context(tmp_path, key, source=source(path="inbox/all.csv", time_column="paid_at"), start="2026-02-01")
        ingest(run)
        found[key] = ([row["payment_id"] for row in rows(run)], [row["record"] for row in rows(run, "quarantine")])
    assert found == {
        "2026-02-28": (["a"], ["broken,1"]),
        "2026-03-01": (["b"], ["also broken,2", "c,c,2026-03-01 12:00:00,x,DE,0"]),
        "2026-03-02": (["d"], []),
    }


def test_a_slice_stays_unchanged_when_the_file_grows_elsewhere(tmp_path: Path) -> None:
    settings = source(path="inbox/all.csv", time_column="paid_at")
    deliver(tmp_path, SLICED, "all.csv")
    ingest(context(tmp_path, source=settings))
    deliver(tmp_path, SLICED + "e,c,2026-03-02 10:00:00,1,DE,0\n", "all.csv")
    assert ingest(context(tmp_path, source=settings))["state"] == "unchanged"
    assert ingest(context(tmp_path, "2026-03-02", source=settings))["read"] == 2


def test_a_partition_without_rows_in_the_file_is_empty(tmp_path: Path) -> None:
    deliver(tmp_path, SLICED, "all.csv")
    with pytest.raises(DataError, match="E-IN-EMPTY"):
        ingest(context(tmp_path, "2026-03-05", source=source(path="inbox/all.csv", time_column="paid_at")))


def test_a_snapshot_may_hold_any_time_and_has_ids_of_its_own_on_each_day(tmp_path: Path) -> None:
    deliver(tmp_path, HEADER + GOOD + "x,c,2020-01-01,1,DE,0\n", "all.csv")
    ids = set()
    for key in ("2026-03-01", "2026-03-02"):
        run = context(tmp_path, key, source=source(path="inbox/all.csv"))
        assert ingest(run)["parsed"] == 2
        ids |= {row["row_id"] for row in rows(run)}
    assert len(ids) == 4


def test_json_lines_are_read_strictly(tmp_path: Path) -> None:
    good = {
        "payment_id": "0017",
        "card_id": 2**60 + 1,
        "paid_at": "2026-03-01T10:00:00Z",
        "amount_eur": 1,
        "is_fraud": 0,
    }
    lines = [
        json.dumps(good),
        json.dumps(good | {"country": "NA"}),
        "",
        json.dumps(good).replace('"is_fraud": 0', '"is_fraud": 0, "is_fraud": 1'),
        json.dumps(good | {"is_fraud": 0.0}),
        json.dumps(good | {"amount_eur": float("nan")}),
        "[1]",
        '{"payment_id": ',
        '{"payment_id": "caf\udce9"}',
    ]
    deliver(tmp_path, "\n".join(lines).encode("utf-8", "surrogateescape"), "2026-03-01.jsonl")
    run = context(tmp_path, source=source(format="jsonl", path="inbox/{partition}.jsonl"))
    assert ingest(run)["read"] == 8
    assert [(row["card_id"], row["country"]) for row in rows(run)] == [(str(2**60 + 1), None), (str(2**60 + 1), "NA")]
    assert [(row["source_line"], row["reasons"][0].split(":")[0]) for row in rows(run, "quarantine")] == [
        (4, "JSON"),
        (5, "TYPE"),
        (6, "NUMBER_NOT_FINITE"),
        (7, "JSON"),
        (8, "JSON"),
        (9, "ENCODING"),
    ]


def test_json_lines_without_a_declared_key_anywhere_are_refused(tmp_path: Path) -> None:
    deliver(tmp_path, '{"payment_id": "1", "card": "2"}\n', "2026-03-01.jsonl")
    with pytest.raises(DataError, match="E-SCHEMA-MISSING"):
        ingest(context(tmp_path, source=source(format="jsonl", path="inbox/{partition}.jsonl")))


def payments_table(count: int = 3, **columns: pa.Array) -> pa.Table:
    table = pa.table(
        {
            "payment_id": pa.array(range(count)),
            "card_id": pa.array([f"c{row}" for row in range(count)]),
            "paid_at": pa.array([1772359200_000] * count, pa.timestamp("ms")),
            "amount_eur": pa.array([1.5] * (count - 1) + [float("nan")]),
            "country": pa.array(["DE"] * count).dictionary_encode(),
            "is_fraud": pa.array([0] * count, pa.int8()),
        }
    )
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, values)
    return table


def parquet(root: Path, table: pa.Table, **options: Any) -> Context:
    (root / "inbox").mkdir(exist_ok=True)
    pq.write_table(table, root / "inbox" / "2026-03-01.parquet", **options)
    return context(root, source=source(format="parquet", path="inbox/{partition}.parquet"))


def test_parquet_is_read_by_declared_types(tmp_path: Path) -> None:
    run = parquet(tmp_path, payments_table())
    assert ingest(run)["read"] == 3
    assert [(row["payment_id"], row["country"], row["is_fraud"]) for row in rows(run)] == [
        ("0", "DE", 0),
        ("1", "DE", 0),
    ]
    (refused,) = rows(run, "quarantine")
    assert refused["reasons"] == ["NUMBER_NOT_FINITE: 'amount_eur' is NaN or infinite"]
    assert json.loads(refused["record"])["payment_id"] == 2


def test_parquet_written_otherwise_is_unchanged(tmp_path: Path) -> None:
    ingest(parquet(tmp_path, payments_table()))
    run = parquet(tmp_path, payments_table(), row_group_size=1, compression="zstd")
    assert ingest(run)["state"] == "unchanged"


def test_parquet_with_float_ids_is_refused(tmp_path: Path) -> None:
    run = parquet(tmp_path, payments_table(payment_id=pa.array([1.0, 2.0, 3.0])))
    with pytest.raises(DataError, match="E-SCHEMA-TYPE"):
        ingest(run)


@pytest.mark.parametrize("cut", [0, 3, 200], ids=["empty", "three bytes", "without end"])
def test_parquet_that_is_damaged_is_refused(tmp_path: Path, cut: int) -> None:
    run = parquet(tmp_path, payments_table())
    path = tmp_path / "inbox" / "2026-03-01.parquet"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"E-IN-FORMAT|E-IN-EMPTY"):
        ingest(run)


def test_parquet_bomb_is_refused_by_its_decoded_size(tmp_path: Path) -> None:
    count = 4_000
    run = parquet(tmp_path, payments_table(count, country=pa.array(["x" * 90_000] * count).dictionary_encode()))
    with pytest.raises(DataError, match="E-IN-LIMIT"):
        ingest(run)


def database(root: Path) -> Path:
    path = root / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE payments (payment_id, card_id, paid_at, amount_eur, country, is_fraud)")
        connection.executemany(
            "INSERT INTO payments VALUES (?, ?, ?, ?, ?, ?)",
            [
                ("0018", "c", "2026-03-01 00:00:00", 2, "NA", 0),
                ("0017", "c", "2026-03-01 23:59:59", 1.5, None, 1),
                ("0019", "c", "2026-03-02 00:00:00", 1.5, None, 1),
                ("0016", "c", "2026-03-01 10:00:00", "much", None, 1),
            ],
        )
    return path


def sql(path: Path, order: str = "") -> dict[str, Any]:
    query = f"SELECT * FROM payments WHERE paid_at >= :partition_start AND paid_at < :partition_end {order};"
    return {"format": "sql", "url": f"sqlite:///{path}", "query": query, "columns": COLUMNS}


def test_sql_rows_of_the_partition_are_read_in_one_order(tmp_path: Path) -> None:
    path = database(tmp_path)
    run = context(tmp_path, source=sql(path))
    summary = ingest(run)
    assert (summary["read"], summary["quarantined"]) == (3, 1)
    assert [(row["payment_id"], row["country"]) for row in rows(run)] == [("0017", None), ("0018", "NA")]
    assert [row["reasons"] for row in rows(run, "quarantine")] == [
        ["TYPE: 'amount_eur' must be a number with a decimal point, got 'xxxx'"]
    ]
    digests = published(run)
    other = tmp_path / "other"
    other.mkdir()
    again = context(other, source=sql(path, "ORDER BY payment_id DESC"))
    ingest(again)
    assert [digest for _, digest in published(again)] == [digest for _, digest in digests]


def test_sql_that_fails_is_tried_again_and_tells_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "canary")
    url = "postgresql+psycopg://reader:${SHOP_PASSWORD}@127.0.0.1:1/shop"
    with pytest.raises((StorageError, ConfigError)) as raised:
        ingest(context(tmp_path, source=sql(tmp_path / "none.db") | {"url": url}))
    assert "canary" not in str(raised.value)


def feeds(root: Path) -> dict[str, Any]:
    deliver(root, "card_id,valid_from,limit_eur\nc1,2026-01-01,100\n,2026-01-01,5\n", "cards.csv")
    dimension = {
        "source": {
            "format": "csv",
            "path": f"{root}/inbox/cards.csv",
            "columns": {
                "card_id": {"type": "id"},
                "valid_from": {"type": "timestamp"},
                "limit_eur": {"type": "number"},
            },
        },
        "key": ["card_id"],
        "valid_from": "valid_from",
    }
    label_columns = {"payment_id": {"type": "id"}, "is_fraud": {"type": "integer"}}
    labels = {
        "source": {
            "format": "csv",
            "path": f"{root}/inbox/labels-{{partition}}.csv",
            "missing": "skip",
            "columns": label_columns,
        },
        "column": "is_fraud",
    }
    return {"dimensions": {"cards": dimension}, "label_sources": {"chargebacks": labels}}


def test_dimensions_and_labels_come_along_and_balance_by_themselves(tmp_path: Path) -> None:
    deliver(tmp_path, HEADER + GOOD + BAD)
    run = context(tmp_path, **feeds(tmp_path))
    summary = ingest(run)
    assert (summary["read"], summary["quarantined"]) == (2, 1)
    assert summary["dimensions"]["cards"]["read"] == 2
    assert summary["dimensions"]["cards"]["quarantined"] == 1
    assert summary["labels"]["chargebacks"]["state"] == "skipped"
    assert [row["limit_eur"] for row in rows(run, "dimension_cards")] == [100.0]
    assert sorted(row["stage"] for row in rows(run, "quarantine")) == ["dimension_cards", "ingest"]
    deliver(tmp_path, "payment_id,is_fraud\n0001,1\n", "labels-2026-03-01.csv")
    later = ingest(context(tmp_path, run_id="run-2", **feeds(tmp_path)))
    assert (later["state"], later["labels"]["chargebacks"]["state"]) == ("unchanged", "done")
    assert [(row["payment_id"], row["is_fraud"]) for row in rows(run, "labels_chargebacks")] == [("0001", 1)]


def test_a_refused_dimension_keeps_the_rows_back(tmp_path: Path) -> None:
    deliver(tmp_path, HEADER + GOOD)
    changes = feeds(tmp_path)
    deliver(tmp_path, "card_id,valid_from\nc1,2026-01-01\n", "cards.csv")
    run = context(tmp_path, **changes)
    with pytest.raises(DataError, match="E-SCHEMA-MISSING"):
        ingest(run)
    assert published(run) == ()


POINTS = [
    "ingest.after_claim",
    "ingest.mid_copy",
    "ingest.after_stage",
    "quarantine/ingest.before_commit",
    "quarantine/ingest.after_commit",
    "raw.before_commit",
    "raw.after_commit",
]
_CHILD = """
import sys
from pathlib import Path
from pipelines.ingest import ingest
from tests.builders import context
ingest(context(Path(sys.argv[1])))
"""


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_a_killed_ingest_gives_the_same_after_a_retry(tmp_path: Path, point: str) -> None:
    for name in ("calm", "killed"):
        (tmp_path / name).mkdir()
        deliver(tmp_path / name, HEADER + GOOD + BAD + OTHER)
    calm, killed = context(tmp_path / "calm"), context(tmp_path / "killed")
    ingest(calm)
    environment = os.environ | {"NIGHTSHIFT_FAILPOINT": f"{point}=kill", "PYTHONPATH": os.getcwd()}
    child = subprocess.run([sys.executable, "-c", _CHILD, str(tmp_path / "killed")], env=environment, timeout=120)
    assert child.returncode == -9
    raw = killed.snapshot("raw")
    assert (raw.exists and bool(raw.partitions())) == (point == "raw.after_commit")
    ingest(killed)
    assert published(killed) == published(calm)
    assert rows(killed) == rows(calm)
    assert rows(killed, "quarantine") == rows(calm, "quarantine")
