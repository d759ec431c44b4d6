"""What is wrong with the settings of encoding, selection and projection. No machine learning library is imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipelines.errors import did_you_mean
from pipelines.settings.families import Ensemble, TorchSequence
from pipelines.settings.preparation import SUPERVISED_SELECTIONS, Hashing, Target, Tfidf
from pipelines.settings.tasks import CLASS_TASKS, VALUE_TASKS
from pipelines.settings.training import Training

_LABELLED = CLASS_TASKS | VALUE_TASKS


def preparation_problems(training: Training, types: Mapping[str, str]) -> list[str]:
    """One sentence each; `types`: of the features."""
    return [*_encoding(training, types), *_selection(training), *_whole(training, types)]


def _encoding(training: Training, types: Mapping[str, str]) -> Iterator[str]:
    for name, settings in training.encode.items():
        where = f"E-MODEL-ENCODE training.encode.{name}"
        if name not in types:
            yield f"{where}: unknown feature '{name}'. {did_you_mean(name, types)}".rstrip()
            continue
        wanted = "text" if isinstance(settings, Tfidf | Hashing) else "category"
        if types[name] != wanted:
            yield f"{where}: '{settings.encoder}' needs a {wanted}, got a {types[name]}"
        if isinstance(settings, Target) and training.task not in _LABELLED:
            yield f"{where}: 'target' must be left out with task '{training.task}', which learns from no label"


def _selection(training: Training) -> Iterator[str]:
    for step in training.select:
        if training.task not in _LABELLED and isinstance(step, SUPERVISED_SELECTIONS):
            where = f"E-MODEL-SELECT training.select by {step.by}: must be left out with task '{training.task}'"
            yield f"{where}, which learns from no label. Use 'variance' or 'correlation'."


def _whole(training: Training, types: Mapping[str, str]) -> Iterator[str]:
    """Networks that read columns by their place take all of them or none."""
    model = training.model
    members = model.members.values() if isinstance(model, Ensemble) else [model]
    reasons = {"'torch_sequence' needs every step of a lag": any(isinstance(one, TorchSequence) for one in members)}
    reasons |= {"an image needs all its pixels": "image" in types.values()}
    for name in ("select", "project"):
        for reason, holds in reasons.items():
            if holds and getattr(training, name):
                yield f"E-MODEL-{name.upper()} training.{name}: must be left out: {reason}"
