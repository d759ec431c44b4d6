"""One problem of a configuration file, and the error that carries all problems of a file at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipelines.errors import ConfigError


@dataclass(frozen=True)
class Problem:
    """What is wrong in one place. `line` counts from 1; 0 stands for the whole file."""

    code: str
    file: str
    line: int
    message: str

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file

    def __lt__(self, other: Problem) -> bool:
        return (self.file, self.line, self.code, self.message) < (other.file, other.line, other.code, other.message)

    def __str__(self) -> str:
        return f"{self.code} {self.where}: {self.message}"


class ConfigProblems(ConfigError):
    """Every problem of a configuration, one per line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        first = self.problems[0]
        super().__init__(first.code, first.where, first.message)
        self.args = ("\n".join(str(problem) for problem in self.problems),)

    def __reduce__(self) -> tuple[type[ConfigProblems], tuple[tuple[Problem, ...]]]:  # type: ignore[override]
        return type(self), (self.problems,)
