"""Which columns a model sees, which are put aside and why, and what is computed from earlier rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from pipelines.init.infer import Declared
from pipelines.init.life import Life
from pipelines.init.roles import Target, source_sql
from pipelines.init.rows import Rows
from pipelines.init.suspects import Suspicion

_MOST_CATEGORIES = 100
_MOST_TEXTS, _TEXT_TERMS = 2, 300
_MOST_ENTITIES, _MOST_MEASURES = 2, 2
_LEAST_REPEATS, _LEAST_ENTITIES = 3.0, 20
_COMES_AGAIN = 0.3  # of the entities have events at different times
_ENTITY = re.compile(
    r"(customer|client|card|account|user|member|patient|device|sensor|machine|merchant|store|shop|product|"
    r"item|sku|stock|station|vehicle|driver|region)"
)
_WINDOWS = {"hour": ("1h", "24h"), "day": ("1d", "7d"), "week": ("28d", "91d"), "month": ("91d", "365d")}
_SENSITIVE = re.compile(r"^(sex|gender|race|ethnicity|religion|nationality|disability|marital_status)$")


@dataclass(frozen=True)
class Group:
    """One feature group: the file's name, its settings, and a comment per feature."""

    name: str
    settings: dict[str, Any]
    why: tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """`used` columns in their order, `aside` with the reason, `texts` among the used ones, and `groups`."""

    used: tuple[str, ...]
    aside: dict[str, str]
    texts: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    groups: tuple[Group, ...] = ()
    lookback: str | None = None
    notes: dict[str, str] = field(default_factory=dict)


def choose(
    columns: Sequence[Declared],
    key: Sequence[str],
    time: Declared | None,
    target: Target | None,
    suspicions: Mapping[str, Suspicion],
    ignored: Sequence[str],
) -> Choice:
    """What the model sees of the columns themselves."""
    aside: dict[str, str] = {}
    texts: list[str] = []
    for one in columns:
        reason = _reason(one, key, time, target, suspicions, ignored)
        if reason is None and one.type == "text":
            reason = None if len(texts) < _MOST_TEXTS else f"one of more than {_MOST_TEXTS} texts"
            texts += [one.name] if reason is None else []
        if reason:
            aside[one.name] = reason
    used = tuple(one.name for one in columns if one.name not in aside)
    slices = tuple(one.name for one in columns if one.type == "category" and _SENSITIVE.match(one.name))
    notes = {name: found.why for name, found in suspicions.items() if not found.is_sure}
    return Choice(used, aside, tuple(texts), slices if target else (), notes=notes)


def _reason(
    one: Declared,
    key: Sequence[str],
    time: Declared | None,
    target: Target | None,
    suspicions: Mapping[str, Suspicion],
    ignored: Sequence[str],
) -> str | None:
    """Why the column is no feature; None: it is one."""
    if target and one.name == target.column.name:
        return "the label"
    if one.name in ignored:
        return "you said so (--ignore)"
    if time and one.name == time.name:
        return "the time; its parts are features of the group"
    if one.name in suspicions and suspicions[one.name].is_sure:
        return suspicions[one.name].why
    if one.facts.is_constant:
        return "constant: it tells nothing apart" if one.facts.filled else "no row has a value"
    if list(key) == [one.name] or (one.type == "id" and one.name in key):
        return "names the row"
    if one.type in ("timestamp", "date"):
        return f"a {one.type}; a model sees numbers and words"
    if one.type == "id":
        return f"names something ({one.facts.distinct:,} values); a model would learn names by heart"
    if one.type == "category" and one.facts.distinct > _MOST_CATEGORIES:
        return f"{one.facts.distinct:,} values: too many to learn each; see 'encode' in docs/configuration.md"
    return None


def feature_groups(
    name: str, owner: str, columns: Sequence[Declared], choice: Choice, time: Declared, life: Life, rows: Rows
) -> tuple[Group, ...]:
    """Parts of the time, and windows over the earlier rows of what comes again."""
    entities = _entities(columns, choice, time, rows)
    measures = [one.name for one in columns if one.name in choice.used and one.type in ("number", "integer")]
    measures = [one for one in measures if _facts(columns, one).facts.distinct > _LEAST_ENTITIES][:_MOST_MEASURES]
    calendar, why = _calendar(time, life)
    first = {"name": name, "owner": owner, "features": calendar}
    made: list[Group] = []
    for place, entity in enumerate(entities):
        windows, reasons = _windows(entity, measures, life)
        if place == 0:
            own = {"entity": [entity.name], "prefix": entity.name, "features": [*calendar, *windows]}
            made.append(Group(name, first | own, (*why, *reasons)))
            continue
        own = {"entity": [entity.name], "prefix": entity.name, "features": windows}
        label = f"{name}_by_{entity.name}"[:63]
        made.append(Group(label, {"name": label, "owner": owner} | own, tuple(reasons)))
    return tuple(made or ([Group(name, first, tuple(why))] if calendar else []))


def lookback_of(groups: Sequence[Group], life: Life) -> str | None:
    """The longest window; None: nothing looks back."""
    return _WINDOWS[life.grain][1] if any("entity" in group.settings for group in groups) else None


def _facts(columns: Sequence[Declared], name: str) -> Declared:
    return next(one for one in columns if one.name == name)


def _entities(columns: Sequence[Declared], choice: Choice, time: Declared, rows: Rows) -> list[Declared]:
    found = []
    for one in columns:
        repeats = one.facts.meant / max(1, one.facts.distinct)
        may = one.type == "id" or (one.type == "category" and _ENTITY.search(one.name))
        if not may or repeats < _LEAST_REPEATS or one.facts.distinct < _LEAST_ENTITIES:
            continue
        if choice.aside.get(one.name, "").startswith(("the label", "tells", "you said", "constant")):
            continue
        if one.facts.meant >= 0.5 * one.facts.rows and _comes_again(one, time, rows):
            found.append(one)
    ranked = sorted(found, key=lambda one: (not _ENTITY.search(one.name), -one.facts.distinct))
    return ranked[:_MOST_ENTITIES]


def _comes_again(one: Declared, time: Declared, rows: Rows) -> bool:
    """Events of one entity lie at different days: an invoice's lines do not, a customer's invoices do."""
    value, moment = source_sql(one, rows), source_sql(time, rows)
    query = (
        f"SELECT avg(CAST(last - first >= INTERVAL 1 HOUR AS INTEGER)) FROM (SELECT min({moment}) AS first, "
        f"max({moment}) AS last FROM cells WHERE {value} IS NOT NULL GROUP BY {value})"
    )
    return float(rows.one(query)[0] or 0.0) >= _COMES_AGAIN


def _calendar(time: Declared, life: Life) -> tuple[list[dict[str, Any]], list[str]]:
    days = (life.end - life.start + timedelta(days=1)).days
    parts = ["hour"] * (time.type == "timestamp" and life.grain in ("hour", "day"))
    parts += ["day_of_week", "is_weekend"] * (days >= 14 and life.grain != "month")
    parts += ["month"] * (days >= 365)
    if not parts:
        return [], []
    why = (
        f"{days:,} days from {life.start} to {life.end}; 'month' needs a whole year" if days < 365 else f"{days:,} days"
    )
    return [{"kind": "calendar", "column": time.name, "parts": parts}], [why]


def _windows(entity: Declared, measures: Sequence[str], life: Life) -> tuple[list[dict[str, Any]], list[str]]:
    """Only rows strictly before a row count, so no window sees the label of its own row."""
    windows = list(_WINDOWS[life.grain])
    repeats = entity.facts.meant / entity.facts.distinct
    features: list[dict[str, Any]] = [
        {"kind": "window", "statistics": ["count"], "windows": windows},
        {"kind": "window", "statistics": ["seconds_since_last"]},
    ]
    why = [f"{entity.facts.distinct:,} different, {repeats:,.0f} rows each: how often it came before", "how long ago"]
    for measure in measures:
        features.append({"kind": "window", "column": measure, "statistics": ["mean"], "windows": windows[1:]})
        why.append(f"what {measure} usually is for it")
        usual = f"{entity.name}_{measure}_mean_{windows[1]}"
        ratio = {"kind": "ratio", "name": f"{measure}_to_{entity.name}_mean"[:63], "numerator": measure}
        features.append(ratio | {"denominator": usual})
        why.append(f"this row's {measure} in units of that")
    return features, why
