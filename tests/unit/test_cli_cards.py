"""The command `card` on a home without MLflow."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.home import REPOSITORY


def call(home: Path, *arguments: str) -> str:
    options = ["--home", str(home), "--config", str(REPOSITORY / "config")]
    result = CliRunner().invoke(app, ["card", "card_payments", *arguments, *options])
    assert result.exit_code == 1
    return result.output


def test_card_without_a_champion_asks_for_a_version(tmp_path: Path) -> None:
    assert "E-CARD-NONE card_payments: there is no champion yet" in call(tmp_path)


def test_card_of_a_version_that_does_not_exist_says_so(tmp_path: Path) -> None:
    assert "E-MODEL-UNKNOWN card_payments" in call(tmp_path, "7")
