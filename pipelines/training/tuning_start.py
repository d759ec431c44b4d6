"""Parameters that a search tries first: the settings' own, the champion's, and the best of the search before."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.context import Context
from pipelines.ledger import Row
from pipelines.models.ranges import Range, ranges_of
from pipelines.settings.families import Ensemble, Member, SklearnEstimator, TorchMLP
from pipelines.settings.search import Choices, IntRange
from pipelines.settings.training import Training
from pipelines.training.tuning_search import best_of
from pipelines.training.tuning_study import Studies


def first_parameters(context: Context, training: Training, studies: Studies, study: str) -> list[dict[str, Any]]:
    """`[{"origin": "settings" | "champion v3" | "search of 2026-03-02", "parameters": {...}}, ...]`, each set once.

    Only parameters that today's ranges allow; those that are missing are sampled. Values are never taken over: these
    parameters are judged again, on the rows of this search.
    """
    found: list[dict[str, Any]] = []
    if training.tuning is None or not training.tuning.warm_start:
        return found
    ranges = ranges_of(training)
    for origin, given in _candidates(context, training, studies, study):
        allowed = {name: _fitting(ranges[name], given[name]) for name in ranges if name in given}
        allowed = {name: value for name, value in allowed.items() if value is not _UNFIT}
        if allowed and allowed not in [one["parameters"] for one in found]:
            found.append({"origin": origin, "parameters": allowed})
    return found


def _candidates(
    context: Context, training: Training, studies: Studies, study: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "settings", _of_settings(training)
    champion = context.ledger.champion(context.name)
    if champion:
        record = context.ledger.model(context.name, champion["version"])["record"]
        tuned = (record.get("tuning") or {}).get("parameters", {})
        if record["family"] == training.model.family:
            yield f"champion v{champion['version']}", {**_flat(record["parameters"]), **tuned}
    earlier = newest_judged(studies, context.name, but=study)
    if earlier:
        yield f"search of {earlier[0]['partition']}", earlier[1]["parameters"]


def newest_judged(studies: Studies, pipeline: str, but: str = "") -> tuple[Row, Row] | None:
    """The newest search of a pipeline that found something, and its best trial."""
    for study in reversed([row for row in studies.of(pipeline) if row["study"] != but]):
        best = best_of(studies.trials(study["study"]), study["metric"])
        if best:
            return study, best
    return None


def _of_settings(training: Training) -> dict[str, Any]:
    """What the settings say; a library's own defaults are not written there and are left to it."""
    if isinstance(training.model, Ensemble):
        members = training.model.members.items()
        return {f"{name}.{key}": value for name, member in members for key, value in _of_member(member).items()}
    return _of_member(training.model)


def _of_member(member: Member) -> dict[str, Any]:
    if isinstance(member, TorchMLP):
        return member.model_dump(mode="json")
    own = {} if isinstance(member, SklearnEstimator) else {"rounds": member.rounds}
    return {**own, **member.parameters}


def _flat(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A model's recorded parameters, of an ensemble those of its members as `member.parameter`."""
    members = parameters.get("members")
    if not isinstance(members, Mapping):
        return dict(parameters)
    return {f"{name}.{key}": one for name, member in members.items() for key, one in member["parameters"].items()}


_UNFIT = object()


def _fitting(given: Range, value: Any) -> Any:
    """The value as this range holds it, or `_UNFIT`."""
    if isinstance(given, Choices):
        return next((one for one in given.values if repr(one) == repr(value)), _UNFIT)
    if isinstance(value, bool) or not isinstance(value, int | float) or not given.low <= value <= given.high:
        return _UNFIT
    if given.step is not None and not math.isclose((value - given.low) % given.step, 0, abs_tol=1e-12):
        return _UNFIT
    if isinstance(given, IntRange):
        return int(value) if float(value).is_integer() else _UNFIT
    return float(value)
