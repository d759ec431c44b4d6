"""Hands a message to Airflow connections, once each: Slack webhooks, SMTP servers, any other webhook.

A connection that took the message is recorded in the ledger right after; until then a repeat sends it again, with the
same id. See docs/notifications.md.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.errors import ConfigError, NightshiftError, StorageError

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from pipelines.ledger import Ledger
    from pipelines.notify.message import Message
    from pipelines.settings.notify import Notify

log = logging.getLogger("nightshift")

_SECONDS = 30
_STATUS = re.compile(r"\b[45]\d\d\b")


def deliver(settings: Notify, message: Message, run_id: str, ledger: Ledger, to: Sequence[str] | None = None) -> None:
    """Sends to each connection of `to` (default: all of the settings) that did not take this message before.

    One that fails keeps none of the others from theirs.

    Raises:
        StorageError: E-NOTIFY-UNSENT when a connection did not take it; worth another try.
        ConfigError: E-NOTIFY-CONNECTION, E-NOTIFY-TYPE or E-NOTIFY-RECIPIENT; another try does not help.
    """
    problems: list[NightshiftError] = []
    for connection in settings.to if to is None else to:
        try:
            _deliver_once(settings, connection, message, run_id, ledger)
        except NightshiftError as problem:
            log.error("%s", problem)
            problems.append(problem)
    if problems:
        raise next((problem for problem in problems if problem.retryable), problems[0])


def _deliver_once(settings: Notify, connection: str, message: Message, run_id: str, ledger: Ledger) -> None:
    key = (message.pipeline, message.partition, message.topic)
    with ledger.exclusive(f"notify {' '.join(key)} {connection}"):
        if connection in ledger.notified(*key):
            log.info("connection '%s' took this message before: %s", connection, message.title)
            return
        send(connection, message, settings.email_to)
        ledger.record_notification(*key, connection, title=message.title, run_id=run_id)
    log.info("connection '%s' took the message: %s", connection, message.title)


def send(connection: str, message: Message, recipients: Sequence[str]) -> None:
    """Sends one message through one connection. What went wrong is told without addresses: they can hold tokens."""
    found = _connection(connection)
    way = _WAYS.get(str(found.conn_type))
    if way is None:
        what = f"connection '{connection}' must be of type {', '.join(_WAYS)}, got '{found.conn_type}'"
        raise ConfigError("E-NOTIFY-TYPE", message.pipeline, what, "Correct it under Admin > Connections.")
    try:
        way(found, message, recipients)
    except NightshiftError:
        raise
    except Exception as error:  # each hook has errors of its own; here they mean one thing
        what = f"connection '{connection}' did not take the message ({_kind(error)})"
        fix = "The night itself is not touched. Look whether its server is up and its settings are right."
        raise StorageError("E-NOTIFY-UNSENT", message.pipeline, what, fix) from None


def _connection(name: str) -> Connection:
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError

    try:
        return Connection.get(name)
    except (AirflowNotFoundException, AirflowRuntimeError):
        what = f"the Airflow connection '{name}' of 'notify.to' must exist"
        raise ConfigError("E-NOTIFY-CONNECTION", "notify", what, "Create it under Admin > Connections.") from None


def _kind(error: Exception) -> str:
    status = _STATUS.search(str(error)) if type(error).__name__ == "AirflowException" else None
    return f"it answered {status[0]}" if status else type(error).__name__


def _slack(connection: Connection, message: Message, recipients: Sequence[str]) -> None:  # noqa: ARG001
    from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook

    from pipelines.notify.rendering import as_slack

    SlackWebhookHook(slack_webhook_conn_id=connection.conn_id).send_dict(as_slack(message))


def _mail(connection: Connection, message: Message, recipients: Sequence[str]) -> None:
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    from pipelines.notify.rendering import as_html

    if not recipients:
        what = f"'notify.email_to' must name somebody, since connection '{connection.conn_id}' sends mail"
        raise ConfigError("E-NOTIFY-RECIPIENT", message.pipeline, what, "Add an address to the pipeline's file.")
    with SmtpHook(smtp_conn_id=connection.conn_id) as hook:
        hook.send_email_smtp(
            to=list(recipients),
            subject=message.title,
            html_content=as_html(message),
            custom_headers={"Message-ID": f"<{message.id}@nightshift>"},
        )


def _webhook(connection: Connection, message: Message, recipients: Sequence[str]) -> None:  # noqa: ARG001
    from airflow.providers.http.hooks.http import HttpHook

    from pipelines.notify.rendering import as_json

    HttpHook(method="POST", http_conn_id=connection.conn_id).run(
        json=as_json(message),
        headers={"Idempotency-Key": message.id},
        extra_options={"timeout": connection.extra_dejson.get("timeout", _SECONDS)},
    )


_Way = Callable[[Any, Any, Sequence[str]], None]
_WAYS: dict[str, _Way] = {"slackwebhook": _slack, "smtp": _mail, "http": _webhook}
