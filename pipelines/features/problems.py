"""Everything that is wrong with a pipeline's features, found before anything runs."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pipelines.errors import ConfigError, did_you_mean, names, quote
from pipelines.features.names import (
    FeatureType,
    column_type,
    duplicate,
    feature_columns,
    forward_fills,
    groups_of,
)
from pipelines.settings.features import (
    CalendarFeature,
    Feature,
    FeatureGroup,
    FunctionFeature,
    JoinFeature,
    LagFeature,
    RatioFeature,
    WindowFeature,
    window_seconds,
)
from pipelines.settings.pipeline import Pipeline

_ARITHMETIC = {"sum", "mean", "std", "min", "max"}


def feature_problems(pipeline: Pipeline, config_dir: Path) -> list[str]:
    """Every problem of the pipeline's features, each one line `E-FEATURE-...`; empty when they can be built."""
    return [str(problem) for problem in [*_problems(pipeline), *_function_problems(pipeline, config_dir)]]


def _problems(pipeline: Pipeline) -> Iterator[ConfigError]:
    try:
        groups = groups_of(pipeline)
    except ConfigError as error:
        yield error
        return
    made: dict[str, tuple[str, FeatureType]] = {}
    for column in pipeline.features.columns:
        yield from _add(pipeline, made, "'features.columns'", partial(_passthrough, pipeline, column))
    for group in groups:
        yield from _entity_problems(pipeline, group)
        for feature in group.features:
            yield from _feature_problems(pipeline, group, feature, made)
            yield from _add(pipeline, made, f"group '{group.name}'", partial(feature_columns, pipeline, group, feature))
    yield from _label_problems(pipeline, made)
    yield from _part_problems(pipeline, made)
    yield from _image_problems(pipeline)
    yield from _fill_problems(pipeline)


def _passthrough(pipeline: Pipeline, column: str) -> dict[str, FeatureType]:
    return {column: column_type(pipeline, column, "'features.columns'")}


def _add(
    pipeline: Pipeline,
    made: dict[str, tuple[str, FeatureType]],
    maker: str,
    columns: Callable[[], dict[str, FeatureType]],
) -> Iterator[ConfigError]:
    """Adds the columns of one feature to `made`; yields what is wrong with them."""
    try:
        new = columns()
    except ConfigError as error:
        yield error
        return
    for name, kind in new.items():
        if name in made:
            yield duplicate(pipeline, name, made[name][0], maker)
        elif name in ("row_id", "partition"):
            yield _error(pipeline, "DUPLICATE", f"{maker} makes {quote(name)}, which every table already has")
        made.setdefault(name, (maker, kind))


def _feature_problems(
    pipeline: Pipeline, group: FeatureGroup, feature: Feature, made: dict[str, tuple[str, FeatureType]]
) -> Iterator[ConfigError]:
    where = f"group '{group.name}'"
    if isinstance(feature, WindowFeature):
        yield from _window_problems(pipeline, where, feature)
    elif isinstance(feature, LagFeature):
        yield from _lag_problems(pipeline, where, feature)
    elif isinstance(feature, CalendarFeature):
        yield from _calendar_problems(pipeline, where, feature)
    elif isinstance(feature, RatioFeature):
        yield from _ratio_problems(pipeline, where, feature, made)
    elif isinstance(feature, JoinFeature):
        yield from _join_problems(pipeline, where, feature)
    else:
        yield from _kind_problems(pipeline, where, feature)


def _kind_problems(pipeline: Pipeline, where: str, feature: FunctionFeature) -> Iterator[ConfigError]:
    for key, listed in (("categories", feature.categories), ("texts", feature.texts)):
        if stray := set(listed) - set(feature.columns):
            yield _error(pipeline, "FUNCTION", f"{where}: '{key}' must be among 'columns', got {names(sorted(stray))}")
    if both := set(feature.categories) & set(feature.texts):
        yield _error(pipeline, "FUNCTION", f"{where}: a column is a category or a text, got {names(sorted(both))}")


def _window_problems(pipeline: Pipeline, where: str, feature: WindowFeature) -> Iterator[ConfigError]:
    if pipeline.event_time is None:
        yield _error(pipeline, "TIME", f"{where} has windows, which need 'event_time'")
    lookback = pipeline.features.lookback
    for window in feature.windows:
        if window_seconds(window) > window_seconds(lookback):
            what = f"{where}: the window '{window}' must not be longer than 'features.lookback', got '{lookback}'"
            yield _error(pipeline, "WINDOW", what, f"Set 'lookback' to '{window}' or shorten the window.")
    if feature.column is None:
        return
    if _unknown(pipeline, feature.column):
        yield _unknown_column(pipeline, where, feature.column)
        return
    kind = pipeline.source.columns[feature.column].type
    if kind == "image":
        yield _error(pipeline, "COLUMN", f"{where}: a window over '{feature.column}' says nothing, it holds images")
        return
    if kind not in ("number", "integer", "boolean") and (wrong := sorted(_ARITHMETIC & set(feature.statistics))):
        yield _error(pipeline, "COLUMN", f"{where}: {names(wrong)} of '{feature.column}' need a number, got a {kind}")
    yield from _late_label(pipeline, where, feature.column)


def _lag_problems(pipeline: Pipeline, where: str, feature: LagFeature) -> Iterator[ConfigError]:
    if pipeline.event_time is None:
        yield _error(pipeline, "TIME", f"{where} has lags, which need 'event_time'")
    for column in feature.columns:
        if _unknown(pipeline, column):
            yield _unknown_column(pipeline, where, column)
        elif (kind := pipeline.source.columns[column].type) not in ("number", "integer", "boolean"):
            yield _error(pipeline, "COLUMN", f"{where}: lags of '{column}' need a number, got a {kind}")
        yield from _late_label(pipeline, where, column)


def _late_label(pipeline: Pipeline, where: str, column: str) -> Iterator[ConfigError]:
    label = pipeline.label
    # Without delay a label is known at its own event's time: windows over it are lags of the target, and fair.
    if label and not label.source and column == label.column and label.delay_days > 0:
        what = f"{where} looks at the label '{column}', which is known only {label.delay_days} days later"
        yield _error(pipeline, "LABEL", what, "Leave it out.")


def _calendar_problems(pipeline: Pipeline, where: str, feature: CalendarFeature) -> Iterator[ConfigError]:
    if _unknown(pipeline, feature.column):
        yield _unknown_column(pipeline, where, feature.column)
    elif (kind := pipeline.source.columns[feature.column].type) not in ("timestamp", "date"):
        yield _error(
            pipeline, "COLUMN", f"{where}: calendar parts of '{feature.column}' need a timestamp, got a {kind}"
        )


def _ratio_problems(
    pipeline: Pipeline, where: str, feature: RatioFeature, made: dict[str, tuple[str, FeatureType]]
) -> Iterator[ConfigError]:
    for column in (feature.numerator, feature.denominator):
        if column in made:
            if made[column][1] != "number":
                yield _error(
                    pipeline, "COLUMN", f"{where}: '{feature.name}' needs numbers, '{column}' is a {made[column][1]}"
                )
        elif _unknown(pipeline, column):
            yield _unknown_column(pipeline, where, column, [*pipeline.source.columns, *made])
        elif pipeline.source.columns[column].type not in ("number", "integer", "boolean"):
            yield _error(pipeline, "COLUMN", f"{where}: '{feature.name}' needs numbers, '{column}' is none")
        elif pipeline.label and not pipeline.label.source and column == pipeline.label.column:
            yield _error(pipeline, "LABEL", f"{where}: '{feature.name}' uses the label '{column}'", "Leave it out.")


def _join_problems(pipeline: Pipeline, where: str, feature: JoinFeature) -> Iterator[ConfigError]:
    dimension = pipeline.dimensions.get(feature.dimension)
    if dimension is None:
        return  # reported with its columns
    if dimension.valid_from and pipeline.event_time is None:
        yield _error(pipeline, "TIME", f"{where} joins '{feature.dimension}' as of a moment, which needs 'event_time'")
    for column in dimension.key:
        if _unknown(pipeline, column):
            yield _unknown_column(pipeline, f"the key of dimension '{feature.dimension}'", column)
    mine = (*dimension.key, *((dimension.valid_from,) if dimension.valid_from else ()))
    for column in mine:
        if column not in dimension.source.columns:
            yield _unknown_column(pipeline, f"dimension '{feature.dimension}'", column, [*dimension.source.columns])


def _entity_problems(pipeline: Pipeline, group: FeatureGroup) -> Iterator[ConfigError]:
    for column in group.entity:
        if _unknown(pipeline, column):
            yield _unknown_column(pipeline, f"the entity of group '{group.name}'", column)
        elif pipeline.label and not pipeline.label.source and column == pipeline.label.column:
            yield _error(pipeline, "LABEL", f"the entity of group '{group.name}' holds the label '{column}'")


def _label_problems(pipeline: Pipeline, made: dict[str, tuple[str, FeatureType]]) -> Iterator[ConfigError]:
    if pipeline.label and pipeline.label.column in made:
        maker = made[pipeline.label.column][0]
        what = f"the label '{pipeline.label.column}' must not be a feature, got it from {maker}"
        yield _error(pipeline, "LABEL", what, "Leave it out: the model would learn to copy it.")


def _part_problems(pipeline: Pipeline, made: dict[str, tuple[str, FeatureType]]) -> Iterator[ConfigError]:
    """What groups, weighs and slices rows is a column of the source or a feature."""
    training, known = pipeline.training, [*pipeline.source.columns, *made]
    uses = {
        "'training.group'": training.group if training else (),
        "'training.weight'": (training.weight,) if training and training.weight else (),
        "'gate.slices'": pipeline.gate.slices,
    }
    for where, columns in uses.items():
        for column in columns:
            if column not in known:
                yield _unknown_column(pipeline, where, column, known)


def _image_problems(pipeline: Pipeline) -> Iterator[ConfigError]:
    """An image is looked at by a model; it identifies, groups and labels nothing."""
    training, label = pipeline.training, pipeline.label
    uses: dict[str, tuple[str, ...]] = {
        "key": tuple(pipeline.key),
        "label.column": (label.column,) if label and not label.source else (),
        "training.group": training.group if training else (),
        "gate.slices": pipeline.gate.slices,
        **{f"the entity of group '{group.name}'": tuple(group.entity) for group in groups_of(pipeline)},
    }
    for where, columns in uses.items():
        for column in columns:
            if column in pipeline.source.columns and pipeline.source.columns[column].type == "image":
                yield _error(pipeline, "COLUMN", f"{where}: '{column}' holds images, which can only be features")


def _fill_problems(pipeline: Pipeline) -> Iterator[ConfigError]:
    fills = forward_fills(pipeline)
    if fills and pipeline.event_time is None:
        yield _error(pipeline, "TIME", "'forward_fill' needs 'event_time'")
    for column, entity in fills.items():
        for part in entity:
            if _unknown(pipeline, part):
                yield _unknown_column(pipeline, f"the entity of the forward fill of '{column}'", part)
    missing = pipeline.training.missing if pipeline.training else {}
    asked = {column for column, rule in missing.items() if rule.strategy == "forward_fill"} - {"default"}
    for column in sorted(asked - set(fills)):
        what = f"'forward_fill' is for columns of 'features.columns', got {quote(column)}"
        yield _error(pipeline, "FILL", what, "Choose another strategy for it.")


def _function_problems(pipeline: Pipeline, config_dir: Path) -> Iterator[ConfigError]:
    try:
        groups = groups_of(pipeline)
    except ConfigError:
        return
    for group in groups:
        for feature in group.features:
            if isinstance(feature, FunctionFeature):
                yield from _one_function(pipeline, group, feature, config_dir)


def _one_function(
    pipeline: Pipeline, group: FeatureGroup, feature: FunctionFeature, config_dir: Path
) -> Iterator[ConfigError]:
    """Reads the module's text; nothing of it is executed."""
    path = config_dir / "features" / f"{feature.module}.py"
    if not path.is_file():
        known = [file.stem for file in path.parent.glob("*.py")]
        what = f"group '{group.name}' needs the module 'features/{feature.module}.py', which does not exist"
        yield _error(pipeline, "FUNCTION", what, did_you_mean(feature.module, known))
        return
    try:
        body = ast.parse(path.read_text(encoding="utf-8")).body
    except (SyntaxError, UnicodeDecodeError) as error:
        yield _error(pipeline, "FUNCTION", f"'features/{feature.module}.py' is not valid Python: {error}")
        return
    functions = [item.name for item in body if isinstance(item, ast.FunctionDef)]
    if feature.function not in functions:
        what = f"'features/{feature.module}.py' has no function {quote(feature.function)}"
        yield _error(pipeline, "FUNCTION", what, did_you_mean(feature.function, functions))


def _unknown(pipeline: Pipeline, column: str) -> bool:
    return column not in pipeline.source.columns


def _unknown_column(pipeline: Pipeline, where: str, column: str, known: list[str] | None = None) -> ConfigError:
    hint = did_you_mean(column, known or pipeline.source.columns)
    return _error(pipeline, "COLUMN", f"{where} names the unknown column {quote(column)}", hint)


def _error(pipeline: Pipeline, code: str, what: str, fix: str = "") -> ConfigError:
    return ConfigError(f"E-FEATURE-{code}", pipeline.name, what, fix)
