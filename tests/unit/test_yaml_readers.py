"""Both YAML parsers, the fast one of libyaml and PyYAML's own, say the same about every file that both accept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.home import REPOSITORY

FILES = [*(REPOSITORY / "config").rglob("*.yaml"), *(Path(__file__).parent / "configs").rglob("*.yaml")]


def told(text: str, loader: type) -> list[tuple[Any, ...]] | None:
    """What the product reads of the events, None where the parser refuses the text."""
    facts = ("value", "tag", "anchor", "style")
    try:
        return [
            (type(event), event.start_mark.line, *(getattr(event, fact, None) or None for fact in facts))
            for event in yaml.parse(text, Loader=loader)
            if not isinstance(event, yaml.StreamEndEvent | yaml.DocumentEndEvent)  # whose lines nobody reads
        ]
    except yaml.YAMLError:
        return None


def test_there_are_good_and_bad_files() -> None:
    assert yaml.__with_libyaml__
    assert len(FILES) > 30


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_both_parsers_read_the_same(file: Path) -> None:
    text = file.read_bytes().decode("utf-8-sig", errors="replace")
    fast = told(text, yaml.CSafeLoader)
    assert fast is None or fast == told(text, yaml.SafeLoader)
