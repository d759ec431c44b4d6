"""The preparation of features inside an ONNX graph: gaps, infinity, fills, scales, codes and indicators."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from onnx import TensorProto

from pipelines.errors import ModelError, quote
from pipelines.models.categories import CategoryEncoder
from pipelines.models.prepared_column import Column
from pipelines.models.preprocess import Preprocess
from pipelines.models.projection import FARTHEST, Projection
from pipelines.serving.onnx_graph import ML, Graph

# ONNX has no null: this text stands for it.
MISSING = ""
_LARGEST = float(np.finfo(np.float32).max)
# What is understood here. Anything else that a later release prepares must be refused, not left out.
_KNOWN_COLUMN = {"name", "type", "strategy", "fill", "indicator", "categories", "mean", "scale"}
_KNOWN = {"columns", "one_hot", "scaled", "scale", "kept", "projection", "facts"}


@dataclass(frozen=True)
class Inputs:
    """The file's inputs by feature: float64 numbers with NaN for missing, texts with '' for missing, each `(n, 1)`."""

    values: dict[str, str]

    @classmethod
    def of(cls, graph: Graph, types: dict[str, str]) -> Inputs:
        """Raises ModelError E-MODEL-ONNX for a feature that is neither a number nor a category."""
        kinds = {"number": TensorProto.DOUBLE, "category": TensorProto.STRING}
        for name, kind in types.items():
            if kind not in kinds:
                raise cannot(f"feature '{name}'", f"a feature of type {quote(kind)} has no preparation in ONNX here")
        return cls({name: graph.input(name, kinds[kind]) for name, kind in types.items()})


def cannot(where: str, what: str) -> ModelError:
    return ModelError("E-MODEL-ONNX", where, what, "Serve it with MLflow instead: nightshift serving.")


def prepared(graph: Graph, inputs: Inputs, preprocess: Preprocess) -> tuple[str, str | None]:
    """The matrix `(n, n_outputs)` of `Preprocess.transform`; of the rows that it refuses `(n, 1)` True, None for none.

    Raises:
        ModelError: E-MODEL-ONNX names what cannot be written as a graph.
    """
    _require_known(preprocess)
    numbers = [column for column in preprocess.columns if column.type == "number"]
    texts = [column for column in preprocess.columns if column.type != "number"]
    blocks: list[tuple[str, list[str]]] = []
    dropped: list[str] = []
    if numbers:
        blocks += _numbers(graph, inputs, numbers, preprocess.scaled, dropped)
    for column in texts:
        blocks += _category(graph, inputs.values[column.name], column, preprocess.one_hot, dropped)
    if not blocks:
        raise cannot("features", "the model has no features that say anything")
    found = [name for _, names in blocks for name in names]
    together = graph.add("Concat", *[value for value, _ in blocks], axis=1)
    encoded = preprocess.encoded_names
    kept = range(len(encoded)) if preprocess.kept is None else preprocess.kept
    order = graph.constant([found.index(encoded[place]) for place in kept], np.int64)
    selected = graph.add("Gather", together, order, axis=1)
    return _projected(graph, selected, preprocess.projection), any_of(graph, dropped)


def any_of(graph: Graph, flags: list[str]) -> str | None:
    """`(n, 1)` True where one of these `(n, k)` booleans is."""
    if not flags:
        return None
    numbers = [graph.cast(flag, TensorProto.FLOAT) for flag in flags]
    together = graph.add("Concat", *numbers, axis=1)
    highest = graph.add("ReduceMax", together, graph.constant([1], np.int64), keepdims=1)
    return graph.add("Greater", highest, graph.constant(0, np.float32))


def _require_known(preprocess: Preprocess) -> None:
    if preprocess.imputers:
        raise cannot("missing", "imputation by neighbours or regressions has no converter to ONNX")
    for other in {field.name for field in fields(preprocess)} - _KNOWN:
        if getattr(preprocess, other):
            raise cannot("features", f"{quote(other)} has no preparation in ONNX here")
    for column in preprocess.columns:
        for other in {field.name for field in fields(column)} - _KNOWN_COLUMN:
            if getattr(column, other) and not isinstance(column.encoder, CategoryEncoder):
                raise cannot(f"feature '{column.name}'", f"its {quote(other)} has no preparation in ONNX here")
        encoded = column.encoder.categories if isinstance(column.encoder, CategoryEncoder) else ()
        if MISSING in (*column.categories, *encoded):
            raise cannot(
                f"feature '{column.name}'", "the empty text is one of its categories; in ONNX it means missing"
            )


def _numbers(
    graph: Graph, inputs: Inputs, columns: list[Column], scaled: bool, dropped: list[str]
) -> list[tuple[str, list[str]]]:
    nan = graph.constant(np.nan)
    raw = graph.add("Concat", *[inputs.values[column.name] for column in columns], axis=1)
    values = graph.add("Where", graph.add("IsInf", raw), nan, raw)
    missing = graph.add("IsNaN", values)
    values = _bounded(graph, values, _LARGEST)
    fills = [column.fill if isinstance(column.fill, float) else np.nan for column in columns]
    values = graph.add("Where", missing, graph.constant([fills]), values)
    if scaled:
        values = graph.add("Sub", values, graph.constant([[column.mean for column in columns]]))
        values = graph.add("Div", values, graph.constant([[column.scale for column in columns]]))
    blocks = [(values, [column.name for column in columns])]
    flagged = [number for number, column in enumerate(columns) if column.indicator]
    if flagged:
        flags = graph.add("Gather", missing, graph.constant(flagged, np.int64), axis=1)
        names = [f"{columns[number].name} is missing" for number in flagged]
        blocks.append((graph.cast(flags, TensorProto.DOUBLE), names))
    refusing = [number for number, column in enumerate(columns) if column.strategy == "drop"]
    if refusing:
        dropped.append(graph.add("Gather", missing, graph.constant(refusing, np.int64), axis=1))
    return blocks


def _category(
    graph: Graph, text: str, column: Column, one_hot: bool, dropped: list[str]
) -> list[tuple[str, list[str]]]:
    encoder = column.encoder if isinstance(column.encoder, CategoryEncoder) else None
    categories = encoder.categories if encoder else column.categories
    known = {category: number for number, category in enumerate(categories)}
    if column.fill is not None:
        known = {**known, MISSING: known.get(str(column.fill), len(categories) + 1 if encoder else -1)}
    elif encoder:
        known = {**known, MISSING: len(known)}
    codes = _looked_up(graph, text, known, len(categories) + 1 if encoder else -1)
    blocks: list[tuple[str, list[str]]] = []
    if encoder:
        blocks.append((_encoded(graph, codes, encoder), encoder.names(column.name)))
    elif not one_hot:
        unknown = graph.add("Less", codes, graph.constant(0, np.int64))
        numbers = graph.add("Where", unknown, graph.constant(np.nan), graph.cast(codes, TensorProto.DOUBLE))
        blocks.append((numbers, [column.name]))
    elif column.categories:
        wanted = graph.constant([range(len(column.categories))], np.int64)
        flags = graph.cast(graph.add("Equal", codes, wanted), TensorProto.DOUBLE)
        blocks.append((flags, [f"{column.name}={category}" for category in column.categories]))
    if column.indicator or column.strategy == "drop":
        missing = graph.add("Greater", _looked_up(graph, text, {MISSING: 1}, 0), graph.constant(0, np.int64))
        blocks += [(graph.cast(missing, TensorProto.DOUBLE), [f"{column.name} is missing"])] if column.indicator else []
        dropped += [missing] if column.strategy == "drop" else []
    return blocks


def _encoded(graph: Graph, codes: str, encoder: CategoryEncoder) -> str:
    """As `CategoryEncoder.transform`: what each category, a missing one and an unseen one are worth."""
    values = encoder.scaled(np.array(encoder.values))
    flat = graph.add("Reshape", codes, graph.constant([-1], np.int64))
    return graph.add("Gather", graph.constant(values), flat, axis=0)


def _projected(graph: Graph, selected: str, projection: Projection | None) -> str:
    """As `Projection.apply`, beside its inputs where they are kept."""
    if projection is None:
        return selected
    count, value = len(projection.arrays) // 2, selected
    if count > 1:
        value = _bounded(graph, value, FARTHEST)
    for number in range(count):
        value = graph.add("Relu", value) if number else value
        value = graph.add("MatMul", value, graph.constant(projection.arrays[f"weights_{number}"].T))
        value = graph.add("Add", value, graph.constant(projection.arrays[f"offset_{number}"]))
    return graph.add("Concat", selected, value, axis=1) if projection.settings.keep_inputs else value


def _bounded(graph: Graph, values: str, largest: float) -> str:
    """Clip says nothing about NaN; here it stays."""
    for operator, bound in (("Greater", largest), ("Less", -largest)):
        limit = graph.constant(bound)
        values = graph.add("Where", graph.add(operator, values, limit), limit, values)
    return values


def _looked_up(graph: Graph, text: str, numbers: dict[str, int], other: int) -> str:
    keys: dict[str, Any] = {"keys_strings": list(numbers), "values_int64s": list(numbers.values())}
    if not numbers:
        keys = {"keys_strings": [MISSING], "values_int64s": [other]}
    return graph.add("LabelEncoder", text, domain=ML, default_int64=other, **keys)
