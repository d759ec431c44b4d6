"""What an error shows of a row's value: its shape, never the value."""

from __future__ import annotations

import pytest

from pipelines.errors import shape, shapes, without_values


def test_a_shape_keeps_signs_and_lengths_only() -> None:
    assert shape("Ann-17@home.org") == "Xxx-99@xxxx.xxx"
    assert shape(-12.5) == "-99.9"
    assert shape("x" * 50) == "x" * 40 + "… (50 characters)"
    assert shapes(["a1", "b2", "c"]) == "'x9', 'x'"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Could not convert string 'Ann' to INT32\nLINE 1: SELECT 'Ann'", "Could not convert string 'Xxx' to INT32"),
        (
            "(sqlite3.IntegrityError) failed [SQL: INSERT ...] [parameters: ('Ann', 7)]",
            "(sqlite3.IntegrityError) failed",
        ),
        ("1 validation error for Row, amount: got [input_value='Ann']", "1 validation error for Row, amount: got ["),
        ("value 4711.25 is out of range, 3 rows", "value 9999.99 is out of range, 3 rows"),
        ('"Ann" is no number', '"Xxx" is no number'),
    ],
    ids=["duckdb", "sqlalchemy", "pydantic", "a number", "double quotes"],
)
def test_an_error_of_a_library_loses_what_it_quotes(text: str, shown: str) -> None:
    assert without_values(ValueError(text)) == f"ValueError: {shown}"


def test_a_key_error_is_a_quoted_value_and_nothing_else() -> None:
    assert without_values(KeyError("Ann")) == "KeyError: 'Xxx'"
