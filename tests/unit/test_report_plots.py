"""Drawings: what they say in words, that they take the page's colours, and that names never become markup."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.report import drawing, plots

KEYS = ["2024-03-01", "2024-03-02", "2024-03-03"]
WICKED = '<b>"$x$" & co</b>'

DRAWINGS = {
    "line": plots.line("auc", KEYS, [0.9, None, 0.95], estimated=[0.8, 0.9, None], changes={"2024-03-02": "v2"}),
    "sparkline": plots.sparkline("auc", [0.9, None, 0.95]),
    "rows": plots.row_bars("rows", KEYS, {"clean": [90, None, 80], "quarantined": [5, None, 20]}),
    "intervals": plots.intervals("gains", [("all", 0.01, 0.02, 0.03), ("slice", None, 0.0, None)], reference=0.005),
    "calibration": plots.calibration("bins", [{"mean_score": 0.2, "share_positive": 0.25, "rows": 40}]),
    "heat map": plots.heat_map("drift", ["amount", "country"], KEYS, [[0.1, None, 1.5], [0.2, 0.3, 0.4]]),
    "nothing": plots.line("auc", [], []),
}
_WORDS = {
    "line": "auc, 2024-03-01 to 2024-03-03: 0.9 to 0.95, newest 0.95 of 2024-03-03; "
    "estimated without labels 0.8 to 0.9, newest 0.9 of 2024-03-02; v2 from 2024-03-02",
    "sparkline": "auc: 0.9 to 0.95, newest 0.95",
    "rows": "rows, 2024-03-01 to 2024-03-03: 170 clean, 25 quarantined in all",
    "intervals": "gains: all 0.02 (0.01 to 0.03); slice 0 (open to open); dashed: 0.005",
    "calibration": "bins: share positive against mean score in 1 bins, at most 0.05 apart",
    "heat map": "drift, 2024-03-01 to 2024-03-03: 1 of 2 columns passed their limit; "
    "amount up to 150% of its limit; country up to 40% of its limit",
    "nothing": "auc, no partitions: no value known",
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_says_in_words_what_is_to_be_seen(name: str) -> None:
    root = ET.fromstring(DRAWINGS[name])
    assert root.get("role") == "img"
    assert root.get("aria-label") == _WORDS[name]


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_brings_neither_colours_nor_styles_of_its_own(name: str) -> None:
    svg = DRAWINGS[name]
    for foreign in ("<style", "<metadata", "font:", "#01010", "#000000"):
        assert foreign not in svg
    assert "var(--" in svg


def test_a_name_never_becomes_markup_or_mathematics() -> None:
    found = [
        plots.line(WICKED, KEYS, [1, 2, 3], changes={KEYS[1]: WICKED}),
        plots.intervals(WICKED, [(WICKED, 0.0, 1.0, 2.0)], reference=1.0, reference_name=WICKED),
        plots.heat_map(WICKED, [WICKED], KEYS, [[0.1, 0.2, 0.3]]),
        plots.row_bars(WICKED, KEYS, {WICKED: [1, 2, 3]}),
    ]
    for svg in found:
        root = ET.fromstring(svg)
        assert WICKED in (root.get("aria-label") or "")
        assert WICKED in [element.text for element in root.iter() if element.tag.endswith("text")]


def test_a_label_keeps_its_digits() -> None:
    texts = [e.text for e in ET.fromstring(plots.line("auc", KEYS, [0.901, 0.902, 0.903])).iter() if e.text]
    assert "0.902" in texts


def test_the_same_numbers_are_the_same_bytes_in_any_thread() -> None:
    values = [[1.0, 2.0, float(place)] for place in range(12)]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda one: plots.line("t", KEYS, one), values))
    drawing.forget()
    assert together == [plots.line("t", KEYS, one) for one in values]
    assert len(set(together)) == 12


def test_two_drawings_of_one_page_share_no_name() -> None:
    ids = [{e.get("id") for e in ET.fromstring(svg).iter() if e.get("id")} for svg in DRAWINGS.values()]
    assert sum(len(names) for names in ids) == len(set().union(*ids)) > 0


@pytest.mark.parametrize("values", [[], [1.0], [None, 1.0, None]], ids=["none", "one", "one known"])
def test_a_sparkline_of_one_point_is_left_out(values: list[float | None]) -> None:
    assert plots.sparkline("auc", values) == ""
