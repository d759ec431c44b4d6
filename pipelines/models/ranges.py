"""What tuning may try: the ranges of a pipeline in one form, and what is wrong with them. No library is imported."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.errors import did_you_mean
from pipelines.models.allowed import (
    INTEGER_PARAMETERS,
    REAL_PARAMETERS,
    TEXT_PARAMETERS,
    TORCH_TUNABLE,
    takes_integers,
)
from pipelines.settings.families import Ensemble, Member, TorchMLP, XGBoost
from pipelines.settings.search import Choices, FloatRange, IntRange, Tuning
from pipelines.settings.training import Training

Range = IntRange | FloatRange | Choices
_TUNABLE = {
    "xgboost": ("XGBoost", INTEGER_PARAMETERS | REAL_PARAMETERS | TEXT_PARAMETERS - {"objective"}),
    "torch": ("PyTorch", TORCH_TUNABLE),
    "torch_sequence": ("PyTorch", TORCH_TUNABLE | {"channels"}),
    "torch_image": ("PyTorch", TORCH_TUNABLE | {"channels"}),
}


def ranges_of(training: Training) -> dict[str, Range]:
    """Every range of `training.tuning`, the short form `[low, high]` as the kind of numbers that the parameter takes.

    In the order of the file, which is the order in which parameters are drawn.
    """
    tuning = training.tuning
    return {} if tuning is None else {name: _typed(training, tuning, name) for name in tuning.ranges}


def _typed(training: Training, tuning: Tuning, name: str) -> Range:
    given, log = tuning.ranges[name], name in tuning.log_scale
    if not isinstance(given, tuple):
        return given
    low, high = given
    member, parameter = _owner(training, name)
    if member is not None and takes_integers(member.family, parameter, low):
        return IntRange(kind="int", low=int(low), high=int(high), log=log)
    return FloatRange(kind="float", low=low, high=high, log=log)


def most_steps(training: Training) -> int:
    """Rounds or epochs that a trial may have; 1 for families without."""
    model = training.model
    if not isinstance(model, XGBoost | TorchMLP):
        return 1
    tried = ranges_of(training).get("rounds" if isinstance(model, XGBoost) else "epochs")
    if isinstance(tried, IntRange):
        return tried.high
    return model.rounds if isinstance(model, XGBoost) else model.epochs


def _owner(training: Training, name: str) -> tuple[Member | None, str]:
    """The model whose parameter this is, and the parameter: of an ensemble `member.parameter`."""
    if not isinstance(training.model, Ensemble):
        return training.model, name
    member, _, parameter = name.partition(".")
    return training.model.members.get(member), parameter


def tuning_problems(training: Training) -> Iterator[str]:
    """One sentence per mistake in `training.tuning`."""
    tuning = training.tuning
    if tuning is None:
        return
    for name in tuning.ranges:
        where = f"E-MODEL-TUNING training.tuning.ranges.{name}"
        member, parameter = _owner(training, name)
        if member is None or not parameter:
            members = ", ".join(f"'{one}.'" for one in training.model.members)  # type: ignore[union-attr]
            yield f"{where}: of an ensemble it must be 'member.parameter', beginning with {members}"
            continue
        yield from _order_problems(where, _typed(training, tuning, name), tuning.ranges[name])
        yield from _parameter_problems(where, member, parameter, _typed(training, tuning, name))
    for name in tuning.log_scale:
        if name not in tuning.ranges:
            yield f"E-MODEL-TUNING training.tuning.log_scale: '{name}' has no range"
        elif not isinstance(tuning.ranges[name], tuple):
            yield f"E-MODEL-TUNING training.tuning.log_scale: '{name}' has a typed range: write 'log: true' there"
    yield from _search_problems(training, tuning)


def _order_problems(where: str, given: Range, written: object) -> Iterator[str]:
    if isinstance(given, Choices):
        if len(set(map(repr, given.values))) < len(given.values):
            yield f"{where}: the values must differ"
        return
    low, high = written if isinstance(written, tuple) else (given.low, given.high)
    if not low < high:
        yield f"{where}: the first value must be below the second, got [{low}, {high}]"
    if given.log and low <= 0:
        yield f"{where}: a log scale must start above 0, got {low}"
    if given.log and given.step not in (None, 1):
        yield f"{where}: 'log' and 'step' cannot both be set"


def _parameter_problems(where: str, member: Member, parameter: str, given: Range) -> Iterator[str]:
    family, tunable = _TUNABLE.get(member.family, ("", None))
    if tunable is not None and parameter not in tunable:
        yield f"{where}: not a tunable {family} parameter. {did_you_mean(parameter, tunable)}".rstrip()
        return
    if isinstance(given, FloatRange) and takes_integers(member.family, parameter, 0):
        yield f"{where}: '{parameter}' takes whole numbers: use 'kind: int'"
        return
    values = given.values if isinstance(given, Choices) else (given.low, given.high)
    if tunable is not None and (parameter in TEXT_PARAMETERS) != all(isinstance(one, str) for one in values):
        kind = "text" if parameter in TEXT_PARAMETERS else "numbers"
        yield f"{where}: '{parameter}' takes {kind}, got {', '.join(map(str, values))}"
    elif isinstance(member, TorchMLP):
        yield from _torch_problems(where, member, parameter, values)


def _torch_problems(where: str, member: TorchMLP, parameter: str, values: tuple[object, ...]) -> Iterator[str]:
    """Both ends of a range must be values that the setting itself may have."""
    for value in values:
        try:
            type(member).model_validate({"family": member.family, parameter: value})
        except ValueError:
            yield f"{where}: {value} is no value of '{parameter}'"


def _search_problems(training: Training, tuning: Tuning) -> Iterator[str]:
    if tuning.workers > tuning.trials:
        yield (
            f"E-MODEL-TUNING training.tuning.workers: must not be more than the {tuning.trials} trials, "
            f"got {tuning.workers}"
        )
    if tuning.pruner is None:
        return
    where, model = "E-MODEL-TUNING training.tuning.pruner", training.model
    if model.family not in _TUNABLE:
        yield f"{where}: family '{model.family}' has no rounds or epochs at which a trial could end: leave it out"
    elif isinstance(model, TorchMLP) and model.processes > 1:
        yield f"{where}: a network in {model.processes} processes cannot be ended early: set model.processes to 1"
    elif tuning.pruner.every >= most_steps(training):
        yield (
            f"{where}.every: must be below the {most_steps(training)} rounds or epochs of a trial, "
            f"got {tuning.pruner.every}"
        )
