"""The model card of real retrains: its numbers are the ledger's, and what is missing is said."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from pipelines.report.card_facts import card_facts, unsaid
from pipelines.report.figures import figure
from pipelines.report.model_card import cell, write_card
from pipelines.report.morning import write_morning
from pipelines.settings.pipeline import Card
from pipelines.training import evaluate, gate, replay, snapshot, train
from pipelines.training.mlflow_client import registry
from tests.model.feeds import TRAINING, at, learnable

DAYS = ("2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04")
GATE = {"policy": "bootstrap", "slices": ["country"]}
WORDS = {"intended_use": "Blocks <b>cards</b> | by hand", "limits": ["No cash"], "contact": "risk@example.com"}
pytestmark = pytest.mark.slow


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.addresses, self.text, self.drawings = set(), [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.drawings += [dict(attrs)["aria-label"]] if tag == "svg" else []
        self.addresses += [value for name, value in attrs if name in ("href", "src") and value]

    def handle_data(self, data):
        self.text.append(data)


def ready(new_home, **changes):
    run = new_home("2026-03-04", **({"gate": GATE} | changes))
    learnable(run, DAYS)
    return run


def trained(run):
    snapshot_id = snapshot(run)["snapshot_id"]
    return snapshot_id, train(run, snapshot_id)["version"]


def judged(run):
    snapshot_id, version = trained(run)
    evaluate(run, snapshot_id, version)
    return version, gate(run, snapshot_id, version)


def cards(run, version):
    place = run.reports.at("models")
    return place.read(f"{version}.md").decode(), place.read(f"{version}.html").decode()


def dependence(run, version):
    """Each explained feature, and its values in the words of a drawing."""
    found = {one["feature"]: one["values"] for one in card_facts(run, version)["explanation"]["dependence"]}
    assert set(found) == {"amount_eur", "country"}
    ends = f"{found['amount_eur'][0]:.4g} to {found['amount_eur'][-1]:.4g}"
    return [(name, ends if name == "amount_eur" else "2 values") for name in found]


def test_card_says_what_the_ledger_says(new_home):
    run = ready(new_home, card=WORDS)
    version, decision = judged(run)
    text, page = cards(run, version)
    record = run.ledger.model(run.name, version)["record"]
    for name, value in record["holdout_metrics"].items():
        assert re.search(rf"\| {name}.* \| {re.escape(figure(value))} \|", text), name
    assert f"{record['rows']['train']:,} rows in 3 partition(s), 2026-03-01 to 2026-03-03" in text
    assert (
        f"| features | {record['tables']['features']['version']} | 4 | `{record['tables']['features']['contents']}` |"
        in text
    )
    checks = run.ledger.decisions(run.name, "gate")[0]["numbers"]["checks"]
    parsed = Page()
    parsed.feed(page)
    shown = "\n".join(parsed.text)
    assert [check["text"] for check in checks if check["text"] not in shown] == []
    assert f"Gate: **{decision['outcome']}**" in text
    assert record["code_version"] in text
    assert "Missing" not in text + shown
    assert [words.split(":")[0] for words in parsed.drawings] == [
        "Calibration on the holdout",
        "Loss of roc_auc without the feature",
        *(f"{name}, {values}" for name, values in dependence(run, version)),
    ]


def test_card_is_one_file_and_values_never_become_markup(new_home):
    run = ready(new_home, card=WORDS)
    version, _ = judged(run)
    text, page = cards(run, version)
    parsed = Page()
    parsed.feed(page)
    assert not parsed.tags & {"script", "link", "img", "iframe", "b-cards"}
    outside = [one for one in parsed.addresses if not one.startswith("#")]  # marks of a drawing lie in the page
    assert outside == [f"../../index.html#{run.name}"]
    assert "&lt;b&gt;cards&lt;/b&gt;" in page
    assert r"&lt;b>cards&lt;/b> \| by hand" in text


def test_what_nobody_filled_in_is_missing(new_home):
    run = ready(new_home, gate={"policy": "bootstrap"})
    snapshot_id, version = trained(run)
    text, page = cards(run, version)
    for key in ("intended_use", "limits", "contact"):
        assert f"nobody filled in `card.{key}`" in text
        assert f"nobody filled in <code>card.{key}</code>" in page
    assert "the gate has not judged this version" in text
    assert "`evaluate` has not judged this version" in text
    evaluate(run, snapshot_id, version)
    text, _ = cards(run, version)
    assert "`evaluate` has not judged this version" not in text
    assert "the gate has not judged this version" in text
    assert "`gate.slices` names no column" in text


def test_a_rejected_version_has_its_card_too(new_home):
    weak = {"family": "sklearn", "estimator": "DummyClassifier"}
    run = ready(new_home, training=TRAINING | {"model": weak, "missing": {"default": {"strategy": "median"}}})
    version, decision = judged(run)
    assert decision["outcome"] == "REJECT"
    text, _ = cards(run, version)
    assert "Gate: **REJECT**" in text
    assert "'DummyClassifier' does not split its scores" in text.replace("\\", "")


def test_the_same_facts_give_the_same_bytes_here_and_in_mlflow(new_home):
    run = ready(new_home)
    version, _ = judged(run)
    before = cards(run, version)
    write_card(run, version)
    write_card(at(run, run.key, run_id="somebody-else", gate=GATE), version)
    assert cards(run, version) == before
    run_id = run.ledger.model(run.name, version)["mlflow_run_id"]
    with registry(run) as client:
        for name, content in zip(("card.md", "card.html"), before, strict=True):
            with open(client.download_artifacts(run_id, f"model_card/{name}"), encoding="utf-8") as file:
                assert file.read() == content
        with open(client.download_artifacts(run_id, "explanation.json"), encoding="utf-8") as file:
            assert json.load(file) == card_facts(run, version)["explanation"]


def test_card_is_kept_and_filled_in_after_staging_was_swept(new_home):
    run = ready(new_home)
    version, _ = judged(run)
    before = cards(run, version)
    shutil.rmtree(run.home.root / "staging")
    write_card(run, version)
    assert cards(run, version) == before
    write_card(at(run, run.key, gate=GATE, card=WORDS), version)
    assert "risk@example.com" in cards(run, version)[0]
    assert "risk@example.com" not in before[0]


def test_the_morning_report_leads_to_the_card(new_home):
    run = ready(new_home)
    version, _ = judged(run)
    run.ledger.end_attempt(run.ledger.start_attempt(run.name, run.key, "gate", run.run_id, "c"), "done", {}, None, 1)
    write_morning(run.home)
    parsed = Page()
    parsed.feed(run.home.files("reports").read("index.html").decode())
    assert f"{run.name}/models/{version}.html" in parsed.addresses


def test_evaluating_twice_explains_the_same(new_home):
    run = ready(new_home)
    snapshot_id, version = trained(run)
    evaluate(run, snapshot_id, version)
    files = run.staged("retrain", snapshot_id)
    first = files.read(f"explanation-{version}.json")
    evaluate(run, snapshot_id, version)
    assert files.read(f"explanation-{version}.json") == first
    found = json.loads(first)
    # Amounts decide which payments are fraud, countries do not.
    assert [row["feature"] for row in found["permutation"]["features"]] == ["amount_eur", "country"]
    assert found["permutation"]["features"][0]["loss"] > 5 * abs(found["permutation"]["features"][1]["loss"])
    judged = json.loads(files.read(f"evaluation-{version}.json"))
    low, high = judged["intervals"]["roc_auc"]
    assert low < judged["metrics"]["challenger"]["roc_auc"] < high
    assert [(one["value"], one["rows"]) for one in judged["slices"]] == [("DE", 100), ("FR", 100)]
    assert sum(point["rows"] for point in judged["calibration"]) == 200


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("card_count_1h", "card_count_1h"),
        ("_a_ | b", r"\_a\_ \| b"),
        ("[x](http://y) <i>", r"\[x\](http://y) &lt;i>"),
        ("> 0.5 -> 0.8", r"\> 0.5 -> 0.8"),
        ("# a\nb", r"\# a b"),
    ],
    ids=["a column's name", "emphasis and cells", "links and tags", "quotations", "headings and lines"],
)
def test_text_in_markdown_stays_text(text, shown):
    assert cell(text) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0.123456, "0.1235"), (126154.2, "126,200"), (1e-7, "1e-07"), (1234567, "1,234,567"), ("DE", "DE")],
)
def test_figures_have_four_digits(value, shown):
    assert figure(value) == shown


@pytest.mark.parametrize(
    ("value", "beside", "shown"),
    [(9.7e-05, 0.843, "0.0001"), (-3e-06, 0.843, "0.0000"), (1.234, 77.6, "1.23"), (0.1, 0.0, "0.1"), (None, 1.0, "–")],
    ids=["no power of ten", "no zero below zero", "a larger scale", "nothing beside", "missing"],
)
def test_a_loss_has_the_decimals_of_its_metric(value, beside, shown):
    assert figure(value, beside) == shown


def test_card_says_that_no_score_reaches_the_threshold():
    metrics = {"roc_auc": 0.84, "f1": 0.0, "balanced_accuracy": 0.5}
    evaluation = {"problems": {}, "metrics": {"challenger": metrics}, "slices": [], "champion_overlap": 0.0}
    (sentence,) = unsaid({}, evaluation, None, 100)
    assert sentence.startswith("No score of the holdout reaches 0.5: accuracy")
    metrics["f1"] = 0.1
    assert unsaid({}, evaluation, None, 100) == []


def test_card_words_do_not_change_the_settings_digest(new_home):
    settings = new_home("2026-03-04").pipeline
    assert settings.model_copy(update={"card": Card.model_validate(WORDS)}).digest() == settings.digest()


def test_card_tells_how_features_were_prepared(new_home):
    """All rows are of one country: its column is dropped, and the card says why; a replay prepares alike."""
    prepared = {
        "encode": {"country": {"encoder": "frequency"}},
        "scale": "robust",
        "select": [{"by": "variance"}],
        "project": {"method": "pca", "components": 1, "keep_inputs": True},
        "vif": True,
    }
    missing = {"default": {"strategy": "mode"}}
    run = ready(new_home, training=TRAINING | prepared | {"missing": missing})
    _, version = trained(run)
    record = run.ledger.model(run.name, version)["record"]
    step = record["facts"]["preparation"]["selection"]["steps"][0]
    assert step["dropped"] == [{"column": "country (frequency)", "why": "variance 0, must be above 0"}]
    for text in cards(run, version):
        assert "Selection by variance left 1 of 2 columns." in text
        assert "1 component (pca) of 1 column beside them, which hold 100 % of their variance." in text
        assert "variance 0, must be above 0" in text
        assert "variance inflation factor" in text
    assert replay(replace(run, run_id="replay-1"), version)["verdict"] == "equal"
