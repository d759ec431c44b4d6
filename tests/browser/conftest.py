"""A real `nightshift up` over the demo's home, and a headless Chromium that is signed in to it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.home import REPOSITORY
from tests.airflow_server import free_port, wait_for
from tests.conftest import without_airflow

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NIGHTSHIFT = str(Path(sys.executable).with_name("nightshift"))
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
_SIZE = {"width": 1360, "height": 900}


@dataclass(frozen=True)
class Up:
    """A running Airflow over a home."""

    home: Path
    address: str
    password: str

    def path(self, path: str) -> str:
        return f"{self.address}{path}"


@pytest.fixture(scope="package")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's own configuration, but a person confirms each promotion."""
    root = tmp_path_factory.mktemp("configuration")
    for folder in ("config", "expectations"):
        shutil.copytree(REPOSITORY / folder, root / folder)
    file = root / "config" / "pipelines" / "card_payments.yaml"
    text = file.read_text()
    assert "\nretrain:\n" in text
    file.write_text(text.replace("\nretrain:\n", "\nretrain:\n  approve: always\n"))
    return root / "config"


@pytest.fixture(scope="package")
def up(demo_home: Path, configuration: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    port, log = free_port(), tmp_path_factory.mktemp("up") / "up.log"
    command = [NIGHTSHIFT, "--home", str(demo_home), "--config", str(configuration)]
    command += ["up", "--airflow-port", str(port), "--mlflow-port", str(free_port())]
    with open(log, "w") as output:
        process = subprocess.Popen(command, env=without_airflow(), cwd=REPOSITORY, stdout=output, stderr=output)
    try:
        wait_for("the start of 'up'", lambda: _is_ready(process, log))
        password = json.loads((demo_home / "airflow" / "passwords.json").read_text())["admin"]
        yield Up(demo_home, f"http://127.0.0.1:{port}", password)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(90)


def _is_ready(process: subprocess.Popen[bytes], log: Path) -> bool:
    if process.poll() is not None:
        raise RuntimeError(log.read_text())
    return "Ctrl-C stops everything" in log.read_text()


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    program = next((found for name in _CHROMIUM if (found := shutil.which(name))), None)
    if program is None:
        pytest.fail("Chromium must be installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def signed_in(chromium: Browser, up: Up) -> Any:
    """Cookies of somebody who signed in as admin by the form."""
    context = chromium.new_context(viewport=_SIZE)
    page = context.new_page()
    page.goto(up.address)
    page.fill("input[name=username]", "admin")
    page.fill("input[name=password]", up.password)
    page.keyboard.press("Enter")
    page.wait_for_url(up.path("/"))
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def page(chromium: Browser, up: Up, signed_in: Any) -> Iterator[Page]:
    """A page of its own for each test, signed in; a script error on it fails the test."""
    context = chromium.new_context(viewport=_SIZE, storage_state=signed_in, base_url=up.address)
    context.set_default_timeout(90_000)  # a busy machine, not a slow page
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []
