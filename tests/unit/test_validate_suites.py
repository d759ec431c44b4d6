from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import ConfigError
from pipelines.validate.known import ROW_LEVEL, TABLE_LEVEL, UNUSABLE
from pipelines.validate.suites import load_suite, suite_problems
from pipelines.validate.texts import masked, rule_text
from tests.validating import POSITIVE, rule, write_suite

COLUMNS = ["payment_id", "amount_eur", "paid_at"]


def without(entry: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name != key}


# Wrong in a way that needs no Great Expectations to see.
SHALLOW = {
    "unknown type": (
        POSITIVE | {"type": "expect_column_values_to_be_betwen"},
        "E-SUITE-TYPE",
        "Did you mean 'expect_column_values_to_be_between'?",
    ),
    "type that is always false": (
        rule("T", "expect_column_values_to_be_in_type_list", column="payment_id", type_list=["str"]),
        "E-SUITE-TYPE",
        "cannot be used here",
    ),
    "old key of 0.x": (without(POSITIVE, "type") | {"expectation_type": "x"}, "E-SUITE-SHAPE", "'expectation_type'"),
    "severity": (POSITIVE | {"severity": "criticl"}, "E-SUITE-SEVERITY", "Did you mean 'critical'?"),
    "no rule id": (without(POSITIVE, "meta"), "E-SUITE-RULE-ID", "'rule_id'"),
    "reserved rule id": (POSITIVE | {"meta": {"rule_id": "PARTITION_REFUSED"}}, "E-SUITE-RULE-ID", "PARTITION_REFUSED"),
    "rule id with a colon": (POSITIVE | {"meta": {"rule_id": "A: B"}}, "E-SUITE-RULE-ID", "'A: B'"),
    "undeclared column": (
        rule("A", "expect_column_values_to_not_be_null", column="amount_eu"),
        "E-SUITE-COLUMN",
        "Did you mean 'amount_eur'?",
    ),
    "undeclared column of a list": (
        rule("A", "expect_compound_columns_to_be_unique", column_list=["payment_id", "shop"]),
        "E-SUITE-COLUMN",
        "'shop'",
    ),
    "date without time": (
        rule("A", "expect_column_values_to_be_between", column="paid_at", min_value="2026-01-01"),
        "E-SUITE-KWARGS",
        "2026-01-01T00:00:00",
    ),
    "broken regex": (
        rule("A", "expect_column_values_to_match_regex", column="payment_id", regex="("),
        "E-SUITE-KWARGS",
        "no regular expression",
    ),
    "own result format": (
        rule("A", "expect_column_values_to_not_be_null", column="amount_eur", result_format="BASIC"),
        "E-SUITE-KWARGS",
        "'result_format'",
    ),
    "no kwargs": (without(POSITIVE, "kwargs"), "E-SUITE-SHAPE", "'kwargs'"),
    "no object": ("expect_nothing", "E-SUITE-SHAPE", "must be an object"),
}
# Only Great Expectations knows.
DEEP = {
    "unknown kwarg": rule("A", "expect_column_values_to_be_between", column="amount_eur", min=3, max_value=4),
    "missing kwarg": rule("A", "expect_column_values_to_be_in_set", column="amount_eur"),
    "no bound": rule("A", "expect_column_values_to_be_between", column="amount_eur"),
    "share above one": rule("A", "expect_column_values_to_not_be_null", column="amount_eur", mostly=1.5),
}


@pytest.mark.parametrize(("entry", "code", "hint"), SHALLOW.values(), ids=SHALLOW)
def test_wrong_expectation_is_found_without_great_expectations(
    tmp_path: Path, entry: Any, code: str, hint: str
) -> None:
    problems = suite_problems(write_suite(tmp_path, [POSITIVE | {"meta": {"rule_id": "OK"}}, entry]), COLUMNS)
    assert [problem.split()[0] for problem in problems if problem.startswith(code)] == [code]
    assert "payments.json: expectations[1]" in problems[0]
    assert hint in " ".join(problems)


@pytest.mark.parametrize("entry", DEEP.values(), ids=DEEP)
def test_wrong_arguments_are_found_by_great_expectations(tmp_path: Path, entry: dict[str, Any]) -> None:
    path = write_suite(tmp_path, [POSITIVE, entry])
    assert suite_problems(path, COLUMNS) == []
    (problem,) = suite_problems(path, COLUMNS, deep=True)
    assert problem.startswith("E-SUITE-KWARGS expectations/payments.json: expectations[1]")
    with pytest.raises(ConfigError, match=r"E-SUITE-KWARGS .*expectations\[1\]"):
        load_suite(path, COLUMNS)


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    path = write_suite(tmp_path, [POSITIVE | {"severity": "bad"}, POSITIVE | {"type": "expect_nope"}])
    codes = [problem.split()[0] for problem in suite_problems(path, COLUMNS)]
    assert codes == ["E-SUITE-SEVERITY", "E-SUITE-TYPE", "E-SUITE-RULE-ID"]
    with pytest.raises(ConfigError, match=r"E-SUITE-SEVERITY.*E-SUITE-TYPE.*E-SUITE-RULE-ID"):
        load_suite(path, COLUMNS)


@pytest.mark.parametrize(
    ("content", "code", "hint"),
    [
        pytest.param('{"name": "x", "expectations": []}', "E-SUITE-EMPTY", "accepts everything", id="empty suite"),
        pytest.param('{"name": "x", "name": "y", "expectations": []}', "E-SUITE-JSON", "'name'", id="key twice"),
        pytest.param('{"name": "x",', "E-SUITE-JSON", "line 1", id="cut file"),
        pytest.param('{"name": "x", "rules": []}', "E-SUITE-SHAPE", "'rules'", id="unknown key"),
        pytest.param("[]", "E-SUITE-SHAPE", "an object", id="list"),
        pytest.param('{"expectations": [{"type": "x"}]}', "E-SUITE-SHAPE", "'name'", id="no name"),
    ],
)
def test_wrong_file_is_refused(tmp_path: Path, content: str, code: str, hint: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    problems = suite_problems(path, COLUMNS)
    assert problems[0].startswith(f"{code} expectations/x.json")
    assert hint in " ".join(problems)


def test_missing_suite_names_the_nearest(tmp_path: Path) -> None:
    path = write_suite(tmp_path, [POSITIVE])
    (problem,) = suite_problems(path.with_name("paiments.json"), COLUMNS)
    assert problem.startswith("E-SUITE-MISSING")
    assert "Did you mean 'payments'?" in problem


def test_good_suite_keeps_order_severity_and_notes(tmp_path: Path) -> None:
    rules = [
        rule("B", "expect_column_values_to_not_be_null", "info", "why", column="amount_eur"),
        without(POSITIVE, "severity"),
    ]
    suite = load_suite(write_suite(tmp_path, rules), COLUMNS)
    assert [(item.rule_id, item.severity, item.note) for item in suite.rules] == [
        ("B", "info", "why"),
        ("AMOUNT_POSITIVE", "critical", ""),
    ]


def test_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = write_suite(tmp_path, [POSITIVE])
    before = load_suite(path).digest
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert load_suite(path).digest != before


def test_known_types_are_those_of_the_installed_great_expectations() -> None:
    from great_expectations.expectations import expectation as base
    from great_expectations.expectations.registry import (
        get_expectation_impl,
        list_registered_expectation_implementations,
    )

    maps = (base.ColumnMapExpectation, base.ColumnPairMapExpectation, base.MulticolumnMapExpectation)
    core = {
        name: get_expectation_impl(name)
        for name in list_registered_expectation_implementations()
        if get_expectation_impl(name).__module__.startswith("great_expectations.expectations.core")
    }
    row_level = {name for name, kind in core.items() if issubclass(kind, maps)}
    assert row_level - set(UNUSABLE) == ROW_LEVEL
    assert set(core) - row_level - set(UNUSABLE) == TABLE_LEVEL


@pytest.mark.parametrize(
    ("kind", "kwargs", "text"),
    [
        (
            "expect_column_values_to_be_between",
            {"column": "a", "min_value": 0, "max_value": 5},
            "a must be between 0 and 5",
        ),
        (
            "expect_column_values_to_be_between",
            {"column": "a", "min_value": 0, "strict_min": True, "mostly": 0.95},
            "a must be above 0, in at least 0.95 of the rows",
        ),
        ("expect_column_values_to_be_in_set", {"column": "a", "value_set": ["y", "x"]}, "a must be one of 'x', 'y'"),
        (
            "expect_column_pair_values_a_to_be_greater_than_b",
            {"column_A": "a", "column_B": "b", "row_condition": "c > 1"},
            "a must be above b, where c > 1",
        ),
        ("expect_table_row_count_to_be_between", {"min_value": 3}, "the number of rows must be at least 3"),
        ("expect_column_values_to_be_increasing", {"column": "a"}, "a values must be increasing"),
        ("expect_table_column_count_to_equal", {"value": 3}, "table column count must equal (value '3')"),
    ],
)
def test_rules_read_as_sentences(kind: str, kwargs: dict[str, Any], text: str) -> None:
    assert rule_text(kind, kwargs) == text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("Änne-42@x.de", "Xxxx-99@x.xx"),
        ("4242424242424242", "9999999999999999"),
        (4242424242424242, "4.24242e+15"),
        (-3.5, "-3.5"),
        (None, "null"),
        (float("nan"), "null"),
        (True, "True"),
        ("a" * 50, "x" * 40 + "… (50 characters)"),
    ],
)
def test_reports_show_no_text(value: Any, shown: str) -> None:
    assert masked(value) == shown
