"""The date of a partition in the path of its file, in the form that somebody else's system writes."""

from __future__ import annotations

import pytest

from pipelines.partitions import Grain
from pipelines.settings.dated_path import before_partition, fill_partition, form_problem, has_partition


@pytest.mark.parametrize(
    ("path", "key", "grain", "expected"),
    [
        ("in/{partition}.csv", "2026-03-01", "day", "in/2026-03-01.csv"),
        ("in/{partition:%Y%m%d}.csv", "2026-03-01", "day", "in/20260301.csv"),
        ("in/{partition:%Y/%m}/{partition:%d}.csv", "2026-03-01", "day", "in/2026/03/01.csv"),
        ("in/{partition:%Y-%m}.csv", "2026-03-01", "month", "in/2026-03.csv"),
        ("in/{partition:%Y%m%d%H}.csv", "2026-03-01T07", "hour", "in/2026030107.csv"),
        ("in/cards.csv", "2026-03-01", "day", "in/cards.csv"),
    ],
    ids=["key", "digits", "folders", "month", "hour", "one for all"],
)
def test_a_path_is_filled_with_the_start_of_the_partition(path: str, key: str, grain: Grain, expected: str) -> None:
    assert fill_partition(path, key, grain) == expected
    assert has_partition(path) is (path != expected)
    assert expected.startswith(before_partition(path))


@pytest.mark.parametrize(
    ("word", "grain", "problem"),
    [
        ("partition", "day", None),
        ("partition:%d.%m.%Y", "day", None),
        ("partition:%Y-%m", "month", None),
        ("partition:%Y-%m", "day", "must tell each day apart, but lacks %d"),
        ("partition:%Y%m%d", "hour", "must tell each hour apart, but lacks %H"),
        ("partition:", "month", "must tell each month apart, but lacks %Y and %m"),
        ("partition:%d%b%Y", "day", "may hold %Y, %m, %d and %H, got '%b'"),
        ("partiton:%Y", "day", ""),
    ],
)
def test_a_form_must_give_each_partition_a_file_of_its_own(word: str, grain: Grain, problem: str | None) -> None:
    assert form_problem(word, grain) == problem
