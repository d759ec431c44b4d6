"""From a file to a released night without an edit: `nightshift init`, then the two commands that it prints."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.home import REPOSITORY
from tests.conftest import without_airflow

DATA = REPOSITORY.parent / "shared" / "data"


class Place:
    """An empty configuration and home; commands are processes of their own, as a person starts them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(REPOSITORY / "config" / "environments", root / "config" / "environments")

    def call(self, *arguments: str) -> str:
        options = ["--home", str(self.root / "home"), "--config", str(self.root / "config")]
        words = [sys.executable, "-c", "from pipelines.cli import main; main()", *arguments, *options]
        environment = without_airflow() | {"COLUMNS": "160"}
        environment.pop("NIGHTSHIFT_DATA", None)
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, cwd=self.root, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def settings(self, name: str) -> dict[str, Any]:
        loaded: dict[str, Any] = yaml.safe_load((self.root / "config" / "pipelines" / f"{name}.yaml").read_text())
        return loaded


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def printed_commands(output: str) -> list[list[str]]:
    return [line.split()[1:] for line in re.findall(r"^  (nightshift .*)$", output, re.MULTILINE)]


@pytest.mark.slow
def test_a_snapshot_becomes_a_champion_and_released_scores_without_an_edit(place: Place) -> None:
    """Churn follows from tenure but for one customer in ten; some charges are blank, as in the wild."""
    draw = random.Random(1)
    lines = ["customerID,Contract,tenure,TotalCharges,Churn"]
    for number in range(1200):
        tenure = draw.randrange(1, 72)
        churned = (tenure < 20) != (draw.random() < 0.1)
        charges = " " if number % 100 == 0 else f"{tenure * 20.5 + draw.random():.2f}"
        contract = draw.choice(["Month-to-month", "One year"])
        lines.append(f"C-{number:04d},{contract},{tenure},{charges},{'Yes' if churned else 'No'}")
    (place.root / "customers.csv").write_text("\n".join(lines) + "\n")
    check, run = printed_commands(place.call("init", "customers.csv", "--label", "Churn", "--deal", "4"))
    assert place.call(*check).strip().startswith("ok")
    place.call(*run)
    status = json.loads(place.call("status", "customers", "--json"))
    assert status["champion"]["version"] == 1
    last = max(status["partitions"], key=lambda row: row["partition"])
    assert (last["state"], last["quarantined"]) == ("released", 0)
    assert last["clean"] > 200


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the public data sets are kept beside the project and are not there")
@pytest.mark.parametrize(
    ("files", "options", "expected"),
    [
        pytest.param(
            "telco_churn/Telco-Customer-Churn.csv",
            ["--label", "Churn", "--deal", "10"],
            {"key": ["customer_id"], "task": "binary", "positive": "Yes"},
            id="telco_churn",
        ),
        pytest.param(
            "adult/adult.parquet",
            ["--label", "class", "--deal", "10"],
            {"key": None, "task": "binary", "positive": ">50K"},
            id="adult",
        ),
        pytest.param(
            "bike_sharing/hour.csv.gz",
            ["--label", "cnt"],
            {"key": ["instant"], "task": "regression", "positive": None, "event_time": "observed_at"},
            id="bike_sharing",
        ),
    ],
)
def test_public_data_sets_need_at_most_one_option_besides_the_label(
    files: str, options: list[str], expected: dict[str, Any], place: Place
) -> None:
    check, _ = printed_commands(place.call("init", str(DATA / files), "--name", "sample", *options))
    place.call(*check)
    settings = place.settings("sample")
    assert settings.get("key") == expected["key"]
    assert settings["training"]["task"] == expected["task"]
    assert settings["label"].get("positive") == expected["positive"]
    assert settings.get("event_time") == expected.get("event_time")
    if files.startswith("telco"):
        assert settings["source"]["columns"]["total_charges"]["null_tokens"] == ["", " "]
    if files.startswith("bike"):
        assert not {"casual", "registered", "instant"} & set(settings["features"]["columns"])
