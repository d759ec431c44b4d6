"""What may leave the house, and how one message becomes text, Slack blocks, a mail and JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from pipelines.notify.events import approval_message, champion_message, failure_message, late_message
from pipelines.notify.message import Link, Message
from pipelines.notify.rendering import as_html, as_json, as_slack, as_text
from pipelines.notify.safe import Safe, known_words

SAFE = Safe(known_words({"source": {"columns": {"amount": {"type": "number"}}}, "key": ["payment_id"]}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("column 'amount' moved", "column 'amount' moved", id="a column of the pipeline"),
        pytest.param("since '2026-03-02'", "since '2026-03-02'", id="a partition"),
        pytest.param("got '4111 1111' in 'amount'", "got …", id="a value, and all behind it"),
        pytest.param("got 'O'Brien' and more", "got …", id="a value with a quote inside"),
        pytest.param("card 4111 1111 1111 1111 twice", "card … twice", id="a card number"),
        pytest.param("ask ann@example.com now", "ask … now", id="an address"),
        pytest.param("at postgresql://me:secret@db/x away", "at … away", id="credentials in a URL"),
        pytest.param("gain +0.012345678 of 1,234", "gain +0.012345678 of 1,234", id="numbers stay"),
        pytest.param("two\n  lines", "two lines", id="one line"),
        pytest.param("x" * 400, "x" * 299 + "…", id="long"),
    ],
)
def test_what_could_be_of_a_row_or_a_secret_is_cut(text: str, expected: str) -> None:
    assert SAFE.text(text) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param("E-X-Y cards: column 'amount' is bad.", "column 'amount' is bad. (E-X-Y)", id="ours"),
        pytest.param("ValueError: could not convert 'Ann'", "ValueError (see the task's log)", id="of a library"),
        pytest.param("MemoryError", "MemoryError (see the task's log)", id="only its kind"),
        pytest.param("KeyError('Ann')", "an error (see the task's log)", id="as Python shows it"),
        pytest.param("'Ann'", "an error (see the task's log)", id="only a value"),
        pytest.param("", "an error (see the task's log)", id="none"),
    ],
)
def test_of_errors_only_our_own_words_are_told(error: str, expected: str) -> None:
    assert SAFE.error(error) == expected


MESSAGE = Message(
    kind="night",
    topic="night released r1",
    pipeline="cards",
    partition="2026-03-02",
    mood="look",
    title="cards 2026-03-02: <released>",
    changed=("drift: WATCH & more", "version 2 <!channel>"),
    same=("rows: 3 read",),
    todo=("answer",),
    links=(Link("Pipeline cards", "http://airflow/p?a=1&b=2"),),
)


def test_text() -> None:
    assert as_text(MESSAGE) == (
        "cards 2026-03-02: <released>\n"
        "  * drift: WATCH & more\n"
        "  * version 2 <!channel>\n"
        "\n"
        "As before:\n"
        "  * rows: 3 read\n"
        "\n"
        "To do:\n"
        "  * answer\n"
        "\n"
        "Pipeline cards: http://airflow/p?a=1&b=2\n"
    )


def test_slack_cannot_be_made_to_call_everybody() -> None:
    body = as_slack(MESSAGE)
    assert body["text"] == ":eyes: cards 2026-03-02: &lt;released&gt;"
    assert [block["type"] for block in body["blocks"]] == ["header", "section", "section", "section", "context"]
    assert body["blocks"][1]["text"]["text"] == "• drift: WATCH &amp; more\n• version 2 &lt;!channel&gt;"
    assert body["blocks"][2]["text"]["text"] == "*As before*\n• rows: 3 read"
    assert body["blocks"][4]["elements"][0]["text"] == "<http://airflow/p?a=1&amp;b=2|Pipeline cards>"


def test_slack_is_kept_within_its_limits() -> None:
    long = Message("night", "t", "cards", "p", "good", "t" * 200, changed=tuple("x" * 290 for _ in range(12)))
    header, section = as_slack(long)["blocks"]
    assert len(header["text"]["text"]) == 150
    assert len(section["text"]["text"]) <= 3000


def test_mail_is_escaped_and_loads_nothing() -> None:
    page = as_html(MESSAGE)
    assert "<li>version 2 &lt;!channel&gt;</li>" in page
    assert '<a href="http://airflow/p?a=1&amp;b=2">Pipeline cards</a>' in page
    assert "<script" not in page
    assert "<img" not in page


def test_json_holds_everything_and_an_id_that_repeats() -> None:
    body = json.loads(json.dumps(as_json(MESSAGE)))
    assert body["id"] == MESSAGE.id
    assert body["changed"] == ["drift: WATCH & more", "version 2 <!channel>"]
    assert body["links"] == [{"text": "Pipeline cards", "url": "http://airflow/p?a=1&b=2"}]
    assert body["text"] == as_text(MESSAGE)


def test_a_new_champion_says_since_when_why_and_by_whom() -> None:
    change = {
        **{"version": 3, "seq": 2, "reason": "better", "actor": "gate, approved by ann", "run_id": "r"},
        "effective_from": datetime(2026, 3, 3, tzinfo=UTC),
    }
    message = champion_message("cards", change, 1, SAFE, "http://a")
    assert message.title == "cards: version 3 is the champion from 2026-03-03 on"
    assert message.changed == (
        "version 3 scores from 2026-03-03 on, instead of version 1",
        "why: better",
        "decided by gate, approved by ann",
    )
    assert message.links[0].url == "http://a/nightshift/version/cards/3"


@pytest.mark.parametrize(
    ("outcome", "title", "todo"),
    [
        ("WAITING", "cards 2026-03-02: may version 3 be promoted?", ("answer under Browse > Required Actions",)),
        ("TIMEOUT", "cards 2026-03-02: nobody answered about version 3", ()),
    ],
)
def test_a_question_names_its_risks(outcome: str, title: str, todo: tuple[str, ...]) -> None:
    asked = {
        **{"partition": "2026-03-02", "model_version": 3, "outcome": outcome, "run_id": "r"},
        **{"reasons": ["waits for a person"], "numbers": {"risks": ["feature 'amount' alone"]}},
    }
    message = approval_message("cards", asked, SAFE, "http://a")
    assert (message.title, message.todo) == (title, todo)
    assert message.changed[1] == "risk: feature 'amount' alone"


def test_a_failure_and_a_late_night_without_a_partition_have_a_title() -> None:
    failed = failure_message("cards", "", "train", "E-X-Y a: b.", "t", "retrain", SAFE, "http://a")
    assert (failed.title, failed.changed) == ("cards: retrain failed at train", ("train: b. (E-X-Y)",))
    assert late_message("cards", "", "r", 5, "http://a").title == "cards: late, not done after 5 minutes"
