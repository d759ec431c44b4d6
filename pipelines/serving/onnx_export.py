"""A registered version as an ONNX file, written only when it scores as the model does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipelines.context import Context
from pipelines.errors import ConfigError
from pipelines.models import load_model
from pipelines.models.model import Model
from pipelines.serving.onnx_features import cannot
from pipelines.storage.durable import sha256_of, write_bytes


def export_onnx(context: Context, version: int, path: Path) -> dict[str, Any]:
    """Writes `path`, whole or not at all, and returns what its metadata says.

    Raises:
        ModelError: E-MODEL-ONNX when a part has no form in ONNX, or when the scores differ; nothing is written.
        ConfigError: E-ONNX-MISSING when the packages for it are not installed.
    """
    model = load_model(context, version)
    sample = context.ledger.model(context.name, version)["record"].get("sample") or {}
    row = context.ledger.model(context.name, version)
    facts = {"pipeline": context.name, "version": version, "sha256": row["artifact_sha256"]}
    content, said = onnx_bytes(model, sample, facts)
    write_bytes(path, content)
    return {**said, "path": str(path), "bytes": len(content), "file_sha256": sha256_of(path)}


def onnx_bytes(model: Model, sample: dict[str, Any], facts: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """The checked file and what its metadata says: `facts`, the features, tolerance and largest difference."""
    _require_packages()
    from pipelines.serving.onnx_check import TOLERANCE, tried_rows
    from pipelines.serving.onnx_model import to_graph
    from pipelines.settings.tasks import VALUE_TASKS

    if not (sample.get("scores") or []):
        raise cannot("sample", "no rows were recorded when it was registered, so nothing can be compared")
    graph = to_graph(model, {})
    rows = tried_rows(model, sample)
    apart = _compared(model, graph.SerializeToString(), rows)
    measure = "of the score's size" if model.task in VALUE_TASKS else "of probability"
    if not apart <= TOLERANCE:
        what = f"its scores of {rows.num_rows} tried rows may differ by {TOLERANCE:g} {measure}, got {apart:.3g}"
        raise cannot(model.estimator_name, what)
    said = {
        **facts,
        "task": model.task,
        "family": model.family,
        "estimator": model.estimator_name,
        "classes": model.classes,
        "features": model.types,
        "missing": "NaN for a number, '' for a category",
        "tolerance": TOLERANCE,
        "compared_rows": rows.num_rows,
        "largest_difference": apart,
    }
    for key, value in said.items():
        entry = graph.metadata_props.add()
        entry.key, entry.value = f"nightshift.{key}", value if isinstance(value, str) else json.dumps(value)
    return graph.SerializeToString(), said


def _compared(model: Model, content: bytes, rows: Any) -> float:
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, NotImplemented

    from pipelines.serving.onnx_check import largest_difference

    try:
        return largest_difference(model, content, rows)
    except (Fail, InvalidGraph, NotImplemented) as error:
        raise cannot(model.estimator_name, f"onnxruntime cannot run it: {str(error)[:200]}") from error


def _require_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxmltools  # noqa: F401
        import onnxruntime  # noqa: F401
        import skl2onnx  # noqa: F401
    except ImportError as error:
        what = f"ONNX needs packages of its own: {error}"
        raise ConfigError("E-ONNX-MISSING", "nightshift onnx", what, "pip install -r requirements-onnx.txt") from error
