"""Reads `config/pipelines/<name>.yaml` and the feature groups that it shares into one settings object.

Every problem of a file is reported at once, with its line: what YAML misreads, unknown keys, wrong values, columns
that do not exist, and files that are missing.
"""

from __future__ import annotations

import json
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pipelines.errors import ConfigError, did_you_mean, names, quote
from pipelines.settings import checks
from pipelines.settings.environment import Environment, environment_file, environment_name, require_time
from pipelines.settings.features import FeatureGroup
from pipelines.settings.hidden_rules import report_hidden_rules
from pipelines.settings.messages import report_errors, unknown_key
from pipelines.settings.pipeline import Pipeline
from pipelines.settings.places import locate
from pipelines.settings.problems import ConfigProblems, Problem
from pipelines.settings.scorecard import Statements
from pipelines.settings.yaml_source import Document, read_document

SettingsClass = TypeVar("SettingsClass", bound=BaseModel)


def pipeline_names(config: Path) -> list[str]:
    return sorted(path.stem for path in (config / "pipelines").glob("*.yaml"))


def group_names(config: Path) -> list[str]:
    """Names of the shared feature groups."""
    return sorted(path.stem for path in (config / "features").glob("*.yaml"))


def load_pipeline(name: str, config: Path) -> Pipeline:
    """The pipeline of that name, its shared feature groups and the environment's resources filled in.

    Raises:
        ConfigError: with all problems of the file and of its groups, one per line; E-CONFIG-LIMIT when a step may take
            longer than the environment's broker waits for it.
    """
    pipeline, problems = check_pipeline(name, config)
    if pipeline is None:
        raise ConfigProblems(problems)
    environment = load_environment(config)
    complete = pipeline.with_defaults(environment.resources)
    require_time(environment, complete)
    return complete


def check_pipeline(name: str, config: Path) -> tuple[Pipeline | None, list[Problem]]:
    """`(pipeline, [])`, or `(None, problems)` in the order of files and lines.

    Raises:
        ConfigError: E-CONFIG-PIPELINE when there is no file of that name.
    """
    require_pipeline(name, config)
    path = config / "pipelines" / f"{name}.yaml"
    document = read_document(path, shown_path(path, config))
    pipeline = _parse(Pipeline, document, name)
    others = _groups_of(document, config)
    if document.data is not None:
        checks.check_calendar(document)
        checks.check_schedules(document)
        checks.check_sources(document)
        checks.check_suite(document, config.parent / "expectations")
    problems = sorted({*document.problems, *(problem for _, found in others.values() for problem in found)})
    if pipeline is None or problems:
        return None, problems
    shared = {group: loaded for group, (loaded, _) in others.items() if loaded}
    groups = tuple(group if isinstance(group, FeatureGroup) else shared[group] for group in pipeline.features.groups)
    return pipeline.model_copy(update={"feature_groups": groups}), []


def check_group(name: str, config: Path) -> tuple[FeatureGroup | None, list[Problem]]:
    """The shared feature group `config/features/<name>.yaml`, or its problems."""
    path = config / "features" / f"{name}.yaml"
    group, problems = _group(path, shown_path(path, config), _content(path))
    return group, list(problems)


# Many pipelines share a group, and all of them an environment: the same text is read once in a process.
@lru_cache(maxsize=256)
def _group(path: Path, shown: str, _text: bytes | None) -> tuple[FeatureGroup | None, tuple[Problem, ...]]:
    document = read_document(path, shown)
    group = _parse(FeatureGroup, document, path.stem)
    return (None if document.problems else group), tuple(sorted(document.problems))


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def load_environment(config: Path, name: str | None = None) -> Environment:
    """The environment of that name; by default the one that NIGHTSHIFT_ENVIRONMENT names.

    Raises:
        ConfigError: E-CONFIG-ENVIRONMENT when there is none; every problem of its file otherwise.
    """
    path = environment_file(name or environment_name(), config)
    return _environment(path, shown_path(path, path.parent.parent), _content(path))


@lru_cache(maxsize=16)
def _environment(path: Path, shown: str, _text: bytes | None) -> Environment:
    document = read_document(path, shown)
    environment = _parse(Environment, document, path.stem)
    if environment is None or document.problems:
        raise ConfigProblems(sorted(document.problems))
    return environment


def require_pipeline(name: str, config: Path) -> None:
    """Raises ConfigError when no file describes a pipeline of that name."""
    if name == Path(name).name and (config / "pipelines" / f"{name}.yaml").is_file():
        return
    known = pipeline_names(config)
    if not known:
        raise ConfigError(
            "E-CONFIG-PIPELINE", str(config), "there is no pipeline here", "Name another folder with --config."
        )
    hint = did_you_mean(name, known) or f"Known: {names(known)}."
    raise ConfigError("E-CONFIG-PIPELINE", str(config), f"there is no pipeline {quote(name)}", hint)


def shown_path(path: Path, config: Path) -> str:
    """`config/pipelines/churn.yaml`: the path from the folder that holds the configuration."""
    return path.relative_to(config.parent).as_posix() if path.is_relative_to(config.parent) else str(path)


def _parse(model: type[SettingsClass], document: Document, name: str) -> SettingsClass | None:
    """The settings in `document`; None, with the problems noted, when they are wrong."""
    if document.data is None:
        return None
    _refuse_internal_keys(model, document)
    written = document.data.get("name")
    if isinstance(written, str) and written != name:
        message = f"'name' must be that of the file, {quote(name)}, got {quote(written)}"
        document.report("E-CONFIG-NAME", ("name",), message)
    try:
        return _validated(model, document.data)
    except ValidationError as error:
        wrong = [locate(model, item["loc"], document.data).place for item in error.errors(include_url=False)]
        report_errors(error, model, document)
        stand_ins = {"name": name, "owner": "unknown", "start": "2000-01-01"} if model is Pipeline else {}
        report_hidden_rules(model, document, wrong, _validated, stand_ins)
        return None


def _validated(model: type[SettingsClass], data: Any) -> SettingsClass:
    # As strict JSON: lists become tuples and text becomes dates, but true is no number and 1 is no text.
    return model.model_validate_json(json.dumps(data), strict=True)


def _refuse_internal_keys(model: type[BaseModel], document: Document) -> None:
    if "feature_groups" in document.data and model is Pipeline:
        del document.data["feature_groups"]
        message = "'feature_groups' is filled in from 'features.groups'; list the groups there"
        document.report("E-CONFIG-UNKNOWN", ("feature_groups",), message)
    if "validate_" in document.data:
        del document.data["validate_"]
        document.report("E-CONFIG-UNKNOWN", ("validate_",), unknown_key(model, ("validate_",)))


def _groups_of(document: Document, config: Path) -> dict[str, tuple[FeatureGroup | None, list[Problem]]]:
    """The shared groups that the document names, whether or not the rest of it is right."""
    features = document.data.get("features") if document.data else None
    listed = features.get("groups") if isinstance(features, dict) else None
    known = group_names(config)
    found: dict[str, tuple[FeatureGroup | None, list[Problem]]] = {}
    for position, group in enumerate(listed if isinstance(listed, list) else ()):
        place = ("features", "groups", position)
        if not isinstance(group, str) or place in document.refused:
            continue
        if group in known:
            found[group] = check_group(group, config)
            continue
        hint = did_you_mean(group, known) or (f"Known: {names(known)}" if known else "There is none yet")
        document.report("E-CONFIG-GROUP", place, f"unknown feature group {quote(group)}. {hint}")
    return found


def scorecard_names(config: Path) -> list[str]:
    """Names of the pipelines that somebody made statements about."""
    return sorted(path.stem for path in (config / "scorecards").glob("*.yaml"))


def check_statements(name: str, config: Path, today: date) -> tuple[Statements | None, list[Problem]]:
    """What `config/scorecards/<name>.yaml` says, nothing where there is no such file; or None with its problems."""
    path = config / "scorecards" / f"{name}.yaml"
    if not path.is_file():
        return Statements(), []
    document = read_document(path, shown_path(path, config))
    found = _parse(Statements, document, name)
    if name not in pipeline_names(config):
        hint = did_you_mean(name, pipeline_names(config)) or f"Known: {names(pipeline_names(config))}"
        document.report("E-CONFIG-PIPELINE", (), f"there is no pipeline {quote(name)}. {hint}")
    for test, statement in found or ():
        if statement and statement.when > today + timedelta(days=1):  # in another time zone it may be tomorrow
            message = f"'{test}.when' must not be in the future, got {statement.when}"
            document.report("E-CONFIG-DATE", (test, "when"), message)
    return (None if document.problems else found), sorted(document.problems)


def load_statements(name: str, config: Path, today: date) -> Statements:
    """What people say about the pipeline's tests; raises ConfigError with all problems of the file."""
    found, problems = check_statements(name, config, today)
    if found is None:
        raise ConfigProblems(problems)
    return found
