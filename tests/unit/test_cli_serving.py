"""The commands `serving` and `onnx` on a home without models."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.home import REPOSITORY


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["serving", "card_payments"], 1, "E-SERVE-NONE card_payments: there is no champion yet. Name a version."),
        (["serving", "card_payments", "7", "--check"], 1, "E-MODEL-UNKNOWN card_payments"),
        (["onnx", "card_payments", "7", "file.onnx"], 1, "E-MODEL-UNKNOWN card_payments"),
        (["onnx", "card_payments", "7"], 2, "E-CLI-USAGE nightshift onnx: Missing argument 'FILE'"),
        (["serving", "card_paiments"], 2, "Did you mean 'card_payments'?"),
    ],
    ids=["no champion", "no such version", "no such version for a file", "no file", "a mistyped name"],
)
def test_what_cannot_be_served_says_why(tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    options = ["--home", str(tmp_path), "--config", str(REPOSITORY / "config")]
    result = CliRunner().invoke(app, [*arguments, *options])
    assert (result.exit_code, message in result.output) == (code, True), result.output
