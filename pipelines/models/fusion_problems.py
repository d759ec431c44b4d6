"""What is wrong with the settings of a late fusion. No machine learning library is imported here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipelines.errors import did_you_mean, names, quote
from pipelines.settings.families import Ensemble
from pipelines.settings.missing import Drop
from pipelines.settings.training import Training


def seen_by_members(training: Training, types: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
    """The features that each member of an ensemble sees; all of them unless it is a fusion."""
    model = training.model
    if not isinstance(model, Ensemble):
        return {}
    return {
        name: {column: kind for column, kind in types.items() if column in model.columns[name]}
        if name in model.columns
        else types
        for name in model.members
    }


def fusion_problems(training: Training, types: Mapping[str, str]) -> Iterator[str]:
    """One sentence each; empty when a training could start."""
    model = training.model
    if not isinstance(model, Ensemble) or model.combine != "fusion":
        return
    for name, columns in model.columns.items():
        for column in columns:
            if column not in types:
                hint = did_you_mean(column, types)
                place = f"training.model.columns.{name}"
                yield f"E-MODEL-FUSION {place}: {quote(column)} must be a feature. {hint}".rstrip()
    unseen = sorted(set(types) - {column for columns in model.columns.values() for column in columns})
    if unseen:
        yield f"E-MODEL-FUSION training.model.columns: no member sees the feature(s) {names(unseen)}."
    for key, setting in training.missing.items():
        if isinstance(setting, Drop):
            yield (
                f"E-MODEL-FUSION training.missing.{key}: 'drop' would refuse rows that other members can score. "
                "Leave it out, or fill the gaps."
            )
