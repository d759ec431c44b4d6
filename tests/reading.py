"""A page as a browser would take it apart: what a test asks of any page of ours."""

from __future__ import annotations

from html.parser import HTMLParser

_VOID = {"meta", "link", "br", "hr", "img", "input", "path", "rect", "use"}


class Page(HTMLParser):
    """Raises AssertionError for tags that do not match, two elements of one id, or a header cell without a scope."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self._open: list[str] = []
        self._ids: set[str] = set()
        self.feed(text)
        self.close()
        assert self._open == []
        assert self.tags.count("h1") == 1
        assert self.tags.count("main") == 1

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        if tag == "th":
            assert given.get("scope") in ("col", "row")
        if given.get("id"):
            assert given["id"] not in self._ids, f"two elements are called {given['id']}"
            self._ids.add(str(given["id"]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.words += data

    @property
    def text(self) -> str:
        return " ".join(self.words.split())
