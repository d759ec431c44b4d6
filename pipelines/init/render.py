"""The draft as files that a person reads and keeps: YAML with the evidence of each choice beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.init.choice import Group
from pipelines.init.draft import Draft
from pipelines.init.infer import Declared
from pipelines.init.life import Windows
from pipelines.init.roles import Target

_PLAIN = re.compile(r"[a-z][a-z0-9_]*")
_MISREAD = {"yes", "no", "on", "off", "true", "false", "null", "y", "n"}
_WIDTH = 116
_FEW_ROWS = 2_000  # to learn from at first: trees as deep as usual would learn single rows of classes by heart
_USUAL = ("rounds: 200", "parameters: {max_depth: 5, learning_rate: 0.08}")
_CAREFUL = ("rounds: 60", "parameters: {max_depth: 3, learning_rate: 0.05, min_child_weight: 20, subsample: 0.7}")


def pipeline_yaml(draft: Draft) -> str:
    """`config/pipelines/<name>.yaml`."""
    blocks = [_head(draft), _source(draft), _identity(draft), _checks(draft), _features(draft), _learning(draft)]
    return "\n\n".join("\n".join(block) for block in map(list, blocks) if block) + "\n"


def group_yaml(group: Group, told: str) -> str:
    """`config/features/<name>.yaml`."""
    lines = [f"# Proposed by 'nightshift init' from {told}. A row never sees itself, nor rows at the same moment."]
    lines += [f"{key}: {flow(value)}" for key, value in group.settings.items() if key != "features"]
    lines.append("features:")
    for feature, why in zip(group.settings["features"], group.why, strict=False):
        first, *others = feature.items()
        lines.append(_noted(f"  - {first[0]}: {flow(first[1])}", why))
        lines += [f"    {key}: {flow(value)}" for key, value in others]
    return "\n".join(lines) + "\n"


def _head(draft: Draft) -> Iterator[str]:
    yield f"# Proposed by 'nightshift init' from {draft.told} ({draft.row_count:,} rows)."
    yield "# The evidence for each choice stands beside it. Correct what you know better; the file is yours."
    for remark in draft.remarks:
        yield from _comment(f"LOOK: {remark}")
    yield f"name: {flow(draft.name)}"
    yield f"owner: {flow(draft.owner)}"
    if draft.target:
        yield f"description: {flow(f'Predicts {draft.target.column.name} ({draft.target.task}).')}"
    life = draft.life
    if life.grain != "day":
        yield _noted(f"partition: {life.grain}", life.why)
    yield _noted(f"start: {life.start}", "the first partition" if draft.slicing == "dealt" else life.why)
    last = (
        "the last partition that gets rows"
        if draft.slicing == "dealt"
        else "the sample's last partition; leave it out when the feed goes on"
    )
    if not draft.goes_on:
        yield _noted(f"end: {life.end}", last)
    yield 'schedule: "0 2 * * *"'


def _source(draft: Draft) -> Iterator[str]:
    yield "source:"
    yield f"  format: {draft.format}"
    yield from _comment(draft.path_why, "  ")
    yield f"  path: {flow(draft.path)}"
    yield from _slicing(draft)
    yield from _dialect(draft)
    yield "  columns:"
    lines = [(f"    {one.name}: {flow(_settings(one, draft))}", one.why + _unfit(one)) for one in draft.columns]
    width = min(72, max((len(line) for line, _ in lines), default=0))
    for line, why in lines:
        yield _noted(line.ljust(width), why)


def _slicing(draft: Draft) -> Iterator[str]:
    if draft.slicing == "names" and draft.life.absent:
        absent = draft.life.absent
        yield _noted("  missing: skip", f"{len(absent):,} {draft.life.grain}s have no file, the first is {absent[0]}")
    if draft.slicing == "time" and draft.time:
        yield _noted(f"  time_column: {draft.time.name}", "each row belongs to the partition of its time")
        if draft.life.absent:
            absent = draft.life.absent
            yield _noted(
                "  missing: skip", f"{len(absent):,} {draft.life.grain}s have no row, the first is {absent[0]}"
            )
    if draft.slicing == "dealt":
        yield from _comment(
            "No column says when a row happened, so rows are dealt out over 'start' to 'end' by a digest of their key, "
            "as you agreed: a model is judged on rows that it never saw. These are no real days: nothing says how "
            "a model ages. When a file comes each night, put {partition} into 'path' and leave out 'dealt', 'end'.",
            "  ",
        )
        yield "  dealt: true"


def _dialect(draft: Draft) -> Iterator[str]:
    dialect = draft.dialect
    if dialect is None or draft.format != "csv":
        return
    if dialect.delimiter != ",":
        yield f"  delimiter: {json.dumps(dialect.delimiter)}"
    if dialect.quote is None:
        yield _noted("  quote: null", "quotes stand in the text and enclose nothing")
    if dialect.encoding != "utf-8":
        yield _noted(f"  encoding: {dialect.encoding}", "some bytes are no UTF-8")
    if not dialect.header:
        yield _noted("  header: false", "the first line is a row; columns are named by their place")


def _settings(one: Declared, draft: Draft) -> dict[str, Any]:
    given = one.settings
    if one.name in draft.required:
        given["required"] = True
    if one.name in draft.optional:
        given["optional"] = True
    if draft.dialect and not draft.dialect.header:
        given.pop("source_name", None)
    return given


def _unfit(one: Declared) -> str:
    return f"; {one.unfit:,} values are none: their rows go to quarantine" if one.unfit else ""


def _identity(draft: Draft) -> Iterator[str]:
    key = draft.key
    if key.columns:
        yield _noted(f"key: {flow(list(key.columns))}", key.why)
    else:
        yield from _comment(f"key: none: {key.why}. Exact copies of a row are still dropped as duplicates.")
    if key.copies > 0:
        yield from _comment(
            f"{key.copies:,} rows are exact copies of another one. Each is dropped and counted as a duplicate of the "
            "row that stays. If they only look alike, the feed needs a column that tells them apart."
        )
    if draft.time:
        yield _noted(f"event_time: {draft.time.name}", draft.time_why)


def _checks(draft: Draft) -> Iterator[str]:
    if draft.volume:
        low, high, why = draft.volume
        yield "validate:"
        yield _noted(f"  volume: {{min_ratio: {low:g}, max_ratio: {high:g}}}", f"rows of a partition: {why}")


def _features(draft: Draft) -> Iterator[str]:
    choice = draft.choice
    if draft.target is None:
        return
    yield "features:"
    if choice.lookback:
        yield _noted(f"  lookback: {choice.lookback}", "the longest window of the groups")
    if choice.groups:
        yield f"  groups: {flow([group.name for group in choice.groups])}"
    yield from _listed("  columns: ", choice.used)
    for name, why in choice.notes.items():
        if name in choice.used:
            yield from _comment(
                f"LOOK at {name}: {why}. Is it known when the row must be scored? Else leave it out.", "  "
            )
    yield "  # No features:"
    for name, why in choice.aside.items():
        yield from _comment(f"  {name}: {why}", "  ")


def _learning(draft: Draft) -> Iterator[str]:
    target, windows = draft.target, draft.windows
    if target is None or windows is None:
        yield from _comment(
            "No label, so nothing is trained: rows are read, validated and deduplicated every night. To add a model "
            "later, write 'label', 'features' and 'training'; docs/configuration.md says how."
        )
        return
    yield "label:"
    yield f"  column: {target.column.name}"
    if target.positive is not None:
        yield _noted(f"  positive: {flow(target.positive)}", target.why)
    delay = f"{draft.label_delay_days:g}"
    yield _noted(
        f"  delay_days: {delay}", "days until the label of a row is known for certain; 0: it comes with the row"
    )
    yield ""
    yield "training:"
    yield _noted(f"  task: {target.task}", "" if target.positive is not None else target.why)
    yield from _model(target, windows, draft.life.usual_labels)
    yield _noted(f"  window_partitions: {windows.window}", "the latest ones that are learnt from, with the holdout")
    yield _noted(f"  holdout_partitions: {windows.holdout}", windows.why)
    if draft.choice.texts:
        yield "  encode:"
        for name in draft.choice.texts:
            yield f"    {name}: {{encoder: tfidf, max_features: 300}}"
    yield ""
    yield from _gate(draft)
    yield "retrain:"
    yield _noted(
        f"  first_after_partitions: {windows.first_after}",
        "then the monitor asks for a first model; later when drift asks",
    )


def _model(target: Target, windows: Windows, each: float) -> Iterator[str]:
    """Trees; with few rows of classes shallow ones with large leaves."""
    rows = (windows.first_after - windows.holdout) * each
    is_careful = rows < _FEW_ROWS and target.task != "regression"
    rounds, parameters = _CAREFUL if is_careful else _USUAL
    yield "  model:"
    yield _noted("    family: xgboost", "takes missing values and categories as they are; others: docs/models.md")
    yield f"    {rounds}"
    yield _noted(f"    {parameters}", f"the first model learns from about {rows:,.0f} rows")


def _gate(draft: Draft) -> Iterator[str]:
    lines = []
    if draft.windows and draft.windows.policy != "default":
        lines.append(_noted(f"  policy: {draft.windows.policy}", "fewer holdout rows than the default policy asks for"))
    if draft.choice.slices:
        lines.append(
            _noted(f"  slices: {flow(list(draft.choice.slices))}", "a new model may not get worse for any of these")
        )
    if lines:
        yield from ["gate:", *lines, ""]


def _listed(start: str, names: Sequence[str]) -> Iterator[str]:
    """A flow list over as many lines as it needs."""
    line = f"{start}["
    for place, name in enumerate(names):
        word = name + ("," if place + 1 < len(names) else "]")
        if len(line) + len(word) + 1 > _WIDTH:
            yield line
            line = "    " + word
        else:
            line += word if line.endswith("[") else f" {word}"
    yield line if names else f"{start}[]"


def _comment(text: str, indent: str = "") -> Iterator[str]:
    words, line = text.split(), f"{indent}#"
    leading = re.match(r" *", text)
    line += leading.group() if leading else ""
    for word in words:
        if len(line) + len(word) + 1 > _WIDTH and line.strip() != "#":
            yield line
            line = f"{indent}#"
        line += f" {word}"
    yield line


def _noted(line: str, why: str) -> str:
    """The line with its reason behind it, cut to a readable length."""
    text = " ".join("".join(mark if mark.isprintable() else " " for mark in why).split())
    room = max(40, 150 - len(line))
    return (f"{line}  # {text if len(text) <= room else text[: room - 3] + '...'}" if text else line).rstrip()


def flow(value: Any) -> str:
    """A value as YAML on one line; what YAML could misread stands in quotes."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(one) for one in value) + "]"
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    return value if _PLAIN.fullmatch(value) and value not in _MISREAD else json.dumps(value, ensure_ascii=False)
