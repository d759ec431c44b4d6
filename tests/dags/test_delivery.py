"""Messages through Airflow's real hooks into real servers on loopback: each connection takes each message once."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import ConfigError, StorageError
from pipelines.home import Home
from pipelines.ledger import Ledger
from pipelines.notify.message import Link, Message
from pipelines.settings.notify import Notify
from tests.notify_servers import Smtp, Webhook, serving

TOKEN = "T000/B000/s3cr3t"
MESSAGE = Message(
    kind="night",
    topic="night released r1",
    pipeline="cards",
    partition="2026-03-02",
    mood="look",
    title="cards 2026-03-02: released",
    changed=("drift: WATCH, it was OK",),
    links=(Link("Pipeline cards", "http://airflow/nightshift/pipeline/cards"),),
)
KEY = ("cards", "2026-03-02", "night released r1")


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with serving(Webhook()) as started:
        yield started


@pytest.fixture
def mail() -> Iterator[Smtp]:
    with serving(Smtp()) as started:
        yield started


@pytest.fixture(autouse=True)
def _connections(airflow_home: Home, monkeypatch: pytest.MonkeyPatch, hook: Webhook, mail: Smtp) -> None:  # noqa: ARG001
    """As docs/notifications.md has them, but for the addresses."""
    connections = {
        "SLACK_OPS": {"conn_type": "slackwebhook", "host": hook.url, "password": TOKEN},
        "HOOK_OPS": {"conn_type": "http", "host": f"{hook.url}/night?key=s3cr3t"},
        "SMTP_OPS": {
            **{"conn_type": "smtp", "host": "127.0.0.1", "port": mail.port},
            "extra": {"from_email": "night@example.com", "disable_ssl": True, "disable_tls": True},
        },
        "AWS_OPS": {"conn_type": "aws"},
    }
    for name, connection in connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")


def deliver(ledger: Ledger, *to: str, email_to: tuple[str, ...] = ()) -> None:
    import nightshift_delivery

    nightshift_delivery.deliver(Notify(to=to, email_to=email_to), MESSAGE, "run", ledger)


def test_each_kind_of_connection_takes_the_message_once(ledger: Ledger, hook: Webhook, mail: Smtp) -> None:
    for _ in range(3):  # a task that is cleared sends again
        deliver(ledger, "slack_ops", "smtp_ops", "hook_ops", email_to=("ann@example.com", "bob@example.com"))
    slack, webhook = hook.got
    assert slack[0] == f"/{TOKEN}"
    assert slack[2]["blocks"][0]["text"]["text"] == "cards 2026-03-02: released"
    assert webhook[0] == "/night?key=s3cr3t"
    assert webhook[1]["Idempotency-Key"] == webhook[2]["id"] == MESSAGE.id
    assert webhook[2]["changed"] == ["drift: WATCH, it was OK"]
    ((recipients, letter),) = mail.got
    assert recipients == ["ann@example.com", "bob@example.com"]
    assert (letter["Subject"], letter["From"]) == ("cards 2026-03-02: released", "night@example.com")
    assert letter["Message-ID"] == f"<{MESSAGE.id}@nightshift>"
    html = letter.get_payload()[0].get_payload(decode=True).decode()  # type: ignore[index, union-attr]
    assert "drift: WATCH, it was OK" in html
    assert ledger.notified(*KEY) == {"slack_ops", "smtp_ops", "hook_ops"}


def test_one_that_refuses_keeps_none_of_the_others_from_theirs_and_is_tried_again(
    ledger: Ledger, hook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    hook.answers = [503]
    with caplog.at_level(logging.INFO), pytest.raises(StorageError) as problem:
        deliver(ledger, "hook_ops", "slack_ops")
    assert str(problem.value).startswith(
        "E-NOTIFY-UNSENT cards: connection 'hook_ops' did not take the message (it answered 503). The night itself"
    )
    assert ledger.notified(*KEY) == {"slack_ops"}
    deliver(ledger, "hook_ops", "slack_ops")
    assert [path for path, _, _ in hook.got] == [f"/{TOKEN}", "/night?key=s3cr3t"]
    assert "s3cr3t" not in caplog.text


def test_a_server_that_is_away_is_told_without_its_address(
    ledger: Ledger, hook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    """What requests says of a refused connection holds the whole address, and with it the key."""
    hook.server.server_close()
    for connection in ("hook_ops", "slack_ops"):
        with pytest.raises(StorageError, match="did not take the message") as problem:
            deliver(ledger, connection)
        assert problem.value.__cause__ is None
        assert "s3cr3t" not in str(problem.value)
    assert "s3cr3t" not in caplog.text


@pytest.mark.parametrize(
    ("connection", "code"),
    [
        pytest.param("nobody", "E-NOTIFY-CONNECTION", id="no such connection"),
        pytest.param("aws_ops", "E-NOTIFY-TYPE", id="no such way"),
        pytest.param("smtp_ops", "E-NOTIFY-RECIPIENT", id="mail to nobody"),
    ],
)
def test_what_another_try_cannot_help_is_final(
    ledger: Ledger, connection: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nightshift_delivery
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    if connection == "nobody":  # outside a task Airflow would look into a database that this test does not have

        def absent(_: str) -> Any:
            raise AirflowNotFoundException("no")

        monkeypatch.setattr(Connection, "get", absent)
    with pytest.raises(ConfigError, match=code):
        nightshift_delivery.deliver(Notify(to=(connection,)), MESSAGE, "run", ledger)


def test_two_that_send_at_once_send_once(ledger: Ledger, hook: Webhook) -> None:
    """Shards that fail together, or a task that was cleared while its older process still works."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: deliver(Ledger(ledger.url), "hook_ops"), range(4)))
    assert len(hook.got) == 1


def test_a_process_killed_between_sending_and_recording_sends_the_same_id_again(
    ledger: Ledger, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At least once: a lost alarm is worse than one that comes twice and can be known as the same."""

    class Killed(BaseException): ...

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "record_notification", die)
        with pytest.raises(Killed):
            deliver(ledger, "hook_ops")
    deliver(ledger, "hook_ops")
    assert [body["id"] for _, _, body in hook.got] == [MESSAGE.id] * 2
