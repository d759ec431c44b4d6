"""Loads a suite so that an unknown or broken expectation is an error, never a rule less."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import ConfigError, did_you_mean, names, quote
from pipelines.validate.known import ROW_LEVEL, SEVERITIES, UNUSABLE, USABLE

RESERVED_RULE = "PARTITION_REFUSED"
_RULE_ID = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_DATE_ONLY = re.compile(r"\d{4}-\d{2}-\d{2}")
_SUITE_KEYS = ("name", "expectations", "meta")
_RULE_KEYS = ("type", "kwargs", "severity", "meta")
_META_KEYS = ("rule_id", "note")
_OWN_KWARGS = ("result_format", "catch_exceptions", "batch_id")

# When imported it writes 200 lines about itself, in which a task's own words would be lost.
logging.getLogger("great_expectations").setLevel(logging.WARNING)


@dataclass(frozen=True)
class Rule:
    """One expectation of a suite; `expectation` is the Great Expectations object."""

    rule_id: str
    type: str
    kwargs: dict[str, Any]
    severity: str
    note: str
    expectation: Any

    @property
    def is_row_level(self) -> bool:
        return self.type in ROW_LEVEL

    @property
    def columns(self) -> list[str]:
        """The columns whose values the rule judges."""
        return _columns_of(self.kwargs)

    @property
    def mostly(self) -> float | None:
        """Share of good rows below which the partition is refused; None: bad rows are only quarantined."""
        value = self.kwargs.get("mostly")
        return None if value is None or value >= 1 else float(value)


@dataclass(frozen=True)
class Suite:
    """A checked suite; `digest` is that of the file's bytes."""

    name: str
    path: Path
    digest: str
    rules: tuple[Rule, ...]


def load_suite(path: Path, columns: Iterable[str] | None = None) -> Suite:
    """The suite in `path`, every expectation built by Great Expectations itself.

    Args:
        path: `expectations/<suite>.json`.
        columns: what the source declares; rules on other columns are errors. None: not checked.

    Raises:
        ConfigError: E-SUITE-*, with all problems of the file.
    """
    problems = suite_problems(path, columns, deep=True)
    if problems:
        first_code, _, rest = problems[0].partition(" ")
        where, _, what = rest.partition(": ")
        more = "".join(f"; {problem}" for problem in problems[1:])
        raise ConfigError(
            first_code, where, what.rstrip(".") + more, "Fix the suite; 'nightshift check' shows this too."
        )
    content = path.read_bytes()
    document = json.loads(content)
    rules = tuple(_rule(entry) for entry in document["expectations"])
    return Suite(document["name"], path, hashlib.sha256(content).hexdigest()[:32], rules)


def suite_problems(path: Path, columns: Iterable[str] | None, deep: bool = False) -> list[str]:
    """All problems of a suite file as error texts; none when it can be loaded.

    Without `deep` nothing heavy is imported. With it, each expectation that looks right is built by Great
    Expectations, which also finds wrong and missing keyword arguments.
    """
    where = f"expectations/{path.name}"
    try:
        document = json.loads(path.read_text("utf-8"), object_pairs_hook=_unique_keys)
    except FileNotFoundError:
        return [f"E-SUITE-MISSING {where}: the suite does not exist. {_other_suites(path)}".rstrip()]
    except (ValueError, OSError) as error:
        return [f"E-SUITE-JSON {where}: {error}"]
    shape = list(_shape_problems(document, where))
    if shape:
        return shape
    known = None if columns is None else list(columns)
    problems: list[str] = []
    for index, entry in enumerate(document["expectations"]):
        place = f"{where}: expectations[{index}]"
        found = list(_entry_problems(entry, place, known))
        problems += found or (_construction_problems(entry, place) if deep else [])
    return problems + list(_repeated_ids(document["expectations"], where))


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {quote(key)} is given twice in one object; JSON would keep the last silently")
        found[key] = value
    return found


def _other_suites(path: Path) -> str:
    there = sorted(other.stem for other in path.parent.glob("*.json"))
    return did_you_mean(path.stem, there) or (f"Found: {names(there)}." if there else "")


def _shape_problems(document: Any, where: str) -> Iterator[str]:
    if not isinstance(document, dict):
        yield f"E-SUITE-SHAPE {where}: a suite must be an object with 'name' and 'expectations'"
        return
    yield from _unknown_keys(document, _SUITE_KEYS, where)
    if not isinstance(document.get("name"), str):
        yield f"E-SUITE-SHAPE {where}: 'name' must be a text"
    expectations = document.get("expectations")
    if not isinstance(expectations, list):
        yield f"E-SUITE-SHAPE {where}: 'expectations' must be a list"
    elif not expectations:
        yield f"E-SUITE-EMPTY {where}: a suite without expectations accepts everything; add at least one"


def _entry_problems(entry: Any, place: str, columns: list[str] | None) -> Iterator[str]:
    if not isinstance(entry, dict) or not isinstance(entry.get("kwargs"), dict):
        yield f"E-SUITE-SHAPE {place}: an expectation must be an object with 'type' and 'kwargs'"
        return
    yield from _unknown_keys(entry, _RULE_KEYS, place)
    yield from _type_problems(entry.get("type"), place)
    if entry.get("severity", "critical") not in SEVERITIES:
        yield (
            f"E-SUITE-SEVERITY {place}: 'severity' must be one of {names(SEVERITIES)}, got {quote(entry['severity'])}. "
            + did_you_mean(str(entry["severity"]), SEVERITIES)
        ).rstrip()
    yield from _meta_problems(entry.get("meta"), place)
    yield from _kwargs_problems(entry["kwargs"], place)
    for column in _columns_of(entry["kwargs"]) if columns is not None else []:
        if column not in columns:  # type: ignore[operator]
            yield (
                f"E-SUITE-COLUMN {place}: the source declares no column {quote(column)}. "
                + did_you_mean(str(column), columns or [])
            ).rstrip()


def _unknown_keys(found: dict[str, Any], allowed: tuple[str, ...], place: str) -> Iterator[str]:
    for key in found:
        if key not in allowed:
            hint = did_you_mean(key, allowed) or f"Allowed: {names(allowed)}."
            yield f"E-SUITE-SHAPE {place}: unknown key {quote(key)}. {hint}"


def _type_problems(kind: Any, place: str) -> Iterator[str]:
    if kind in UNUSABLE:
        yield f"E-SUITE-TYPE {place}: {quote(kind)} cannot be used here: {UNUSABLE[kind]}"
    elif kind not in USABLE:
        yield f"E-SUITE-TYPE {place}: unknown expectation {quote(kind)}. {did_you_mean(str(kind), USABLE)}".rstrip()


def _meta_problems(meta: Any, place: str) -> Iterator[str]:
    if not isinstance(meta, dict) or not isinstance(meta.get("rule_id"), str):
        yield f"E-SUITE-RULE-ID {place}: 'meta' must hold a 'rule_id', the name of the rule in reasons and reports"
        return
    yield from _unknown_keys(meta, _META_KEYS, place)
    if not _RULE_ID.fullmatch(meta["rule_id"]) or meta["rule_id"] == RESERVED_RULE:
        yield (
            f"E-SUITE-RULE-ID {place}: 'rule_id' must be letters, digits, '_', '.', '-' (and not "
            f"'{RESERVED_RULE}'), got {quote(meta['rule_id'])}"
        )


def _kwargs_problems(kwargs: dict[str, Any], place: str) -> Iterator[str]:
    for name in _OWN_KWARGS:
        if name in kwargs:
            yield f"E-SUITE-KWARGS {place}: {quote(name)} is set by the pipeline; remove it"
    for name in ("min_value", "max_value"):
        if isinstance(kwargs.get(name), str) and _DATE_ONLY.fullmatch(kwargs[name]):
            # Great Expectations makes a date of it and then cannot compare it with a timestamp.
            yield f"E-SUITE-KWARGS {place}: {quote(name)} must have a time, as '{kwargs[name]}T00:00:00'"
    for pattern in [kwargs.get("regex"), *_listed(kwargs.get("regex_list"))]:
        try:
            re.compile(pattern or "")
        except (re.error, TypeError) as error:
            yield f"E-SUITE-KWARGS {place}: {quote(pattern)} is no regular expression: {error}"


def _columns_of(kwargs: dict[str, Any]) -> list[str]:
    single = [kwargs[name] for name in ("column", "column_A", "column_B") if name in kwargs]
    return single + _listed(kwargs.get("column_list")) + _listed(kwargs.get("column_set"))


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else []


def _repeated_ids(entries: list[Any], where: str) -> Iterator[str]:
    first: dict[str, int] = {}
    for index, entry in enumerate(entries):
        meta = entry.get("meta") if isinstance(entry, dict) else None
        rule_id = meta.get("rule_id") if isinstance(meta, dict) else None
        if isinstance(rule_id, str) and rule_id in first:
            yield (
                f"E-SUITE-RULE-ID {where}: expectations[{index}]: 'rule_id' {quote(rule_id)} "
                f"is already that of expectations[{first[rule_id]}]"
            )
        elif isinstance(rule_id, str):
            first[rule_id] = index


def _construction_problems(entry: dict[str, Any], place: str) -> list[str]:
    """What Great Expectations itself says, one text per wrong field."""
    from great_expectations.exceptions import GreatExpectationsError

    try:
        _construct(entry)
    except (ValueError, TypeError, GreatExpectationsError) as error:
        errors = getattr(error, "errors", None)
        details = errors() if callable(errors) else [{"loc": (), "msg": str(error)}]
        # One wrong value may fail in several alternatives of a union: the first one is the readable one.
        first = {".".join(str(part) for part in item["loc"]): item["msg"] for item in reversed(details)}
        return [
            f"E-SUITE-KWARGS {place}: {quote(entry['type'])} does not accept this: "
            + "; ".join(f"{quote(field)} {message}" if field else str(message) for field, message in first.items())
        ]
    return []


def _construct(entry: dict[str, Any]) -> Any:
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    return ExpectationConfiguration(**entry).to_domain_obj()


def _rule(entry: dict[str, Any]) -> Rule:
    return Rule(
        rule_id=entry["meta"]["rule_id"],
        type=entry["type"],
        kwargs=entry["kwargs"],
        severity=entry.get("severity", "critical"),
        note=str(entry["meta"].get("note", "")),
        expectation=_construct(entry),
    )
