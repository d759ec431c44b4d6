"""Everything that the tests look at, gathered once: the newest facts of the ledger, settings, suite and model card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pipelines.home import REPOSITORY, Home
from pipelines.ledger import Ledger, Row
from pipelines.settings.pipeline import Pipeline
from pipelines.settings.scorecard import Statements

WINDOW = 30  # newest partitions, decisions and attempts of each kind that are looked at
_STEPS = ("ingest", "validate", "build_features", "score", "release", "train", "tune", "replay")


@dataclass(frozen=True)
class Evidence:
    """What is known of one pipeline on one day. Lists are newest first and hold at most 30 of a kind.

    `partitions`: row accounting. `gates`, `drifts`, `audits`, `drills`, `shadows`: decisions. `messages`: those that
    went out. `attempts`: by step.
    `model`: the champion's row in the ledger. `explanation`: what its model card measured. `rules`: the suite's
    expectations. `is_config_committed`: whether the settings lie in the checkout whose commit runs record.
    """

    pipeline: Pipeline
    today: date
    statements: Statements = field(default_factory=Statements)
    partitions: Sequence[Row] = ()
    champions: Sequence[Row] = ()
    model: Row | None = None
    gates: Sequence[Row] = ()
    drifts: Sequence[Row] = ()
    audits: Sequence[Row] = ()
    drills: Sequence[Row] = ()
    shadows: Sequence[Row] = ()
    messages: Sequence[Row] = ()
    attempts: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    explanation: Mapping[str, Any] | None = None
    rules: Sequence[Mapping[str, Any]] = ()
    is_config_committed: bool = True

    @property
    def name(self) -> str:
        return self.pipeline.name

    @property
    def file(self) -> str:
        return f"config/pipelines/{self.name}.yaml"

    @property
    def retrain(self) -> str:
        """How the pipeline comes to a new model."""
        if self.pipeline.training is None:
            return f"add 'training' to {self.file} (this pipeline trains no model yet)"
        return f"nightshift retrain {self.name}"

    @property
    def champion(self) -> int | None:
        """The version of the champion."""
        return self.champions[0]["version"] if self.champions else None

    def of_step(self, step: str) -> Sequence[Row]:
        return self.attempts.get(step, ())

    def gate_of_champion(self) -> Row | None:
        """The decision that let the champion in."""
        mine = (row for row in self.gates if row["model_version"] == self.champion and row["outcome"] == "PROMOTE")
        return next(mine, None)

    def accepted(self) -> list[str]:
        """The newest partitions whose rows were accepted."""
        return [row["partition"] for row in self.partitions if row["state"] == "clean"]


def checks(gate: Row | None) -> list[dict[str, Any]]:
    """The checks of a gate decision, in their order."""
    return list(gate["numbers"].get("checks", [])) if gate else []


def gather(home: Home, pipeline: Pipeline, statements: Statements, today: date) -> Evidence:
    """Reads the ledger, the suite and the champion's card; no table is opened."""
    ledger, name = Ledger(home.ledger_url), pipeline.name
    champions = list(reversed(ledger.champions(name)))
    version = champions[0]["version"] if champions else None

    def decided(kind: str) -> list[Row]:
        return ledger.newest_decisions(name, [kind], WINDOW)

    return Evidence(
        pipeline=pipeline,
        today=today,
        statements=statements,
        partitions=list(reversed(ledger.accounting(name)))[:WINDOW],
        champions=champions,
        model=ledger.model(name, version) if version is not None else None,
        gates=decided("gate"),
        drifts=decided("drift"),
        audits=decided("audit"),
        drills=decided("drill"),
        shadows=decided("shadow"),
        messages=list(reversed(ledger.notifications(name)))[:WINDOW],
        attempts=ledger.newest_attempts(name, _STEPS, WINDOW),
        explanation=_explanation(home, name, version),
        rules=_rules(home, pipeline),
        is_config_committed=home.config.is_relative_to(REPOSITORY),
    )


def _explanation(home: Home, name: str, version: int | None) -> dict[str, Any] | None:
    """What `evaluate` measured of the champion's features, as its card keeps it."""
    content = home.files("reports", name, "models").read(f"{version}.json") if version is not None else None
    found: dict[str, Any] | None = json.loads(content).get("explanation") if content else None
    return found


def _rules(home: Home, pipeline: Pipeline) -> list[dict[str, Any]]:
    """The suite as it is written; `nightshift check` tells what is wrong with one that cannot be read."""
    file = home.expectations / f"{pipeline.suite}.json"
    try:
        found: list[dict[str, Any]] = json.loads(file.read_text()).get("expectations", [])
    except (OSError, ValueError):
        return []
    return found
