"""Rules that a history of profiles supports, each with its evidence and a way to ask whether a later day keeps it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.errors import quote
from pipelines.validate.anomaly import Past
from pipelines.validate.profile import ColumnProfile, Profile

_NO_RULES = ("time", "size")  # the ranges of times move with the partitions, those of images are of bytes
_MOST_VALUES = 20  # of a set
_MOST_FORMS = 5  # of a text column
_MOST_KEPT = 30  # values and patterns of a profile: as many may be some of more
_CUT_FORM = 40
_LEAST_FILLED = 0.5  # a column emptier than this on some day gets no rule about missing values
_HEADROOM = 0.5  # of the observed range, on either side
_MISSING_HEADROOM = 1.5
_RULE_ID_CHARACTERS = 64


@dataclass(frozen=True)
class Proposal:
    """One rule for a suite; `holds` says whether it would be quiet on a partition."""

    type: str
    kwargs: dict[str, Any]
    word: str
    evidence: str
    holds: Callable[[Profile], bool]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(str(self.kwargs[name]) for name in ("column", "column_A", "column_B") if name in self.kwargs)

    @property
    def rule_id(self) -> str:
        return "_".join([*self.columns, self.word])[:_RULE_ID_CHARACTERS]


@dataclass(frozen=True)
class _Extremes:
    """The smallest and largest value of one statistic over a history, and where they were."""

    low: float
    low_at: str
    high: float
    high_at: str

    @property
    def text(self) -> str:
        return f"{self.low:.6g} ({self.low_at}) to {self.high:.6g} ({self.high_at})"


def proposals(
    history: Sequence[Past], required: Sequence[str] = (), measured: Sequence[str] = ()
) -> Iterator[Proposal]:
    """Rules that hold on every partition of `history`, with headroom.

    `required` columns may not be null anyway; `measured` ones are quantities, of which few values mean nothing.
    """
    yield _row_count(history)
    for name in history[-1].profile.columns:
        seen = [(past.key, past.profile.columns[name]) for past in history if name in past.profile.columns]
        filled = [(key, column) for key, column in seen if column.values]
        if name not in required:
            yield from _missing(name, seen)
        if len(filled) < len(seen) or any(column.kind in _NO_RULES for _, column in filled):
            continue
        yield from _unique(name, filled)
        is_text = filled[-1][1].kind == "text"
        yield from _text(name, filled) if is_text else _number(name, filled, name in measured)
    yield from _orders(history)


def _row_count(history: Sequence[Past]) -> Proposal:
    found = _extremes([(past.key, float(past.profile.rows)) for past in history])
    low, high = max(1, math.floor(found.low / 2)), math.ceil(found.high * 2)
    return Proposal(
        "expect_table_row_count_to_be_between",
        {"min_value": low, "max_value": high},
        "row_count",
        f"{found.text} rows",
        lambda profile: low <= profile.rows <= high,
    )


def _missing(name: str, seen: Sequence[tuple[str, ColumnProfile]]) -> Iterator[Proposal]:
    found = _extremes([(key, column.statistics["missing"]) for key, column in seen])
    if 1 - found.high < _LEAST_FILLED:
        return
    mostly = 1.0 if not found.high else math.floor(100 * (1 - _MISSING_HEADROOM * found.high)) / 100
    if mostly <= 0:
        return
    yield Proposal(
        "expect_column_values_to_not_be_null",
        {"column": name} | ({"mostly": mostly} if mostly < 1 else {}),
        "given",
        f"shares without a value: {found.text}",
        lambda profile: 1 - profile.columns[name].statistics["missing"] >= mostly,
    )


def _unique(name: str, seen: Sequence[tuple[str, ColumnProfile]]) -> Iterator[Proposal]:
    """Of texts alone: numbers that never repeat are measurements."""
    if any(column.kind != "text" or column.distinct < column.values for _, column in seen):
        return
    least = min(column.values for _, column in seen)
    if least > 1:
        yield Proposal(
            "expect_column_values_to_be_unique",
            {"column": name},
            "unique",
            f"no value twice in a partition, of at least {least} values",
            lambda profile: profile.columns[name].distinct == profile.columns[name].values,
        )


def _text(name: str, seen: Sequence[tuple[str, ColumnProfile]]) -> Iterator[Proposal]:
    known = _known_values(seen)
    if known:
        yield _set(name, known, sorted(known))
        return
    shortest = _extremes([(key, column.statistics["length_min"]) for key, column in seen])
    longest = _extremes([(key, column.statistics["length_max"]) for key, column in seen])
    is_fixed = shortest.low == longest.high
    low = int(shortest.low) if is_fixed else max(1, int(shortest.low) // 2) if shortest.low else 0
    high = int(longest.high) if is_fixed else math.ceil(longest.high * (1 + _HEADROOM))
    yield Proposal(
        "expect_column_value_lengths_to_be_between",
        {"column": name, "min_value": low, "max_value": high},
        "length",
        f"shortest {shortest.text}, longest {longest.text} characters",
        lambda profile: (
            low <= _value(profile, name, "length_min", low) and _value(profile, name, "length_max", high) <= high
        ),
    )
    yield from _form(name, seen)


def _form(name: str, seen: Sequence[tuple[str, ColumnProfile]]) -> Iterator[Proposal]:
    forms: dict[str, str] = {}
    for key, column in seen:
        for pattern, _ in column.patterns:
            forms.setdefault(pattern, key)
    most = max(len(column.patterns) for _, column in seen)
    if most >= _MOST_KEPT or len(forms) > _MOST_FORMS or any(len(form) >= _CUT_FORM for form in forms):
        return
    regex = "^(?:" + "|".join(sorted({_regex(form) for form in forms})) + ")$"
    yield Proposal(
        "expect_column_values_to_match_regex",
        {"column": name, "regex": regex},
        "form",
        "forms seen (first in): " + ", ".join(f"{quote(form)} ({key})" for form, key in sorted(forms.items())),
        lambda profile: all(pattern in forms for pattern, _ in profile.columns[name].patterns),
    )


def _regex(form: str) -> str:
    r"""Any letters for `A`, `a` and both together, digits for `9`, white space for a blank; the rest as it is."""
    parts = re.findall(r"[Aa]+|9|\s|.", form, re.DOTALL)
    return "".join(
        r"[^\W\d_]+" if part[0] in "Aa" else r"\d+" if part == "9" else r"\s+" if part.isspace() else re.escape(part)
        for part in parts
    )


def _number(name: str, seen: Sequence[tuple[str, ColumnProfile]], is_measured: bool) -> Iterator[Proposal]:
    known = {} if is_measured else _known_values(seen)
    if known and all(column.statistics["whole"] == 1 for _, column in seen):
        yield _set(name, known, sorted(int(value) for value in known))
        return
    smallest = _extremes([(key, column.statistics["min"]) for key, column in seen])
    largest = _extremes([(key, column.statistics["max"]) for key, column in seen])
    low, high = _widened(smallest.low, largest.high)
    yield Proposal(
        "expect_column_values_to_be_between",
        {"column": name, "min_value": low, "max_value": high},
        "range",
        f"smallest {smallest.text}, largest {largest.text}",
        lambda profile: low <= _value(profile, name, "min", low) and _value(profile, name, "max", high) <= high,
    )
    mean = _extremes([(key, column.statistics["mean"]) for key, column in seen])
    least, most = _widened(mean.low, mean.high)
    yield Proposal(
        "expect_column_mean_to_be_between",
        {"column": name, "min_value": least, "max_value": most},
        "mean",
        f"means {mean.text}",
        lambda profile: least <= _value(profile, name, "mean", least) <= most,
    )


def _set(name: str, first: Mapping[str, str], values: Sequence[Any]) -> Proposal:
    return Proposal(
        "expect_column_values_to_be_in_set",
        {"column": name, "value_set": list(values)},
        "known",
        f"{len(values)} values, the last new one in {max(first.values())}",
        lambda profile: all(value in first for value, _ in profile.columns[name].top),
    )


def _known_values(seen: Sequence[tuple[str, ColumnProfile]]) -> dict[str, str]:
    """All values and the partition in which each came first; none when they are too many or not all known."""
    first: dict[str, str] = {}
    for key, column in seen:
        if column.distinct > len(column.top):
            return {}
        for value, _ in column.top:
            first.setdefault(value, key)
    return first if len(first) <= _MOST_VALUES else {}


def _orders(history: Sequence[Past]) -> Iterator[Proposal]:
    """Columns of which one was never below the other, though their ranges overlap: else the order says nothing."""
    for order in history[-1].profile.orders:
        pair = (order.first, order.second)
        found = [one for past in history for one in past.profile.orders if (one.first, one.second) == pair]
        if len(found) < len(history):
            continue
        if all(one.below + one.equal >= 1 for one in found) and any(one.below for one in found):
            lower, upper = pair
        elif all(one.below == 0 for one in found) and any(one.equal < 1 for one in found):
            upper, lower = pair
        else:
            continue
        if _overlap(history, lower, upper):
            yield _order(lower, upper, len(found))


def _order(lower: str, upper: str, partitions: int) -> Proposal:
    def holds(profile: Profile) -> bool:
        found = {(one.first, one.second): one for one in profile.orders}
        if (lower, upper) in found:
            return found[lower, upper].below + found[lower, upper].equal >= 1
        return (upper, lower) not in found or found[upper, lower].below == 0

    return Proposal(
        "expect_column_pair_values_a_to_be_greater_than_b",
        # Of rows with both: to compare a missing whole number is an error to Great Expectations.
        {"column_A": upper, "column_B": lower, "or_equal": True, "ignore_row_if": "either_value_is_missing"},
        "order",
        f"{upper} was at least {lower} in every row of {partitions} partitions",
        holds,
    )


def _overlap(history: Sequence[Past], lower: str, upper: str) -> bool:
    """Whether in at least half of the partitions some value of `lower` lies above some value of `upper`."""
    days = [past.profile.columns for past in history]
    pairs = [(day[lower].statistics.get("max"), day[upper].statistics.get("min")) for day in days]
    return 2 * sum(high is not None and low is not None and high > low for high, low in pairs) >= len(pairs)


def _extremes(values: Sequence[tuple[str, float]]) -> _Extremes:
    low_at, low = min(values, key=lambda pair: pair[1])
    high_at, high = max(values, key=lambda pair: pair[1])
    return _Extremes(low, low_at, high, high_at)


def _widened(low: float, high: float) -> tuple[float, float]:
    """A range with headroom, rounded outwards to two digits; it does not cross zero if the values did not."""
    room = _HEADROOM * (high - low) or abs(high) * _HEADROOM or 1.0
    least, most = _outwards(low - room, math.floor), _outwards(high + room, math.ceil)
    return (max(0.0, least) if low >= 0 else least), (min(0.0, most) if high <= 0 else most)


def _outwards(value: float, rounding: Callable[[float], int]) -> float:
    if not value:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return float(f"{rounding(value / step) * step:.6g}")


def _value(profile: Profile, name: str, statistic: str, otherwise: float) -> float:
    """A partition without values breaks no range."""
    return profile.columns[name].statistics.get(statistic, otherwise)
