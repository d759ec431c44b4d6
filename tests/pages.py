"""Small homes for tests of pages, and a reader of HTML that takes no unbalanced tag."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from pipelines.home import Home
from pipelines.ledger import Ledger
from tests.builders import utc
from tests.conftest import ALPHA, write_config

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
_VOID = {"meta", "input", "br", "img", "link", "hr"}


class Seen(HTMLParser):
    """What a browser makes of a page: `text`, `tags` with their attributes, and that all tags are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self._texts: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []
        self.text = " ".join(" ".join(self._texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] not in ("style", "script"):
            self._texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def addresses(self) -> list[str]:
        return [str(one["href"]) for one in self.all("a") if "href" in one]


def checked(html: str) -> Seen:
    """The page, with what holds for every one: a heading, a landmark, labels, no script but ours, no handlers."""
    seen = Seen(html)
    assert len(seen.all("h1")) == 1
    assert len(seen.all("main")) == 1
    assert [one.get("src") for one in seen.all("script")] == ["/nightshift/static/frame.js"]
    assert not [name for _, attributes in seen.tags for name in attributes if name.startswith("on")]
    labelled = {one.get("for") for one in seen.all("label")}
    fields = [one for tag in ("input", "select", "textarea") for one in seen.all(tag) if one.get("type") != "hidden"]
    assert {one.get("id") for one in fields} <= labelled
    assert all(one.get("scope") for one in seen.all("th"))
    return seen


def alpha_home(root: Path) -> Home:
    """One configured pipeline `alpha`, nothing ran."""
    return Home(root / "home", write_config(root, alpha=ALPHA))


def ledger_of(home: Home) -> Ledger:
    home.root.mkdir(parents=True, exist_ok=True)
    return Ledger(home.ledger_url)


def attempt(ledger: Ledger, partition: str, step: str, state: str, **ended: Any) -> None:
    """One attempt of a step in run `manual__1`."""
    number = ledger.start_attempt("alpha", partition, step, ended.get("run_id", "manual__1"), "c0de")
    ledger.end_attempt(number, state, ended.get("summary"), ended.get("error"), ended.get("peak"))


def account(ledger: Ledger, partition: str, read: int, clean: int, quarantined: int, duplicate: int) -> None:
    counts = {"read": read, "clean": clean, "quarantined": quarantined, "duplicate": duplicate}
    ledger.set_accounting("alpha", partition, state="clean", reason=None, run_id="manual__1", **counts)


def publish(ledger: Ledger, table: str, partition: str, rows: int, **facts: Any) -> None:
    ledger.record_publication(
        "alpha",
        table,
        partition,
        run_id="manual__1",
        delta_version=7,
        input_digest="in",
        content_digest=f"content of {table}",
        row_count=rows,
        facts=facts,
    )


def release(ledger: Ledger, partition: str, release_id: str = "r1", version: int = 2, rows: int = 7) -> None:
    ledger.record_release(
        "alpha",
        partition,
        release_id=release_id,
        model_version=version,
        row_count=rows,
        digest="digest of the manifest",
        path=f"exports/alpha/_releases/{partition}/{release_id}",
        is_hindsight=False,
        run_id="manual__1",
    )


def register(ledger: Ledger, **record: Any) -> int:
    """One more version."""
    number = len(ledger.version_numbers("alpha")) + 1
    return ledger.record_model(
        "alpha",
        run_id=f"manual__train_{number}",
        as_of=utc("2026-03-05"),
        mlflow_run_id=None,
        artifact_uri="models/alpha/a",
        artifact_sha256="5ha",
        record=record,
    )


def crown(ledger: Ledger, version: int, since: str, action: str = "promote", reason: str = "better") -> None:
    """The next change of champion."""
    assert ledger.change_champion(
        "alpha",
        version,
        expected_seq=len(ledger.champions("alpha")),
        effective_from=utc(since),
        action=action,
        reason=reason,
        actor="gate",
        run_id=f"manual__{since}",
    )


def decide(ledger: Ledger, kind: str, partition: str, outcome: str, version: int | None, **more: Any) -> None:
    ledger.record_decision(
        "alpha",
        kind,
        partition,
        run_id=more.get("run_id", f"manual__{kind}_{version}"),
        outcome=outcome,
        model_version=version,
        reasons=more.get("reasons", []),
        numbers=more.get("numbers", {}),
    )
