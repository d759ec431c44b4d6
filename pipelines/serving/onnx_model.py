"""A whole model as one ONNX graph: features in as columns, scores out as `Model.predict` gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import numpy as np
from onnx import ModelProto

from pipelines.errors import quote
from pipelines.models.calibration import Calibrator, Curve, Sigmoid
from pipelines.models.committee import Committee
from pipelines.models.estimators import ESTIMATORS
from pipelines.models.model import Model
from pipelines.serving.onnx_estimators import converted, estimated, probabilities
from pipelines.serving.onnx_features import Inputs, any_of, cannot, prepared
from pipelines.serving.onnx_graph import Graph
from pipelines.settings.tasks import VALUE_TASKS

# What is understood here; what a later release adds must be refused, not left out. Intervals do not change a score.
_KNOWN = {
    *("family", "estimator_name", "task", "types", "classes", "preprocess", "estimator", "facts", "version", "device"),
    *("calibrator", "conformal"),
}
# As in pipelines.models.committee and pipelines.models.calibration.
_SMALLEST_OF_META, _SMALLEST_OF_CURVE = 1e-6, 1e-12


def to_graph(model: Model, metadata: Mapping[str, str]) -> ModelProto:
    """Inputs: one `(n, 1)` column per feature. Output `score`: float64 `(n, 1)`, `(n, k)` for several classes.

    A row that the model refuses is NaN.

    Raises:
        ModelError: E-MODEL-ONNX names the part that has no form in ONNX.
    """
    graph = Graph()
    scores = _scores(graph, Inputs.of(graph, model.types), model)
    return graph.finish(scores, ["rows", len(model.classes) if model.task == "multiclass" else 1], metadata)


def _scores(graph: Graph, inputs: Inputs, model: Model) -> str:
    for other in {field.name for field in fields(model)} - _KNOWN:
        if getattr(model, other):
            raise cannot("model", f"its {quote(other)} has no form in ONNX here")
    is_ensemble = isinstance(model.estimator, Committee)
    scores = _together(graph, inputs, model) if is_ensemble else _alone(graph, inputs, model)
    return scores if model.calibrator is None else _calibrated(graph, scores, model.calibrator)


def _alone(graph: Graph, inputs: Inputs, model: Model) -> str:
    matrix, dropped = prepared(graph, inputs, model.preprocess)
    refusing = [dropped] if dropped else []
    if not _takes_missing(model) or model.preprocess.projection is not None:
        numbers = np.array([[kind == "q" for kind in model.preprocess.output_types]])
        gaps = graph.add("And", graph.add("IsNaN", matrix), graph.constant(numbers, np.bool_))
        matrix = graph.add("Where", gaps, graph.constant(0), matrix)
        refusing.append(gaps)
    scores = estimated(graph, model, matrix)
    if model.task == "anomaly":
        typical = graph.constant(max(model.facts["typical"], np.finfo(np.float64).tiny))
        scores = graph.add("Div", scores, graph.add("Add", scores, typical))
    return _refused(graph, scores, refusing)


def _takes_missing(model: Model) -> bool:
    """As `Model.predict` decides it; a network takes categories that are missing, and no numbers."""
    is_sklearn = model.family == "sklearn"
    return model.family == "xgboost" or (is_sklearn and ESTIMATORS[model.estimator_name].takes_missing)


def _refused(graph: Graph, scores: str, refusing: list[str]) -> str:
    refused = any_of(graph, refusing)
    return scores if refused is None else graph.add("Where", refused, graph.constant(np.nan), scores)


def _together(graph: Graph, inputs: Inputs, model: Model) -> str:
    """As `Committee.scores`."""
    committee = model.estimator
    if type(committee) is not Committee:
        raise cannot("model", "a fusion, whose rows may lack some members' columns, has no form in ONNX here")
    found = [_scores(graph, inputs, member) for member in committee.members.values()]
    if committee.meta is None:
        weighted = [
            graph.add("Mul", one, graph.constant(weight)) for one, weight in zip(found, committee.weights, strict=True)
        ]
        return graph.add("Sum", *weighted)
    given = graph.add("Concat", *[_meta_input(graph, one, model.task) for one in found], axis=1)
    missing = graph.add("IsNaN", given)
    given = graph.add("Where", missing, graph.constant(0), given)
    columns = len(found) * (len(model.classes) if model.task == "multiclass" else 1)
    if model.task in VALUE_TASKS:
        scores = converted(graph, committee.meta, given, columns, is_single=False)[0]
    else:
        output = converted(graph, committee.meta, given, columns, is_single=False, zipmap=False)[1]
        count = 2 if model.task == "binary" else len(model.classes)
        scores = probabilities(graph, committee.meta, output, model.task, count)
    return _refused(graph, scores, [missing])


def _meta_input(graph: Graph, scores: str, task: str) -> str:
    if task in VALUE_TASKS:
        return scores
    clipped = _clipped(graph, scores, _SMALLEST_OF_META)
    return graph.add("Log", clipped) if task == "multiclass" else _log_odds(graph, clipped)


def _clipped(graph: Graph, scores: str, smallest: float) -> str:
    """NaN stays NaN."""
    low, high = graph.constant(smallest), graph.constant(1 - smallest)
    scores = graph.add("Where", graph.add("Less", scores, low), low, scores)
    return graph.add("Where", graph.add("Greater", scores, high), high, scores)


def _log_odds(graph: Graph, clipped: str) -> str:
    return graph.add("Log", graph.add("Div", clipped, graph.add("Sub", graph.constant(1), clipped)))


def _calibrated(graph: Graph, scores: str, calibrator: Calibrator) -> str:
    """As `Calibrator.apply`."""
    if len(calibrator.curves) == 1:
        return _curved(graph, scores, calibrator.curves[0])
    columns = [
        _curved(graph, graph.add("Gather", scores, graph.constant([number], np.int64), axis=1), curve)
        for number, curve in enumerate(calibrator.curves)
    ]
    each = graph.add("Concat", *columns, axis=1)
    total = graph.add("ReduceSum", each, graph.constant([1], np.int64), keepdims=1)
    is_left = graph.add("Greater", total, graph.constant(0))
    shares = graph.add("Div", each, graph.add("Where", is_left, total, graph.constant(1)))
    return graph.add("Where", is_left, shares, scores)


def _curved(graph: Graph, scores: str, curve: Curve | None) -> str:
    if curve is None:
        return scores
    if isinstance(curve, Sigmoid):
        odds = _log_odds(graph, _clipped(graph, scores, _SMALLEST_OF_CURVE))
        line = graph.add("Add", graph.add("Mul", odds, graph.constant(curve.slope)), graph.constant(curve.intercept))
        return graph.add("Sigmoid", line)
    knots, chances = np.asarray(curve.scores), np.asarray(curve.chances)
    if len(knots) == 1:
        return graph.add("Add", graph.add("Mul", scores, graph.constant(0)), graph.constant(chances[0]))
    # Each line adds its rise as far as the score has come along it.
    way = graph.add("Sub", scores, graph.constant([knots[:-1]]))
    width = graph.constant([np.diff(knots)])
    way = graph.add("Where", graph.add("Less", way, graph.constant(0)), graph.constant(0), way)
    way = graph.add("Where", graph.add("Greater", way, width), width, way)
    risen = graph.add("Mul", way, graph.constant([np.diff(chances) / np.diff(knots)]))
    whole = graph.add("ReduceSum", risen, graph.constant([1], np.int64), keepdims=1)
    return graph.add("Add", whole, graph.constant(chances[0]))
