"""Names and types of a pipeline's features, from its settings alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pipelines.errors import ConfigError, did_you_mean, quote
from pipelines.settings.features import (
    CalendarFeature,
    Feature,
    FeatureGroup,
    FunctionFeature,
    JoinFeature,
    LagFeature,
    RatioFeature,
    Statistic,
    WindowFeature,
    window_seconds,
)
from pipelines.settings.missing import ForwardFill
from pipelines.settings.pipeline import Pipeline
from pipelines.settings.source import ColumnType

FeatureType = Literal["number", "category", "text", "image"]
_TYPES: dict[ColumnType, FeatureType] = {
    "number": "number",
    "integer": "number",
    "boolean": "number",
    "id": "category",
    "text": "text",
    "category": "category",
    "image": "image",
}


@dataclass(frozen=True)
class WindowColumn:
    """One feature column: `statistic` of `column` over the entity's events in the `seconds` before the row."""

    name: str
    statistic: Statistic
    column: str | None
    seconds: int
    decimals: int


@dataclass(frozen=True)
class LagColumns:
    """`values`: source column to its features, newest event first; `ages`: how long ago each event was, likewise."""

    values: dict[str, list[str]]
    ages: list[str]

    @property
    def names(self) -> list[str]:
        return [name for names in (*self.values.values(), self.ages) for name in names]


def feature_types(pipeline: Pipeline) -> dict[str, FeatureType]:
    """'number', 'category', 'text' or 'image' per model feature: `features.columns` first, then the groups in order.

    Raises:
        ConfigError: E-FEATURE-DUPLICATE when two features share a name, E-FEATURE-COLUMN for an unknown column,
            E-FEATURE-GROUP for a group that was not loaded.
    """
    found: dict[str, FeatureType] = {}
    makers: dict[str, str] = {}
    for maker, name, kind in _all_columns(pipeline):
        if name in found:
            raise duplicate(pipeline, name, makers[name], maker)
        found[name], makers[name] = kind, maker
    return found


def feature_names(pipeline: Pipeline) -> list[str]:
    """The columns that the model sees, in the order of the features table."""
    return list(feature_types(pipeline))


def groups_of(pipeline: Pipeline) -> tuple[FeatureGroup, ...]:
    """The feature groups in the order of `features.groups`, shared ones as the loader resolved them."""
    loaded = {group.name: group for group in pipeline.feature_groups}
    return tuple(_group(pipeline, loaded, wanted) for wanted in pipeline.features.groups)


def group_versions(pipeline: Pipeline) -> dict[str, str]:
    """Version per group: the digest of its definition."""
    return {group.name: group.digest() for group in groups_of(pipeline)}


def feature_columns(pipeline: Pipeline, group: FeatureGroup, feature: Feature) -> dict[str, FeatureType]:
    """The columns that one feature adds, with their types."""
    if isinstance(feature, WindowFeature):
        return {column.name: _window_type(pipeline, column) for column in window_columns(pipeline, group, feature)}
    if isinstance(feature, LagFeature):
        return dict.fromkeys(lag_columns(group, feature).names, "number")
    if isinstance(feature, CalendarFeature):
        return {f"{feature.column}_{part}": "number" for part in feature.parts}
    if isinstance(feature, RatioFeature):
        return {feature.name: "number"}
    if isinstance(feature, JoinFeature):
        return {joined_name(group, column): _joined_type(pipeline, feature, column) for column in feature.columns}
    kinds: dict[str, FeatureType] = dict.fromkeys(feature.columns, "number")
    kinds |= dict.fromkeys(feature.categories, "category")
    return kinds | dict.fromkeys(feature.texts, "text")


def window_columns(pipeline: Pipeline, group: FeatureGroup, feature: WindowFeature) -> list[WindowColumn]:
    """One entry per statistic and window, statistics first."""
    lookback = window_seconds(pipeline.features.lookback)
    parts = [group.prefix] if group.prefix else []
    parts += [feature.column] if feature.column else []
    return [
        WindowColumn(
            name="_".join([*parts, statistic, *([window] if window else [])]),
            statistic=statistic,
            column=feature.column,
            seconds=window_seconds(window) if window else lookback,
            decimals=feature.decimals,
        )
        for statistic in feature.statistics
        for window in feature.windows or (None,)
    ]


def lag_columns(group: FeatureGroup, feature: LagFeature) -> LagColumns:
    def named(stem: str) -> list[str]:
        return [f"{joined_name(group, stem)}_lag_{step}" for step in range(1, feature.steps + 1)]

    return LagColumns({column: named(column) for column in feature.columns}, named("seconds"))


def joined_name(group: FeatureGroup, column: str) -> str:
    return f"{group.prefix}_{column}" if group.prefix else column


def column_type(pipeline: Pipeline, column: str, where: str) -> FeatureType:
    """The type that a column of the clean table has as a feature.

    Raises:
        ConfigError: E-FEATURE-COLUMN when it is not declared, or is a moment, which no model can read.
    """
    return _as_feature(
        pipeline.name, column, {name: item.type for name, item in pipeline.source.columns.items()}, where
    )


def forward_fills(pipeline: Pipeline) -> dict[str, tuple[str, ...]]:
    """Entity per column of `features.columns` whose missing values take the entity's last known value."""
    if not pipeline.training:
        return {}
    missing = pipeline.training.missing
    rules = {column: missing.get(column, missing.get("default")) for column in pipeline.features.columns}
    return {column: rule.entity for column, rule in rules.items() if isinstance(rule, ForwardFill)}


def looks_back(pipeline: Pipeline) -> bool:
    """True when features of a partition depend on rows of earlier ones."""
    features = [feature for group in groups_of(pipeline) for feature in group.features]
    return any(isinstance(feature, WindowFeature | LagFeature) for feature in features) or bool(forward_fills(pipeline))


def modules_of(pipeline: Pipeline) -> list[str]:
    """Names of the function modules in use, sorted."""
    features = [feature for group in groups_of(pipeline) for feature in group.features]
    return sorted({feature.module for feature in features if isinstance(feature, FunctionFeature)})


def duplicate(pipeline: Pipeline, name: str, first: str, second: str) -> ConfigError:
    return ConfigError(
        "E-FEATURE-DUPLICATE",
        pipeline.name,
        f"the feature {quote(name)} must be made once, got it from {first} and from {second}",
        "Rename one, or give one group a 'prefix'.",
    )


def _all_columns(pipeline: Pipeline) -> Iterator[tuple[str, str, FeatureType]]:
    for column in pipeline.features.columns:
        yield "'features.columns'", column, column_type(pipeline, column, "features.columns")
    for group in groups_of(pipeline):
        for feature in group.features:
            for name, kind in feature_columns(pipeline, group, feature).items():
                yield f"group '{group.name}'", name, kind


def _group(pipeline: Pipeline, loaded: dict[str, FeatureGroup], wanted: str | FeatureGroup) -> FeatureGroup:
    if isinstance(wanted, FeatureGroup):
        return wanted
    if wanted not in loaded:
        hint = did_you_mean(wanted, loaded)
        raise ConfigError("E-FEATURE-GROUP", pipeline.name, f"the feature group {quote(wanted)} was not loaded", hint)
    return loaded[wanted]


def _window_type(pipeline: Pipeline, window: WindowColumn) -> FeatureType:
    if window.statistic == "last" and window.column:
        return column_type(pipeline, window.column, window.name)
    return "number"


def _joined_type(pipeline: Pipeline, feature: JoinFeature, column: str) -> FeatureType:
    where = f"dimension {feature.dimension}"
    if feature.dimension not in pipeline.dimensions:
        hint = did_you_mean(feature.dimension, pipeline.dimensions)
        raise ConfigError("E-FEATURE-COLUMN", pipeline.name, f"unknown {where!r}", hint)
    declared = pipeline.dimensions[feature.dimension].source.columns
    return _as_feature(pipeline.name, column, {name: item.type for name, item in declared.items()}, where)


def _as_feature(pipeline: str, column: str, declared: dict[str, ColumnType], where: str) -> FeatureType:
    if column not in declared:
        hint = did_you_mean(column, declared)
        raise ConfigError("E-FEATURE-COLUMN", pipeline, f"{where} names the unknown column {quote(column)}", hint)
    kind = declared[column]
    if kind not in _TYPES:
        must = "it must be number, category, text or image"
        what = f"{where} uses {quote(column)} as a feature, which is a {kind}; {must}"
        raise ConfigError("E-FEATURE-COLUMN", pipeline, what, "Use its calendar parts, or seconds_since_last.")
    return _TYPES[kind]
