"""Rules and values in words: for reasons beside rows, for errors and for the Data Docs."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from pipelines.errors import quote, shape

_MOST_VALUES = 8
_MASK_CHARS = 40


def rule_text(kind: str, kwargs: dict[str, Any]) -> str:
    """`amount_eur must be between 0 and 5000`: the rule as one sentence without a full stop."""
    subject = _subject(kwargs)
    phrase = _PHRASES[kind](kwargs) if kind in _PHRASES else _spelled_out(kind, kwargs)
    text = f"{subject} {phrase}" if subject else phrase
    if kwargs.get("row_condition"):
        text += f", where {kwargs['row_condition']}"
    if kwargs.get("mostly") is not None and kwargs["mostly"] < 1:
        text += f", in at least {kwargs['mostly']:.4g} of the rows"
    return text


def masked(value: Any, most: int = _MASK_CHARS) -> str:
    """A value as a report may show it: numbers to 6 digits, times whole, of text only its shape ('A1-b' -> 'X9-x').

    `most`: a longer shape is cut after so many characters.
    """
    if value is None or (isinstance(value, float) and value != value):
        return "null"
    if isinstance(value, bool | datetime | date):
        return str(value)
    if isinstance(value, int | float):
        return f"{value:.6g}"
    return shape(value, most)


def observed_text(value: Any) -> str | None:
    """An observed value as text; texts in it are shown by their shape only."""
    if value is None:
        return None
    if isinstance(value, dict):
        return ", ".join(f"{name} {observed_text(item)}" for name, item in value.items())
    if isinstance(value, list | tuple | set):
        texts = [masked(item) for item in list(value)[:_MOST_VALUES]]
        return ", ".join(texts) + (f" and {len(value) - _MOST_VALUES} more" if len(value) > _MOST_VALUES else "")
    return masked(value)


def _subject(kwargs: dict[str, Any]) -> str:
    if "column" in kwargs:
        return str(kwargs["column"])
    if "column_A" in kwargs:
        return str(kwargs["column_A"])
    return ", ".join(map(str, kwargs["column_list"])) if "column_list" in kwargs else ""


def _range(kwargs: dict[str, Any]) -> str:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    if low is not None and high is not None and not kwargs.get("strict_min") and not kwargs.get("strict_max"):
        return f"between {low} and {high}"
    parts = []
    if low is not None:
        parts.append(f"{'above' if kwargs.get('strict_min') else 'at least'} {low}")
    if high is not None:
        parts.append(f"{'below' if kwargs.get('strict_max') else 'at most'} {high}")
    return " and ".join(parts)


def _set(values: Any) -> str:
    listed = sorted(map(str, values or []))
    rest = len(listed) - _MOST_VALUES
    return ", ".join(map(quote, listed[:_MOST_VALUES])) + (f" and {rest} more" if rest > 0 else "")


def _spelled_out(kind: str, kwargs: dict[str, Any]) -> str:
    phrase = kind.removeprefix("expect_").replace("_to_", " must ", 1).replace("_", " ")
    if "column" in kwargs:
        phrase = phrase.removeprefix("column ")
    hidden = {"column", "column_list", "column_A", "mostly", "row_condition", "condition_parser"}
    shown = [f"{name.replace('_', ' ')} {quote(value)}" for name, value in kwargs.items() if name not in hidden]
    return phrase + (f" ({', '.join(shown)})" if shown else "")


_PHRASES = {
    "expect_column_values_to_not_be_null": lambda _: "must not be null",
    "expect_column_values_to_be_null": lambda _: "must be null",
    "expect_column_values_to_be_unique": lambda _: "must be unique",
    "expect_compound_columns_to_be_unique": lambda _: "must be unique together",
    "expect_column_values_to_be_between": lambda kwargs: f"must be {_range(kwargs)}",
    "expect_column_values_to_be_in_set": lambda kwargs: f"must be one of {_set(kwargs.get('value_set'))}",
    "expect_column_values_to_not_be_in_set": lambda kwargs: f"must not be one of {_set(kwargs.get('value_set'))}",
    "expect_column_values_to_match_regex": lambda kwargs: f"must match {quote(kwargs.get('regex'))}",
    "expect_column_values_to_not_match_regex": lambda kwargs: f"must not match {quote(kwargs.get('regex'))}",
    "expect_column_value_lengths_to_be_between": lambda kwargs: f"must have a length {_range(kwargs)}",
    "expect_column_value_lengths_to_equal": lambda kwargs: f"must have {kwargs.get('value')} characters",
    "expect_column_pair_values_a_to_be_greater_than_b": lambda kwargs: (
        f"must be {'at least' if kwargs.get('or_equal') else 'above'} {kwargs.get('column_B')}"
    ),
    "expect_column_pair_values_to_be_equal": lambda kwargs: f"must equal {kwargs.get('column_B')}",
    "expect_column_mean_to_be_between": lambda kwargs: f"must have a mean {_range(kwargs)}",
    "expect_column_median_to_be_between": lambda kwargs: f"must have a median {_range(kwargs)}",
    "expect_column_min_to_be_between": lambda kwargs: f"must have a minimum {_range(kwargs)}",
    "expect_column_max_to_be_between": lambda kwargs: f"must have a maximum {_range(kwargs)}",
    "expect_column_sum_to_be_between": lambda kwargs: f"must have a sum {_range(kwargs)}",
    "expect_column_stdev_to_be_between": lambda kwargs: f"must have a standard deviation {_range(kwargs)}",
    "expect_column_unique_value_count_to_be_between": lambda kwargs: f"must have {_range(kwargs)} distinct values",
    "expect_column_proportion_of_unique_values_to_be_between": lambda kwargs: (
        f"must have a share of distinct values {_range(kwargs)}"
    ),
    "expect_column_proportion_of_non_null_values_to_be_between": lambda kwargs: (
        f"must have a share of non-null values {_range(kwargs)}"
    ),
    "expect_table_row_count_to_be_between": lambda kwargs: f"the number of rows must be {_range(kwargs)}",
}
