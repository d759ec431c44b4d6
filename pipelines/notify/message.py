"""One message, before it becomes text, Slack blocks, a mail or JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipelines.ledger import Row
from pipelines.pages import addresses

Kind = Literal["night", "failure", "champion", "approval", "late"]
Mood = Literal["good", "look", "bad"]


@dataclass(frozen=True)
class Link:
    text: str
    url: str


@dataclass(frozen=True)
class Message:
    """`topic` says what it is about: of one partition and topic one message goes out, however often it is asked for.

    `mood`: nothing to do, worth a look, or something stopped.
    """

    kind: Kind
    topic: str
    pipeline: str
    partition: str
    mood: Mood
    title: str
    changed: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    todo: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()

    @property
    def id(self) -> str:
        """The same for the same pipeline, partition and topic, so that a receiver can drop a repeat."""
        parts = "\n".join((self.pipeline, self.partition, self.topic))
        return hashlib.sha256(parts.encode()).hexdigest()[:24]


def links(base_url: str, pipeline: str, partition: str | None = None, versions: Sequence[int] = ()) -> tuple[Link, ...]:
    """To the pages of a partition, of versions and of the pipeline, on the server at `base_url`."""
    base = base_url.rstrip("/")
    found = [Link(f"Partition {partition}", base + addresses.partition(pipeline, partition))] if partition else []
    found += [Link(f"Version {number}", base + addresses.version(pipeline, number)) for number in versions]
    return (*found, Link(f"Pipeline {pipeline}", base + addresses.pipeline(pipeline)))


def first_reason(decision: Row) -> str:
    return str(decision["reasons"][0]) if decision["reasons"] else "no reason was recorded"
