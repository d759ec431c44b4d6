"""Settings that are kept are those that the files say now."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.errors import ConfigError
from pipelines.home import REPOSITORY
from pipelines.settings import load_pipeline
from pipelines.settings.kept import kept_pipeline, look_up

NAME = "card_payments"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A copy of the repository's own configuration, and its suites beside it."""
    for folder in ("config", "expectations"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder)
    return tmp_path / "config"


def _replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_unchanged_files_are_read_once(config: Path) -> None:
    assert kept_pipeline(NAME, config) is kept_pipeline(NAME, config)
    assert kept_pipeline(NAME, config) == load_pipeline(NAME, config)


def _own(config: Path) -> None:
    _replaced(config / "pipelines" / f"{NAME}.yaml", "\nowner: ", "\nowner: another ")


def _group(config: Path) -> None:
    path = next(iter(sorted((config / "features").glob("*.yaml"))))
    _replaced(path, "\n", "\nunknown_key: 1\n")


def _environment(config: Path) -> None:
    path = config / "environments" / "local.yaml"
    path.write_text(f"{path.read_text()}\nunknown_key: 1\n")


def _suite(config: Path) -> None:
    (config.parent / "expectations" / f"{NAME}.json").unlink()


@pytest.mark.parametrize("change", [_own, _group, _environment, _suite])
def test_a_change_of_any_file_is_seen_at_once(config: Path, change: Callable[[Path], None]) -> None:
    before = kept_pipeline(NAME, config)
    change(config)
    try:
        expected: object = load_pipeline(NAME, config)
    except ConfigError as error:
        expected = str(error)
    after, problem = look_up(NAME, config)
    assert (after or str(problem)) == expected
    assert after != before


def test_an_error_is_kept_until_it_is_repaired(config: Path) -> None:
    path = config / "pipelines" / f"{NAME}.yaml"
    right = path.read_text()
    _replaced(path, "\nowner:", "\nower:")
    for _ in range(2):
        with pytest.raises(ConfigError, match="unknown key 'ower'"):
            kept_pipeline(NAME, config)
    path.write_text(right)
    assert kept_pipeline(NAME, config) == load_pipeline(NAME, config)


def test_a_pipeline_without_a_file_is_an_error_until_it_has_one(config: Path) -> None:
    with pytest.raises(ConfigError, match="E-CONFIG-PIPELINE"):
        kept_pipeline("omega", config)
    shutil.copy(config / "pipelines" / f"{NAME}.yaml", config / "pipelines" / "omega.yaml")
    with pytest.raises(ConfigError, match="omega"):  # its name is another
        kept_pipeline("omega", config)
    _replaced(config / "pipelines" / "omega.yaml", f"name: {NAME}", "name: omega")
    shutil.copy(config.parent / "expectations" / f"{NAME}.json", config.parent / "expectations" / "omega.json")
    assert kept_pipeline("omega", config).name == "omega"
