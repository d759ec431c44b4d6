"""What beside its rows made a model: settings, libraries, code and feature functions, as the record keeps them."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from pipelines.features.names import modules_of
from pipelines.home import REPOSITORY
from pipelines.settings.pipeline import Pipeline

if TYPE_CHECKING:
    from pipelines.context import Context

LIBRARIES = (
    *("numpy", "scipy", "pyarrow", "duckdb", "ibis-framework", "deltalake", "scikit-learn", "mapie", "skops"),
    *("xgboost", "xgboost-cpu", "torch", "safetensors", "optuna"),
)
# What determines a model once its tables are published; the rest says when something runs or what is shown.
_DETERMINING = ("partition", "timezone", "key", "event_time", "label", "label_sources", "label_rules", "training")
_FEATURES = ("features", "feature_groups")
_STEPS = ("tune", "train")
# The parts of pipelines/ that turn tables into a model.
_MAKERS = ("engine.py", "features", "models", "monitoring", "settings", "storage", "training")


def provenance(context: Context) -> dict[str, Any]:
    """Everything that `nightshift replay` needs and no table holds. The settings hold no secrets: YAML may not."""
    return {"settings": context.pipeline.model_dump(mode="json"), **surroundings(context)}


def surroundings(context: Context) -> dict[str, Any]:
    """Python, libraries (0 for those that are not installed), the lock's digest, and digests of the code that runs."""
    from pipelines.features.functions import module_digest  # with the engine, which who only compares does not need

    lock = REPOSITORY / "constraints.txt"
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "libraries": {name: installed(name) for name in LIBRARIES},
        "lock": _digest(lock.read_bytes()) if lock.is_file() else "none",
        "code": dict(_code_digests()),
        "feature_code": {name: module_digest(context.home.config, name) for name in modules_of(context.pipeline)},
    }


def installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"


def determining(pipeline: Pipeline) -> dict[str, Any]:
    """The settings that determine a model, by path: `{"training.seed": 1, "gate.slices": [...], ...}`."""
    values = pipeline.model_dump(mode="json")
    chosen = {name: values[name] for name in (*_DETERMINING, *_FEATURES)}
    chosen["gate"] = {"slices": values["gate"]["slices"]}
    chosen["resources"] = {
        step: pipeline.resources_of(step).model_dump(mode="json", include={"cpus", "device"}) for step in _STEPS
    }
    return dict(flat(chosen))


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Path and value of each leaf; lists of blocks are numbered from 0, other lists are leaves."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from flat(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple) and value and all(isinstance(one, Mapping) for one in value):
        for number, inner in enumerate(value):
            yield from flat(inner, f"{path}[{number}]")
    else:
        yield path, value


@lru_cache(maxsize=1)
def _code_digests() -> tuple[tuple[str, str], ...]:
    """One digest per part of the product that makes models: it tells work trees without a commit apart, too."""
    root = REPOSITORY / "pipelines"
    found: dict[str, list[str]] = {}
    for path in sorted(root.rglob("*.py")):
        place = path.relative_to(root)
        if place.parts[0] not in _MAKERS:
            continue
        found.setdefault(place.parts[0], []).append(f"{place.as_posix()} {_digest(path.read_bytes())}")
    return tuple((f"pipelines/{name}", _digest("\n".join(lines).encode())) for name, lines in found.items())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
