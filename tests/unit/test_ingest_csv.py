"""CSV: what any reader of RFC 4180 reads is read alike; what it would bend or swallow is refused, line by line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.errors import DataError
from pipelines.ingest.csv_source import CsvRecords
from pipelines.ingest.lines import whole_lines
from pipelines.settings.source import FileSource


def source(columns: Iterable[str] = ("a", "b", "c"), **changes: Any) -> FileSource:
    settings = {
        "format": "csv",
        "path": "x.csv",
        "null_tokens": (),
        "columns": {name: {"type": "text"} for name in columns},
    }
    return FileSource.model_validate(settings | changes)


def read(
    data: bytes, settings: FileSource, pieces: int = 1 << 20
) -> tuple[list[tuple[int, list[str]]], list[tuple[int, str, str]], CsvRecords]:
    """(line, fields) of each good record, (line, rule, record) of each refused one, and the reader."""
    records = CsvRecords(settings, "x.csv", "test")
    good, bad, ordinals = [], [], []
    for chunk in records.chunks(data[at : at + pieces] for at in range(0, len(data), pieces)):
        rows = zip(*(cells.to_pylist() for cells in chunk.cells.values()), strict=True)
        good += list(zip(chunk.lines.tolist(), map(list, rows), strict=True))
        bad += [(reject.line, reject.reasons[0].split(":")[0], reject.record) for reject in chunk.rejects]
        ordinals += chunk.ordinals.tolist() + [reject.ordinal for reject in chunk.rejects]
    assert sorted(ordinals) == list(range(records.tally.records)), "each record has its own number"
    return good, bad, records


RFC_4180 = {
    "plain": b"a,b,c\n1,2,3\n4,5,6\n",
    "no newline at the end": b"a,b,c\n1,2,3\n4,5,6",
    "carriage returns": b"a,b,c\r\n1,2,3\r\n4,5,6\r\n",
    "mixed line ends": b"a,b,c\r\n1,2,3\n4,5,6\r\n",
    "quoted comma": b'a,b,c\n1,"x,y",3\n',
    "doubled quote": b'a,b,c\n1,"say ""hi""",3\n',
    "only quotes": b'a,b,c\n"""","""""",""\n',
    "newline in a field": b'a,b,c\n1,"x\ny",3\n4,5,6\n',
    "CRLF in a field": b'a,b,c\r\n1,"x\r\ny",3\r\n4,5,6\r\n',
    "carriage return in a quoted field": b'a,b,c\n1,"x\ry",3\n',
    "blank line in a field": b'a,b,c\n1,"x\n\ny",3\n4,5,6\n',
    "two fields in several lines": b'a,b,c\n"1\n2","3\n4",5\n',
    "empty fields": b"a,b,c\n,,\n",
    "spaces are kept": b"a,b,c\n 1 , 2,3 \n",
    "tabs and nul": b"a,b,c\n\t1,\x002,3\n",
    "looks like null and bool": b"a,b,c\nNA,NULL,true\nnan,None,-\n",
    "unicode": "a,b,c\nß,日本,\u202e\n\ufeffx,\u2028,\x85\n".encode(),
}


@pytest.mark.parametrize("data", RFC_4180.values(), ids=RFC_4180.keys())
def test_csv_reads_the_same_values_as_python(data: bytes) -> None:
    good, bad, _ = read(data, source())
    expected = list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))[1:]
    assert [fields for _, fields in good] == expected
    assert bad == []


REFUSED = {
    "short row": (b"1,2", "FIELD_COUNT"),
    "long row": (b"1,2,3,4", "FIELD_COUNT"),
    "short quoted row": (b'"1",2', "FIELD_COUNT"),
    "latin-1 byte": (b"1,caf\xe9,3", "ENCODING"),
    "quote in an unquoted field": (b'1,5" pipe,3', "STRAY_QUOTE"),
    "two quotes in an unquoted field": (b'1,5" x 7",3', "STRAY_QUOTE"),
    "text after the closing quote": (b'1,"x"y,3', "STRAY_QUOTE"),
    "unclosed quote": (b'1,"x,3', "UNCLOSED_QUOTE"),
    "stray and unclosed": (b'1,x"y,"3', "UNCLOSED_QUOTE"),
    "carriage return in the row": (b"1,2\r,3", "STRAY_RETURN"),
    "carriage return at the end": (b"1,2,3\r\r", "STRAY_RETURN"),
    "carriage return after quotes": (b'1,2,"3"\r\r', "STRAY_RETURN"),
}


@pytest.mark.parametrize(("line", "rule"), REFUSED.values(), ids=REFUSED.keys())
def test_csv_refuses_one_line_and_goes_on_with_the_next(line: bytes, rule: str) -> None:
    data = b"a,b,c\n0,0,0\n" + line + b"\n7,8,9\n"
    good, bad, records = read(data, source())
    assert good == [(2, ["0", "0", "0"]), (4, ["7", "8", "9"])]
    assert [(number, name) for number, name, _ in bad] == [(3, rule)]
    assert records.tally.physical_lines == 4


def test_csv_keeps_the_raw_line_of_a_refused_record() -> None:
    _, bad, _ = read(b"a,b,c\r\n1,caf\xe9\r\n", source())
    assert bad == [(2, "ENCODING", "1,caf\\xe9")]


def test_csv_unclosed_quote_costs_one_line_even_when_a_later_line_has_quotes() -> None:
    data = b'a,b,c\n1,"open,3\n4,5,6\n7,"x,y",9\n8,"z\nz",1\n'
    good, bad, _ = read(data, source())
    assert [fields for _, fields in good] == [["4", "5", "6"], ["7", "x,y", "9"], ["8", "z\nz", "1"]]
    assert [(line, rule) for line, rule, _ in bad] == [(2, "UNCLOSED_QUOTE")]


def test_csv_blank_lines_are_counted_and_ignored() -> None:
    good, bad, records = read(b"\n\na,b,c\n\r\n1,2,3\n\n\n4,5,6\n\n", source())
    assert [line for line, _ in good] == [5, 8]
    assert (records.tally.blank_lines, records.tally.header_lines, records.tally.lines) == (6, 1, 2)
    assert bad == []


def test_csv_columns_are_found_by_name_in_any_order() -> None:
    good, _, _ = read(b"c,x,a,b\n3,0,1,2\n", source())
    assert good == [(2, ["1", "2", "3"])]


def test_csv_without_header_takes_the_declared_order() -> None:
    good, _, _ = read(b"1,2,3\n", source(header=False))
    assert good == [(1, ["1", "2", "3"])]


def test_csv_without_quoting_keeps_quotes_as_text() -> None:
    good, bad, _ = read(b'a\tb\tc\n"\tx"y\t"z\n', source(delimiter="\t", quote=None))
    assert good == [(2, ['"', 'x"y', '"z'])]
    assert bad == []


HEADERS = {
    "a column is missing": (b"a,b\n1,2\n", {}, "E-SCHEMA-MISSING"),
    "a column is renamed": (b"a,b,cc\n1,2,3\n", {}, "E-SCHEMA-MISSING"),
    "a name stands twice": (b"a,b,c,b\n1,2,3,4\n", {}, "E-SCHEMA-DUPCOL"),
    "an undeclared column is refused": (b"a,b,c,d\n1,2,3,4\n", {"extra_columns": "refuse"}, "E-SCHEMA-EXTRA"),
    "too many columns": (b"a,b,c,d\n1,2,3,4\n", {"limits": {"max_columns": 3}}, "E-IN-LIMIT"),
    "only a header": (b"a,b,c\n", {}, "E-IN-EMPTY"),
    "only blank lines": (b"\n\n", {}, "E-IN-EMPTY"),
    "an open quote in the header": (b'a,b,"c\n1,2,3\n', {}, "E-IN-FORMAT"),
}


@pytest.mark.parametrize(("data", "changes", "code"), HEADERS.values(), ids=HEADERS.keys())
def test_csv_refuses_the_file(data: bytes, changes: dict[str, Any], code: str) -> None:
    with pytest.raises(DataError) as raised:
        read(data, source(**changes))
    assert raised.value.code == code


def test_csv_names_the_nearest_column_when_one_is_missing() -> None:
    with pytest.raises(DataError, match="amount") as raised:
        read(b"amnt_eur,b\n1,2\n", source(["amount_eur", "b"]))
    assert "Did you mean 'amnt_eur'?" in str(raised.value)


def test_csv_shows_the_undeclared_columns_when_one_is_renamed() -> None:
    wide = [f"column_{number}" for number in range(9)]
    with pytest.raises(DataError) as raised:
        read(",".join([*wide, "merchant_kind"]).encode() + b"\n", source([*wide, "merchant_id_code"]))
    assert "column 'merchant_id_code' is missing (undeclared: 'merchant_kind')" in str(raised.value)
    assert "Did you mean" not in str(raised.value).replace("Did you mean 'merchant_kind'?", "")


def test_csv_multi_line_record_ends_at_its_limit() -> None:
    data = b'a,b,c\n1,"' + b"x\n" * 300 + b'",3\n4,5,6\n'
    good, bad, records = read(data, source(limits={"max_cell_chars": 100}))
    assert [fields for _, fields in good] == [["4", "5", "6"]]
    assert bad[0][:2] == (2, "UNCLOSED_QUOTE")
    assert records.tally.physical_lines == data.count(b"\n")


def test_a_line_without_end_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.ingest.lines.LONGEST_LINE", 1000)
    with pytest.raises(DataError, match="E-IN-LIMIT"):
        list(whole_lines(iter([b"x" * 600] * 5), 1000, "test", "x.csv"))


NASTY = st.text(st.sampled_from("ab ,\"\n\r\t\0;'0é日\ufeff\u2028"), max_size=8)


@settings(deadline=None, max_examples=100)
@given(
    rows=st.lists(st.tuples(NASTY, NASTY, NASTY), min_size=1, max_size=12),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    piece=st.sampled_from([7, 64, 1 << 20]),
)
@example(rows=[("\ufeff", "b", "c")], end="\n", quoting=csv.QUOTE_MINIMAL, piece=64)
def test_csv_returns_exactly_what_a_writer_wrote(
    rows: list[tuple[str, str, str]], end: str, quoting: Any, piece: int
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=end, quoting=quoting)
    writer.writerows([("a", "b", "c"), *rows])
    # Some versions of the writer leave a carriage return unquoted when lines end with a newline: no valid CSV.
    wrong = quoting == csv.QUOTE_MINIMAL and end == "\n" and any("\r" in cell for row in rows for cell in row)
    good, bad, records = _in_pieces(text.getvalue().encode(), piece)
    if not wrong:
        assert [tuple(fields) for _, fields in good] == rows
        assert bad == []
    assert records.tally.physical_lines == text.getvalue().count("\n")


@settings(deadline=None, max_examples=150)
@given(
    rows=st.lists(st.tuples(NASTY, NASTY, NASTY), min_size=1, max_size=8),
    damage=st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=2)), min_size=1, max_size=6),
    piece=st.sampled_from([11, 1 << 20]),
)
def test_csv_accounts_for_every_line_of_a_damaged_file(
    rows: list[tuple[str, str, str]], damage: list[tuple[int, bytes]], piece: int
) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    body = bytearray(text.getvalue().encode())
    for at, new in damage:
        body[at % len(body) : at % len(body) + len(new)] = new
    data = b"a,b,c\n" + bytes(body)
    if not bytes(body).replace(b"\r\n", b"\n").strip(b"\n"):
        return
    good, bad, records = _in_pieces(data, piece)
    assert len(good) + len(bad) == records.tally.records
    assert records.tally.physical_lines == data.count(b"\n") + (not data.endswith(b"\n"))


def _in_pieces(data: bytes, piece: int) -> Any:
    from pipelines.ingest import csv_source

    before, csv_source.PIECE = csv_source.PIECE, piece
    try:
        return read(data, source(), piece)
    finally:
        csv_source.PIECE = before
