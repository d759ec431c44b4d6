"""What a sample is: files, formats, dates in names, and how CSV is written."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import DataError
from pipelines.init.dialect import dialect_of
from pipelines.init.rows import open_rows
from pipelines.init.samples import find_sample

GOOD = "id,amount,label\na,1.5,0\nb,2,1\nc,3,0\n"


def put(folder: Path, name: str, content: str | bytes = GOOD) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("names", "pattern", "keys", "grain"),
    [
        pytest.param(["2026-03-01.csv", "2026-03-03.csv"], "{partition}.csv", ["01", "03"], "day", id="days"),
        pytest.param(
            ["pay_2026-03-02.csv", "pay_2026-03-09.csv"], "pay_{partition}.csv", ["02", "09"], "week", id="weeks"
        ),
        pytest.param(
            ["dt=2026-03-01/2026-03-01.csv", "dt=2026-03-02/2026-03-02.csv"],
            "dt={partition}/{partition}.csv",
            ["01", "02"],
            "day",
            id="the date stands twice",
        ),
        pytest.param(
            ["2026-03-01T00.csv", "2026-03-01T01.csv"], "{partition}.csv", ["01T00", "01T01"], "hour", id="hours"
        ),
    ],
)
def test_dates_in_names_become_the_partition(
    names: list[str], pattern: str, keys: list[str], grain: str, tmp_path: Path
) -> None:
    for name in names:
        put(tmp_path, name)
    sample = find_sample([tmp_path])
    assert (sample.pattern, sample.grain) == (f"{tmp_path.resolve()}/{pattern}", grain)
    assert list(sample.keys) == [f"2026-03-{key}" for key in keys]


@pytest.mark.parametrize(
    ("names", "pattern", "keys", "grain"),
    [
        pytest.param(
            ["20260301.csv", "20260302.csv"], "{partition:%Y%m%d}.csv", ["2026-03-01", "2026-03-02"], "day", id="digits"
        ),
        pytest.param(
            ["v2_2026_03_01.csv", "v2_2026_03_02.csv"],
            "v2_{partition:%Y_%m_%d}.csv",
            ["2026-03-01", "2026-03-02"],
            "day",
            id="underscores behind a number",
        ),
        pytest.param(
            ["01.03.2026.csv", "02.03.2026.csv"],
            "{partition:%d.%m.%Y}.csv",
            ["2026-03-01", "2026-03-02"],
            "day",
            id="German",
        ),
        pytest.param(
            ["payments-2026-03.csv", "payments-2026-04.csv"],
            "payments-{partition:%Y-%m}.csv",
            ["2026-03-01", "2026-04-01"],
            "month",
            id="months",
        ),
        pytest.param(
            ["2026030100.csv", "2026030101.csv"],
            "{partition:%Y%m%d%H}.csv",
            ["2026-03-01T00", "2026-03-01T01"],
            "hour",
            id="hours",
        ),
        pytest.param(
            ["year=2026/month=03/day=01/a.csv", "year=2026/month=03/day=02/a.csv"],
            "{partition:year=%Y/month=%m/day=%d}/a.csv",
            ["2026-03-01", "2026-03-02"],
            "day",
            id="folders",
        ),
        pytest.param(
            ["03-01-2026.csv", "03-13-2026.csv"],
            "{partition:%m-%d-%Y}.csv",
            ["2026-03-01", "2026-03-13"],
            "day",
            id="American, as no month 13 says",
        ),
        pytest.param(
            ["2026-03-01/20260305.csv", "2026-03-01/20260306.csv"],
            "2026-03-01/{partition:%Y%m%d}.csv",
            ["2026-03-05", "2026-03-06"],
            "day",
            id="another date is the same in all",
        ),
        pytest.param(
            ["120260301-20260301.csv", "120260302-20260302.csv"], None, [], "day", id="the digits of a longer number"
        ),
    ],
)
def test_dates_in_another_form_become_the_partition_in_that_form(
    names: list[str], pattern: str | None, keys: list[str], grain: str, tmp_path: Path
) -> None:
    for name in names:
        put(tmp_path, name)
    sample = find_sample([tmp_path])
    assert sample.pattern == (f"{tmp_path.resolve()}/{pattern}" if pattern else None)
    assert (list(sample.keys), sample.grain) == (keys, grain)


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["part-0.csv", "part-1.csv"], id="no date"),
        pytest.param(["03-04-2026.csv", "04-04-2026.csv"], id="a date that reads both ways"),
        pytest.param(["2026-03-01-x.csv", "2026-04-02-y.csv"], id="a month is not the beginning of a day"),
        pytest.param(["29990101.csv", "29990102.csv"], id="numbers far from any year"),
        pytest.param(["2026-03-01.csv", "rest.csv"], id="one without"),
        pytest.param(["a-2026-03-01.csv", "b-2026-03-01.csv"], id="two files of one day"),
        pytest.param(["2026-13-01.csv", "2026-14-01.csv"], id="no dates at all"),
        pytest.param(["x-2026-03-01.csv", "y-2026-03-02.csv"], id="something else differs, too"),
    ],
)
def test_names_that_say_no_partition_give_no_pattern(names: list[str], tmp_path: Path) -> None:
    for name in names:
        put(tmp_path, name)
    assert find_sample([tmp_path]).pattern is None


def test_sidecars_and_hidden_files_are_no_sample(tmp_path: Path) -> None:
    for name in ("a.csv", "a.csv.sha256", "_SUCCESS", ".hidden.csv", "notes.md"):
        put(tmp_path, name)
    assert [file.name for file in find_sample([tmp_path]).files] == ["a.csv"]


@pytest.mark.parametrize(
    ("name", "content", "code", "what"),
    [
        pytest.param("x.csv", b"", "E-INIT-EMPTY", "is empty", id="empty"),
        pytest.param("x.csv", b"\n \n", "E-INIT-EMPTY", "is empty", id="only white space"),
        pytest.param("x.csv", b"a\x00b\x01,c", "E-INIT-FORMAT", "binary content", id="binary"),
        pytest.param("x.csv", b"PK\x03\x04rest", "E-INIT-FORMAT", "a zip archive", id="a spreadsheet"),
        pytest.param(
            "x.csv.gz", gzip.compress(GOOD.encode() * 9)[:40], "E-INIT-FORMAT", "damaged", id="gzip cut short"
        ),
        pytest.param("x.json", b'[{"a": 1}]', "E-INIT-FORMAT", "one JSON object per line", id="a JSON list"),
        pytest.param("x.csv", b"a,b,label\n", "E-INIT-EMPTY", "only a header", id="only a header"),
        pytest.param("x.csv", b"a,a,b\n1,2,3\n4,5,6\n", "E-INIT-HEADER", "'a' more than once", id="a name twice"),
        pytest.param("x.parquet", b"PAR1nonsense", "E-INIT-FORMAT", "cannot be read", id="damaged Parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_reason(
    name: str, content: bytes, code: str, what: str, tmp_path: Path
) -> None:
    put(tmp_path, name, content)
    with pytest.raises(DataError, match=what) as caught:
        open_rows(find_sample([tmp_path / name]), tmp_path)
    assert caught.value.code == code


def test_a_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"E-INIT-FILE .*does not exist"):
        find_sample([tmp_path / "none.csv"])


def test_a_folder_without_data_says_what_is_looked_for(tmp_path: Path) -> None:
    put(tmp_path, "notes.md")
    with pytest.raises(DataError, match=r"no file ends in \.csv"):
        find_sample([tmp_path])


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        pytest.param("a,b\n1,2\n", "a,c\n1,2\n", "lacks 'b' and has 'c' besides", id="another column"),
        pytest.param("a,b\n1,2\n", "a,b,c\n1,2,3\n", "has 'c' besides", id="one more column"),
        pytest.param("a,b\n1,2\n", "a;b\n1;2\n", "lacks|written alike", id="another delimiter"),
    ],
)
def test_files_with_different_columns_are_no_feed(first: str, second: str, what: str, tmp_path: Path) -> None:
    put(tmp_path, "one.csv", first)
    put(tmp_path, "two.csv", second)
    with pytest.raises(DataError, match=what):
        open_rows(find_sample([tmp_path]), tmp_path)


def test_formats_are_not_mixed(tmp_path: Path) -> None:
    put(tmp_path, "one.csv")
    put(tmp_path, "two.jsonl", '{"id": "a"}\n')
    with pytest.raises(DataError, match="one format"):
        find_sample([tmp_path])


def test_columns_are_matched_by_name_in_any_order(tmp_path: Path) -> None:
    put(tmp_path, "one.csv", "a,b\n1,x\n2,y\n")
    put(tmp_path, "two.csv", "b,a\nz,3\n")
    rows = open_rows(find_sample([tmp_path]), tmp_path)
    assert sorted(rows.all("SELECT c0, c1, file FROM cells")) == [("1", "x", 0), ("2", "y", 0), ("3", "z", 1)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"a,b\n1,x\n2,y\n", ("utf-8", ",", '"', True), id="plain"),
        pytest.param(b"a;b\n1,5;x\n2,5;y\n", ("utf-8", ";", '"', True), id="semicolons and decimal commas"),
        pytest.param(b"a\tb\n1\tit's\n2\t3\" pipe\n", ("utf-8", "\t", None, True), id="a quote that encloses nothing"),
        pytest.param(b'a|b\n1|"x|y"\n2|z\n', ("utf-8", "|", '"', True), id="pipes in quotes"),
        pytest.param("a,b\nMünchen,1\nKöln,2\n".encode("cp1252"), ("cp1252", ",", '"', True), id="cp1252"),
        pytest.param("a,b\nx,1\ny,2\n".encode("utf-16"), ("utf-16", ",", '"', True), id="utf-16"),
        pytest.param(b"\xef\xbb\xbfa,b\n1,x\n2,y\n", ("utf-8", ",", '"', True), id="byte order mark"),
        pytest.param(b"a,b\r\n1,x\r\n2,y\r\n", ("utf-8", ",", '"', True), id="carriage returns"),
        pytest.param(
            b"ham,hello you\nspam,win now\nham,ok then\n", ("utf-8", ",", '"', False), id="a value comes again"
        ),
        pytest.param(b"1,2\n3,4\n5,6\n", ("utf-8", ",", '"', False), id="numbers are no names"),
    ],
)
def test_dialect_is_that_of_the_file(
    content: bytes, expected: tuple[str, str, str | None, bool], tmp_path: Path
) -> None:
    found = dialect_of(put(tmp_path, "x.csv", content))
    assert (found.encoding, found.delimiter, found.quote, found.header) == expected


def test_the_option_overrules_what_the_first_line_looks_like(tmp_path: Path) -> None:
    path = put(tmp_path, "x.csv", "red,blue\ngreen,grey\n")
    assert dialect_of(path).columns == ("red", "blue")
    assert dialect_of(path, header=False).columns == ("column_1", "column_2")


_CELLS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=8)


@given(
    rows=st.lists(st.tuples(st.integers(0, 99), _CELLS, _CELLS), min_size=3, max_size=8),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
)
def test_what_a_writer_wrote_is_split_as_it_was(
    rows: list[tuple[int, str, str]], delimiter: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Quotes and other delimiters inside the cells must not mislead: the first line has three names."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(["number", "first_word", "second_word"])
    writer.writerows(rows)
    found = dialect_of(put(tmp_path_factory.mktemp("csv"), "x.csv", text.getvalue()))
    assert (found.delimiter, found.columns) == (delimiter, ("number", "first_word", "second_word"))


def test_json_numbers_and_texts_keep_their_kind(tmp_path: Path) -> None:
    lines = '{"a": 1, "b": "1", "c": 1.5, "d": true, "e": [1]}\n{"a": 2, "b": "x", "c": 2, "f": null}\n'
    rows = open_rows(find_sample([put(tmp_path, "x.jsonl", lines)]), tmp_path)
    assert rows.columns == {
        "a": "integer",
        "b": "json_text",
        "c": "number",
        "d": "boolean",
        "e": "other",
        "f": "json_text",
    }


def test_parquet_files_lie_where_they_are_and_rows_know_their_file(tmp_path: Path) -> None:
    for day in (1, 2):
        pq.write_table(pa.table({"id": [day], "at": ["x"]}), tmp_path / f"2026-03-0{day}.parquet")
    sample = find_sample([tmp_path])
    rows = open_rows(sample, tmp_path)
    assert sorted(rows.all("SELECT c0, file FROM cells")) == [(1, 0), (2, 1)]
    assert rows.columns == {"id": "integer", "at": "text"}
