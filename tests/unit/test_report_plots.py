"""Drawings: what they say in words, that they take the page's colours, and that names never become markup."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from pipelines.report import drawing, plots

KEYS = ["2024-03-01", "2024-03-02", "2024-03-03"]
LOSSES = [("amount", 0.4, 0.1), ("hour", 0.2, 0.0), ("noise", -0.1, 0.2)]
SHARES = {"no": [0.75, 0.5, None], "yes": [0.25, 0.5, None]}
WICKED = '<b>"$x$" & co</b>'

DRAWINGS = {
    "line": plots.line("auc", KEYS, [0.9, None, 0.95], estimated=[0.8, 0.9, None], changes={"2024-03-02": "v2"}),
    "sparkline": plots.sparkline("auc", [0.9, None, 0.95]),
    "rows": plots.row_bars("rows", KEYS, {"clean": [90, None, 80], "quarantined": [5, None, 20]}),
    "intervals": plots.intervals("gains", [("all", 0.01, 0.02, 0.03), ("slice", None, 0.0, None)], reference=0.005),
    "calibration": plots.calibration("bins", [{"mean_score": 0.2, "share_positive": 0.25, "rows": 40}]),
    "heat map": plots.heat_map("drift", ["amount", "country"], KEYS, [[0.1, None, 1.5], [0.2, 0.3, 0.4]]),
    "importance": plots.importance("Loss of auc", LOSSES, metric="auc"),
    "numbers": plots.dependence("amount", [1.5, 20, 300], {"1": [0.2, None, 0.1]}, scale=(0, 1)),
    "texts": plots.dependence("country", ["DE", "FR", "NL"], SHARES, scale=(0, 1)),
    "outputs": plots.outputs(["no", "yes"]),
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
    "importance": "Loss of auc: amount 0.4 ± 0.1; hour 0.2 ± 0; noise -0.1 ± 0.2; "
    "1 of 3 features lose no more than their spread",
    "numbers": "amount, 1.5 to 300: mean score 0.1 at 300 to 0.2 at 1.5",
    "texts": "country, 3 values: mean score of no 0.5 at FR to 0.75 at DE; mean score of yes 0.25 at DE to 0.5 at FR",
    "outputs": "Outputs: no, yes",
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
        plots.importance(WICKED, [(WICKED, 1.0, 0.1)], metric="auc"),
        plots.outputs([WICKED, "no"]),
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


def test_two_drawings_of_the_same_numbers_share_no_name() -> None:
    """Two features may move the scores alike."""
    svgs = [plots.dependence(name, [1, 2], {"1": [0.1, 0.2]}, scale=(0, 1)) for name in ("amount", "limit")]
    first, second = ({e.get("id") for e in ET.fromstring(svg).iter() if e.get("id")} for svg in svgs)
    assert first
    assert not first & second


def stroke(svg: str, width: float) -> list[list[tuple[float, float]]]:
    """The lines of the one path that is so wide: each from its beginning to its end, (across, down)."""
    paths = [e for e in ET.fromstring(svg).iter() if f"stroke-width: {width:g};" in f"{e.get('style')};"]
    (path,) = [e.get("d") or "" for e in paths]
    lines = [re.findall(r"(-?[\d.]+) (-?[\d.]+)", part) for part in path.split("M") if part.strip()]
    return [[(float(x), float(y)) for x, y in line] for line in lines]


def test_bars_of_importance_are_as_long_as_the_loss() -> None:
    """The second is half as long as the first; what gets better without the feature lies on the other side of zero."""
    (first, second, third) = stroke(DRAWINGS["importance"], 11)
    lengths = [end[0] - start[0] for start, end in (first, second, third)]
    assert first[0][0] == second[0][0] == third[0][0]
    assert lengths == pytest.approx([lengths[0], lengths[0] / 2, -lengths[0] / 4], abs=0.2)
    whiskers = [line for line in stroke(DRAWINGS["importance"], 1.2) if line[0][1] == line[1][1]]
    assert [end[0] - start[0] for start, end in whiskers if end[0] > start[0]] == pytest.approx(
        [lengths[0] / 2, lengths[0]], abs=0.2
    )


def test_dependence_lies_on_the_scale_that_it_was_given() -> None:
    """A quarter of the scale is as high in a flat line as in a steep one."""
    steep, flat = (
        stroke(plots.dependence("amount", [0, 1, 2], {"1": means}, scale=(0, 1)), 1.8)[0]
        for means in ([0.0, 0.25, 1.0], [0.25, 0.25, 0.25])
    )
    assert [down for _, down in flat] == [steep[1][1]] * 3
    assert steep[0][1] > steep[1][1]
    assert steep[1][1] - steep[2][1] == pytest.approx(3 * (steep[0][1] - steep[1][1]), abs=0.3)


def test_a_value_without_a_score_is_a_gap_and_not_zero() -> None:
    assert [
        len(line)
        for line in stroke(plots.dependence("a", [0, 1, 2, 3, 4], {"1": [1, 2, None, 3, 4]}, scale=(0, 5)), 1.8)
    ] == [2, 2]
    bars = stroke(plots.dependence("a", ["DE", "FR", "NL"], {"1": [0.5, None, 0.25]}, scale=(0, 1)), 13.4)
    assert [end[0] < start[0] for start, end in bars] == [True, True]
    assert bars[0][0][0] - bars[0][1][0] == pytest.approx(2 * (bars[1][0][0] - bars[1][1][0]), abs=0.2)


def test_hundreds_of_features_and_values_stay_readable_and_small() -> None:
    losses = [(f"feature {place}", 300.0 - place, 1.0) for place in range(300)]
    means = [float(place) for place in range(300)]
    texts = [f"text {place}" for place in range(300)]
    found = {
        "importance": plots.importance("t", losses, metric="auc"),
        "numbers": plots.dependence("a", means, {"1": means}, scale=(0, 300)),
        "texts": plots.dependence("a", texts, {"1": means}, scale=(0, 300)),
        "texts of outputs": plots.dependence("a", texts, {f"{at}": means for at in range(40)}, scale=(0, 300)),
        "outputs": plots.outputs(texts),
    }
    names = {name: len(re.findall("(?:feature|text) [0-9]+<", svg)) for name, svg in found.items()}
    assert names == {"importance": 20, "numbers": 0, "texts": 48, "texts of outputs": 6, "outputs": 8}
    assert {name: len(svg) for name, svg in found.items() if len(svg) > 20_000} == {}
    assert "the first 20 are drawn" in found["importance"]
    assert "300 values, 6 drawn" in found["texts of outputs"]
    assert "and 37 more outputs" in found["texts of outputs"]


@pytest.mark.parametrize(
    ("values", "outputs", "kept"),
    [
        ([0.5], 1, [0]),
        ([1, 2, 3], 8, [0, 1, 2]),
        (["DE", "FR"], 8, [0, 1]),
        ([True, False], 1, [0, 1]),
        (list("abcdefghij"), 8, [0, 1, 2, 3, 4, 5]),
    ],
    ids=["one number", "numbers", "texts", "yes and no", "many texts and outputs"],
)
def test_the_first_texts_are_drawn_and_numbers_from_end_to_end(
    values: list[float | str], outputs: int, kept: list[int]
) -> None:
    assert plots.drawn_values(values, outputs) == kept


def test_of_many_numbers_some_are_drawn_with_both_ends() -> None:
    kept = plots.drawn_values(list(range(1000)), 1)
    assert (kept[0], kept[-1], len(kept)) == (0, 999, 40)
    assert {after - before for before, after in pairwise(kept)} == {25, 26}


@pytest.mark.parametrize("rows", [[], [("amount", 0.0, 0.0)]], ids=["nothing measured", "nothing lost"])
def test_importance_without_a_loss_is_left_out(rows: list[tuple[str, float, float]]) -> None:
    assert plots.importance("Loss", rows, metric="auc") == ""


def test_one_output_needs_no_key() -> None:
    assert plots.outputs(["1"]) == ""
