"""Settings of messages: who is told what a night brought. Secrets lie in Airflow's connections, never here."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, PositiveInt, StringConstraints, model_validator

from pipelines.settings.base import Settings


def _connection_id(text: str) -> str:
    """An id as Airflow takes it; an address pasted here would stand in the repository with its token."""
    if not text or len(text) > 200 or not all(char.isalnum() or char in "_.-" for char in text):
        raise ValueError(
            "'to' must name Airflow connections by their ids (letters, digits, '_', '-', '.'); addresses and tokens "
            "belong into the connection"
        )
    return text


Connection = Annotated[str, AfterValidator(_connection_id)]
Address = Annotated[str, StringConstraints(pattern=r"^[^@\s,;<>]+@[^@\s,;<>]+$")]


class Notify(Settings):
    """One message per night, failures at once, through Airflow's connections. See docs/notifications.md."""

    to: tuple[Connection, ...] = Field(
        min_length=1, description="Airflow connections: a Slack webhook, SMTP, or HTTP for any other webhook"
    )
    email_to: tuple[Address, ...] = Field((), description="recipients of the SMTP connections")
    late_after_minutes: PositiveInt | None = Field(
        None, description="a daily run that takes longer is told of while it runs; none: it is not watched"
    )

    @model_validator(mode="after")
    def _each_once(self) -> Notify:
        twice = sorted({name for name in self.to if self.to.count(name) > 1})
        if twice:
            raise ValueError(f"'to' must name each connection once, got {', '.join(map(repr, twice))} twice")
        return self
