"""A model card's drawings from its facts, on the card and on the page of the version."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pipelines.home import Home
from pipelines.pages import version
from pipelines.pages.version_facts import version_facts
from pipelines.report import card_drawings, model_card
from tests.pages import HOSTILE, Seen, alpha_home, checked, ledger_of, register

CURVE = [
    {"mean_score": 0.2, "share_positive": 0.25, "rows": 40},
    {"mean_score": 0.8, "share_positive": 0.7, "rows": 60},
]
EVALUATION: dict[str, Any] = {
    "metric": "roc_auc",
    "metrics": {},
    "problems": {},
    "champion": None,
    "champion_overlap": 0,
}
LOSSES = [{"feature": "amount", "loss": 0.3, "spread": 0.01}, {"feature": "country", "loss": 0.1, "spread": 0.02}]
PERMUTATION = {"metric": "roc_auc", "value": 0.9, "rows": 100, "of_rows": 100, "repeats": 5, "not_measured": 0}
AMOUNT = {"feature": "amount", "type": "number", "values": [1, 2], "means": {"1": [0.1, 0.5]}, "rows": 100}
COUNTRY = {"feature": "country", "type": "category", "values": ["DE", "FR"], "means": {"1": [0.3, 0.2]}, "rows": 100}
ALL_DRAWINGS = [
    "Calibration on the holdout: share positive against mean score in 2 bins, at most 0.1 apart",
    "Loss of roc_auc without the feature: amount 0.3 ± 0.01; country 0.1 ± 0.02; "
    "0 of 2 features lose no more than their spread",
    "amount, 1 to 2: mean score 0.1 at 1 to 0.5 at 2",
    "country, 2 values: mean score 0.2 at FR to 0.3 at DE",
]


def measured(root: Path, task: str = "binary", dependence: Any = (AMOUNT, COUNTRY), **evaluation: Any) -> Home:
    """Version 1 of `alpha`, with what a card keeps of what was measured."""
    home = alpha_home(root)
    register(ledger_of(home), task=task, estimator="XGBoost")
    permutation = PERMUTATION | {"features": LOSSES}
    found = {
        "evaluation": EVALUATION | {"calibration": CURVE} | evaluation,
        "explanation": {"permutation": permutation, "dependence": list(dependence)},
    }
    home.files("reports", "alpha").at("models").write("1.json", json.dumps(found).encode())
    return home


def facts(home: Home) -> dict[str, Any]:
    card = version_facts(home, "alpha", 1)["card"]
    assert card is not None
    return dict(card)


def labels(seen: Seen) -> list[str]:
    return [str(one["aria-label"]) for one in seen.all("svg")]


def test_the_card_draws_all_that_was_measured_and_the_page_of_the_version_the_same(tmp_path: Path) -> None:
    home = measured(tmp_path)
    card = model_card.page(facts(home))
    page = version.page(home, "alpha", 1, lambda _: False, {})
    assert labels(Seen(card)) == ALL_DRAWINGS
    assert labels(checked(page)) == ALL_DRAWINGS[:2]
    shared = [card_drawings.calibration(facts(home)), card_drawings.importance(facts(home))]
    assert [(one in card, one in page) for one in shared] == [(True, True)] * 2


@pytest.mark.parametrize("explanation", [None, {"problem": "too few rows"}, {"permutation": {"problem": "no metric"}}])
def test_a_card_without_measurements_says_so_and_draws_nothing(tmp_path: Path, explanation: Any) -> None:
    """A record of an earlier release, and ones that could not be explained."""
    home = alpha_home(tmp_path)
    register(ledger_of(home))
    found = {"evaluation": None, "explanation": explanation}
    home.files("reports", "alpha").at("models").write("1.json", json.dumps(found).encode())
    seen = Seen(model_card.page(facts(home)))
    assert labels(seen) == []
    assert "Partial dependence Missing: not computed." in seen.text


def test_several_classes_are_right_and_not_positive(tmp_path: Path) -> None:
    assert "share right against" in card_drawings.calibration(facts(measured(tmp_path, task="multiclass")))


def test_uncalibrated_scores_are_a_second_line(tmp_path: Path) -> None:
    card = facts(measured(tmp_path))
    before = card | {"uncertainty": card["uncertainty"] | {"before": CURVE}}
    lines = [len(re.findall("stroke-width: 1.6", card_drawings.calibration(one))) for one in (card, before)]
    assert lines == [1, 2]


@pytest.mark.parametrize(
    ("means", "low", "high"),
    [([0.1, 0.5], 0.0, 0.5), ([0.4, 0.5], 0.4, 0.5), ([-2.0, 5.0], -2.0, 5.0), ([7.0, 7.0], 7.0, 7.0)],
    ids=["bars begin at zero", "zero is too far", "below zero", "all the same"],
)
def test_the_scale_holds_zero_where_that_is_cheap(tmp_path: Path, means: list[float], low: float, high: float) -> None:
    found = card_drawings.dependence(facts(measured(tmp_path, dependence=[AMOUNT | {"means": {"1": means}}])))
    assert (found["low"], found["high"]) == (low, high)


def test_features_with_one_value_or_no_score_have_no_panel(tmp_path: Path) -> None:
    one = AMOUNT | {"feature": "constant", "values": [1], "means": {"1": [0.3]}}
    none = AMOUNT | {"feature": "refused", "means": {"1": [None, None]}}
    found = card_drawings.dependence(facts(measured(tmp_path, dependence=[one, none, AMOUNT])))
    assert [panel["feature"] for panel in found["panels"]] == ["amount"]
    assert card_drawings.dependence(facts(measured(tmp_path / "none", dependence=[one, none]))) == {}


def test_codes_of_a_category_are_bars(tmp_path: Path) -> None:
    """12 is not more than 7: a line between them would say so."""
    codes = COUNTRY | {"feature": "code", "values": [12, 7]}
    (panel,) = card_drawings.dependence(facts(measured(tmp_path, dependence=[codes])))["panels"]
    assert "code, 2 values: mean score 0.2 at 7 to 0.3 at 12" in panel["drawing"]


def test_a_card_of_hundreds_stays_small_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    classes = [f"class {place}" for place in range(30)]
    values = [f"value {place}" for place in range(200)]
    many = [
        {**COUNTRY, "feature": f"f{at}", "values": values, "means": {one: [0.1, 0.2] * 100 for one in classes}}
        for at in range(100)
    ]
    seen = Seen(page := model_card.page(facts(measured(tmp_path, "multiclass", many))))
    assert len(labels(seen)) == 2 + 1 + 12
    assert "88 more features are left out." in seen.text
    assert "f0 194 more values are left out" in seen.text
    assert len(page.encode()) < 150_000


def test_names_never_become_markup(tmp_path: Path) -> None:
    hostile = COUNTRY | {
        "feature": HOSTILE,
        "values": [HOSTILE, "DE"],
        "means": {HOSTILE: [0.1, 0.2], "no": [0.9, 0.8]},
    }
    page = model_card.page(facts(measured(tmp_path, "multiclass", [hostile])))
    assert HOSTILE not in page
    assert any(HOSTILE in label for label in labels(Seen(page)))
