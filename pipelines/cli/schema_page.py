"""The JSON schemas of configuration files, and the page that describes them in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from pipelines.settings.features import FeatureGroup
from pipelines.settings.meanings import MEANINGS
from pipelines.settings.pipeline import Pipeline

Schema = dict[str, Any]
_DRAFT = "https://json-schema.org/draft/2020-12/schema"

_HEAD = """# Configuration

One file per pipeline, `config/pipelines/<name>.yaml`; shared feature groups, `config/features/<group>.yaml`.
`nightshift check` reports every problem of every file with its line; `nightshift schema` prints the JSON schema for
editors. This page is made by `nightshift schema --markdown`.

- A key that is not listed here is an error, and so is a key that stands twice.
- Write `true` or `false`. Plain `yes`, `no`, `on`, `off`, `012` and `1:30` mean different things to different YAML
  readers: they must be quoted or rewritten.
- Anchors, merge keys and tags are refused: a file can be read from top to bottom.
- Dates are written `2026-03-02` and must exist.
- Secrets never stand here: write `${VARIABLE}` in a path or URL and set it in the environment.
"""


def pipeline_schema() -> Schema:
    """JSON schema of a pipeline file; what the loader fills in itself is left out."""
    schema = _explained(Pipeline)
    schema["properties"].pop("feature_groups", None)
    return {"$schema": _DRAFT, **schema, "title": "Nightshift pipeline"}


def group_schema() -> Schema:
    """JSON schema of a shared feature group."""
    return {"$schema": _DRAFT, **_explained(FeatureGroup), "title": "Nightshift feature group"}


def _explained(model: type[BaseModel]) -> Schema:
    """The schema with a description at every key."""
    schema = model.model_json_schema(by_alias=True)
    for block in [{"title": model.__name__, **schema}, *schema.get("$defs", {}).values()]:
        for key, field in block.get("properties", {}).items():
            meaning = MEANINGS.get(f"{block['title']}.{key}")
            if meaning and not field.get("description"):
                field["description"] = meaning
    return schema


def page() -> str:
    """`docs/configuration.md`: a table of keys per block, in the order in which a pipeline file uses them."""
    schema = pipeline_schema()
    blocks = schema.pop("$defs")
    parts = [_HEAD, "\n## A pipeline\n", _text(schema), _keys(schema, blocks)]
    for name in _used(schema, blocks):
        parts += [f"\n## {name}\n", _text(blocks[name]), _keys(blocks[name], blocks)]
    return "\n".join(part for part in parts if part).rstrip() + "\n"


def _used(schema: Schema, blocks: dict[str, Schema]) -> list[str]:
    """Names of blocks in the order in which they are first mentioned."""
    found: list[str] = []
    waiting = [schema]
    while waiting:
        for name in _mentioned(waiting.pop(0)):
            if name not in found:
                found.append(name)
                waiting.append(blocks[name])
    return found


def _mentioned(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"].rsplit("/", 1)[-1]
        for key, value in node.items():
            if key not in ("$ref", "default", "discriminator"):
                yield from _mentioned(value)
    elif isinstance(node, list):
        for item in node:
            yield from _mentioned(item)


def _text(schema: Schema) -> str:
    return " ".join(str(schema.get("description", "")).split()) + "\n" if schema.get("description") else ""


def _keys(schema: Schema, blocks: dict[str, Schema]) -> str:
    needed = schema.get("required", [])
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for key, field in schema.get("properties", {}).items():
        default = "**needed**" if key in needed else _default(field)
        lines.append(f"| `{key}` | {_kind(field, blocks)} | {default} | {_cell(field.get('description', ''))} |")
    return "\n".join(lines) + "\n"


def _default(field: Schema) -> str:
    value = field.get("default")
    if value is None or value == "":
        return "-"
    if isinstance(value, dict):
        return "-" if not value else "see the block"
    return f"`{_cell(json.dumps(value, ensure_ascii=False))}`"


def _kind(field: Schema, blocks: dict[str, Schema]) -> str:
    """What may stand there, in words; blocks are links."""
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    for several in ("anyOf", "oneOf"):
        if several in field:
            kinds = [_kind(option, blocks) for option in field[several] if option.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    if "enum" in field:
        return ", ".join(f"`{word}`" for word in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    kind = field.get("type")
    if kind == "array":
        return f"list of {_kind(field['items'], blocks)}" if "items" in field else _fixed_list(field, blocks)
    if kind == "object":
        inner = field.get("additionalProperties") or next(iter(field.get("patternProperties", {}).values()), None)
        return f"block of names, each {_kind(inner, blocks)}" if isinstance(inner, dict) else "block"
    return _plain_kind(field)


def _fixed_list(field: Schema, blocks: dict[str, Schema]) -> str:
    return "list [" + ", ".join(_kind(item, blocks) for item in field.get("prefixItems", [])) + "]"


def _plain_kind(field: Schema) -> str:
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}
    kind = "date" if field.get("format") == "date" else words.get(str(field.get("type")), "anything")
    if str(field.get("pattern", "")).startswith("^[a-z]"):
        kind = "name"
    low = field.get("minimum"), field.get("exclusiveMinimum")
    bounds = [
        f"from {low[0]:g}" if low[0] is not None else "",
        f"above {low[1]:g}" if low[1] is not None else "",
        f"to {field['maximum']:g}" if field.get("maximum") is not None else "",
    ]
    told = " ".join(bound for bound in bounds if bound)
    return f"{kind} {told}" if told else kind


def _cell(text: object) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")
