"""Everything that can be said about configuration files without running a pipeline."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pipelines.errors import ConfigError
from pipelines.settings.loader import (
    check_group,
    check_pipeline,
    check_statements,
    group_names,
    pipeline_names,
    scorecard_names,
    shown_path,
)
from pipelines.settings.pipeline import Pipeline
from pipelines.settings.problems import Problem
from pipelines.settings.yaml_source import Document, read_document

_ERROR_TEXT = re.compile(r"(?P<code>E-[A-Z0-9-]+) (?P<where>.+?): (?P<message>.+)", re.DOTALL)


@dataclass(frozen=True)
class Checked:
    """Names of the files that were read, and their problems in order."""

    checked: list[str]
    problems: list[Problem]

    @property
    def ok(self) -> bool:
        return not self.problems


def check_all(config: Path, names: Sequence[str] | None, deep: bool) -> Checked:
    """Checks these pipelines, or all pipelines, shared feature groups and statements when `names` is None."""
    problems: set[Problem] = set()
    checked = list(names) if names else pipeline_names(config)
    for name in checked:
        problems.update(_check_one(name, config, deep))
    for name in (one for one in scorecard_names(config) if names is None or one in names):
        checked.append(f"scorecards/{name}")
        problems.update(check_statements(name, config, datetime.now(UTC).date())[1])
    if names is None:
        for group in group_names(config):
            checked.append(f"features/{group}")
            problems.update(check_group(group, config)[1])
        problems.update(_misplaced(config))
        if not checked:
            problems.add(Problem("E-CONFIG-EMPTY", str(config), 0, "there is no pipeline in 'pipelines/'"))
    return Checked(checked, sorted(problems))


def _check_one(name: str, config: Path, deep: bool) -> list[Problem]:
    try:
        pipeline, problems = check_pipeline(name, config)
    except ConfigError as error:
        return [Problem(error.code, error.where, 0, f"{error.what}. {error.fix}".strip())]
    return problems if pipeline is None else [*problems, *_deeper(pipeline, config, deep)]


def _misplaced(config: Path) -> Iterable[Problem]:
    """Files that look like configuration but would never be read."""
    for folder in ("pipelines", "features", "scorecards"):
        for path in sorted((config / folder).glob("*.yml")):
            message = f"the file is not read; rename it to '{path.stem}.yaml'"
            yield Problem("E-CONFIG-FILE", shown_path(path, config), 0, message)


def _deeper(pipeline: Pipeline, config: Path, deep: bool) -> Iterator[Problem]:
    """Problems that only the steps can see: what a suite, a feature or an estimator needs."""
    from pipelines.features.problems import feature_problems
    from pipelines.models.allowed import model_problems
    from pipelines.validate.suites import suite_problems

    suite = config.parent / "expectations" / f"{pipeline.suite}.json"
    for text in suite_problems(suite, list(pipeline.source.columns), deep):
        yield _problem(text, f"expectations/{suite.name}")
    of_model = model_problems(pipeline)
    if not of_model:
        from pipelines.models.estimator_parameters import parameter_problems

        of_model = parameter_problems(pipeline.training)
    for text in [*feature_problems(pipeline, config), *of_model]:
        yield _in_file(_problem(text, pipeline.name), pipeline, config)


def _problem(text: str, file: str) -> Problem:
    """An error text of a step as a problem."""
    found = _ERROR_TEXT.fullmatch(text)
    if not found:
        return Problem("E-CONFIG-RULE", file, 0, text)
    return Problem(found["code"], found["where"], 0, found["message"])


def _in_file(problem: Problem, pipeline: Pipeline, config: Path) -> Problem:
    """The problem with the file and line that hold what it quotes: a shared group's file, else the pipeline's.

    Of the places that hold it, one at the path of settings that the problem names comes first.
    """
    words = re.findall(r"'([^']*)'", problem.message)
    paths = [config / "features" / f"{word}.yaml" for word in words if word in group_names(config)]
    for path in [*paths, config / "pipelines" / f"{pipeline.name}.yaml"]:
        document = read_document(path, shown_path(path, config))
        lines = [document.lines[place] for word in words for place, text in document.texts.items() if text == word]
        keys = [document.lines[place] for word in words for place in document.lines if place and place[-1] == word]
        if there := _at_path(problem.file, words, document):
            return replace(problem, file=document.file, line=there)
        if lines or keys or not paths:
            return replace(problem, file=document.file, line=(lines or keys or [0])[-1])
    return problem


def _at_path(path: str, words: Sequence[str], document: Document) -> int:
    """The line of the first of these words as a key below this path of settings, else that of the path; 0 for none."""
    found = [place for place in document.lines if place and ".".join(map(str, place)) == path]
    below = [(*place, word) for place in found for word in words]
    return next((document.lines[place] for place in [*below, *found] if place in document.lines), 0)
