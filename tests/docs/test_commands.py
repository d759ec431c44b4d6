"""What the documentation tells people to type is there, and what it shows as a session works."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from pipelines.cli.app import app
from pipelines.home import REPOSITORY
from tests.conftest import without_airflow
from tests.docs.reading import PAGES, Shown, commands, sessions

_PLACEHOLDER = re.compile(r"^(\.\.\.|…)$")
SHOWN = sorted(set(commands()), key=lambda shown: (shown.page, shown.text))


def problem(shown: Shown) -> str | None:
    """What is wrong with a command line, or None; values and placeholders such as NAME are not looked at."""
    program, *words = shown.words
    program = program.removeprefix(".venv/bin/")
    if program == "make":
        return _unknown_target(words)
    if program == "python":
        return None if importlib.util.find_spec(words[1].rstrip(".,;")) else f"no module {words[1]}"
    return _unknown_option(words)


def _unknown_target(words: list[str]) -> str | None:
    targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    missing = [word for word in words if "=" not in word and word not in targets and not _PLACEHOLDER.match(word)]
    return f"no target {missing}" if missing else None


def _unknown_option(words: list[str]) -> str | None:
    group: Any = get_command(app)
    general = {option for parameter in group.params for option in parameter.opts}
    named = [word for word in words if not word.startswith("-")]
    known = next((group.commands[word] for word in named if word in group.commands), None)
    if known is None and named and not _PLACEHOLDER.match(named[0]) and not general & set(words):
        return f"no command {named[0]}"
    options = general | {o for p in known.params for o in (*p.opts, *p.secondary_opts)} if known else general
    wrong = [word for word in words if word.startswith("--") and word.split("=")[0] not in options | {"--help"}]
    return f"no option {wrong}" if wrong else None


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: f"{shown.page}: {shown.text[:70]}")
def test_every_command_of_the_pages_exists(shown: Shown) -> None:
    assert problem(shown) is None


def test_a_command_that_is_not_there_would_be_seen() -> None:
    told = [problem(Shown("x", text)) for text in ("nightshift stauts", "nightshift run N --form D", "make coffee")]
    assert told == ["no command stauts", "no option ['--form']", "no target ['coffee']"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    missing = [one for one in targets if "://" not in one and not (page.parent / one).exists()]
    assert missing == []


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("page", [page for page in PAGES if page.name == "operating.md"], ids=lambda page: page.name)
def test_the_sessions_of_a_page_work_on_the_demos_home(page: Path, demo_home: Path) -> None:
    environment = without_airflow() | {"NIGHTSHIFT_HOME": str(demo_home)}
    program = str(Path(sys.executable).with_name("nightshift"))
    for shown in (shown for session in sessions(page) for shown in session):
        name, *words = shown.words
        assert name == "nightshift"
        done = subprocess.run(
            [program, *words], env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{shown.text}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
