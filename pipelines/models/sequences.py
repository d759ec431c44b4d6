"""Which features are an entity's last events: numbers named `<channel>_lag_<step>`, step 1 the newest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pipelines.settings.families import Ensemble, TorchSequence
from pipelines.settings.missing import Drop
from pipelines.settings.training import Training

_LAG = re.compile(r"(.+)_lag_([1-9][0-9]*)")


def lags_of(types: Mapping[str, str]) -> dict[str, list[str]]:
    """Names of each channel's features, newest event first; empty without any."""
    found: dict[str, dict[int, str]] = {}
    for name, kind in types.items():
        parts = _LAG.fullmatch(name)
        if parts and kind == "number":
            found.setdefault(parts[1], {})[int(parts[2])] = name
    return {channel: [steps[step] for step in sorted(steps)] for channel, steps in found.items()}


def masked_features(types: Mapping[str, str]) -> frozenset[str]:
    """Those whose missing value says that there was no such event."""
    return frozenset(name for names in lags_of(types).values() for name in names)


def lag_problem(types: Mapping[str, str]) -> str | None:
    """Why these features are no sequence, or None: there must be lags, each channel with the steps 1 to n."""
    lags = lags_of(types)
    if not lags:
        return "it reads an entity's last events, but no feature is a lag"
    steps = {channel: len(names) for channel, names in lags.items()}
    gaps = [channel for channel, names in lags.items() if not names[-1].endswith(f"_lag_{steps[channel]}")]
    if gaps:
        return f"the lags of '{gaps[0]}' must be numbered from 1 without a gap"
    shortest, longest = min(steps, key=lambda one: steps[one]), max(steps, key=lambda one: steps[one])
    if steps[shortest] != steps[longest]:
        got = f"{steps[longest]} of '{longest}' and {steps[shortest]} of '{shortest}'"
        return f"all lags must have as many steps, got {got}"
    return None


def sequence_problems(training: Training, types: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with models of family 'torch_sequence', one sentence each."""
    model = training.model
    members = (
        {f"training.model.members.{name}": one for name, one in model.members.items()}
        if isinstance(model, Ensemble)
        else {"training.model": model}
    )
    for where, member in members.items():
        if isinstance(member, TorchSequence):
            yield from _problems(where, training, types)


def _problems(where: str, training: Training, types: Mapping[str, str]) -> Iterator[str]:
    if training.task == "anomaly":
        what = "family 'torch_sequence' cannot do task 'anomaly'. Use 'torch', an autoencoder."
        yield f"E-MODEL-SEQUENCE {where}: {what}"
    problem = lag_problem(types)
    if problem:
        yield (
            f"E-MODEL-SEQUENCE {where}: family 'torch_sequence': {problem}. "
            "Give a feature group one feature of kind 'lag', or use family 'torch'."
        )
    for name in sorted(masked_features(types)):
        own = training.missing.get(name)
        if isinstance(own or training.missing.get("default"), Drop):
            yield (
                f"E-MODEL-SEQUENCE training.missing.{name if own else 'default'}: 'drop' would leave out every row "
                f"whose entity has fewer events than '{name}' asks for. Name the features that must be there instead."
            )
            return
        if own and not isinstance(training.model, Ensemble):
            yield (
                f"E-MODEL-SEQUENCE training.missing.{name}: must be left out: family 'torch_sequence' masks a step "
                "without an event."
            )
