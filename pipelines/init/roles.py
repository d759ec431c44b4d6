"""Which column says when, which columns name a row, and what is to be predicted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from pipelines.errors import DataError, names, quote
from pipelines.init.infer import Declared
from pipelines.init.profile import EXACT_ROWS
from pipelines.init.rows import Rows

_TIME_HINT = re.compile(r"(^|_)(event|paid|created|occurred|ordered|observed|invoice|timestamp|start|time|at)(_|$)")
_NO_EVENT = re.compile(r"(^|_)(birth|dob|birthday|expires|expiry|valid|due|end|updated|modified)(_|$)")
_KEY_HINT = re.compile(r"(^|_)(id|uuid|guid|key|no|nr|number|instant|index|row)(_|$)")
_LABEL_HINT = re.compile(
    r"^(label|target|y|class|outcome|churn(ed)?|fraud|default(ed)?|survived|spam|response|converted|is_(fraud|churn|spam)|"
    r".*_(label|target|class|fraud|churn)|cnt|income)$"
)
POSITIVE_WORDS = (
    "yes",
    "y",
    "true",
    "t",
    "1",
    "spam",
    "fraud",
    "churn",
    "churned",
    "bad",
    "default",
    "positive",
    "pos",
)
_MOST_CLASSES = 50
_MOST_WHOLE_CLASSES = 10
_LEAST_PER_CLASS = 20
_TRIED = 7  # columns of which keys of two and three are made


def source_sql(declared: Declared, rows: Rows) -> str:
    """The column's value in DuckDB: times in UTC, numbers as doubles, texts with null where no value is meant."""
    place = rows.place(declared.facts.source_name)
    if declared.type in ("timestamp", "date"):
        if declared.facts.native in ("timestamp", "date"):
            return f"CAST({place} AS TIMESTAMP)"
        if declared.format:
            return f"try_strptime({place}, '{declared.format}')"
        return f"timezone('UTC', try_cast({place} AS TIMESTAMPTZ))"
    if declared.null_tokens and declared.facts.is_text:
        listed = ", ".join("'" + one.replace("'", "''") + "'" for one in declared.null_tokens)
        place = f"CASE WHEN {place} IN ({listed}) THEN NULL ELSE {place} END"
    return f"try_cast({place} AS DOUBLE)" if declared.type in ("integer", "number") else place


def time_candidates(columns: Sequence[Declared]) -> list[Declared]:
    """Columns that may say when a row happened, the likeliest first; those equally likely are a question."""
    found = [one for one in columns if one.type in ("timestamp", "date") and not _NO_EVENT.search(one.name)]
    full = [one for one in found if one.facts.meant >= 0.99 * one.facts.rows and one.facts.distinct > 1]
    return sorted(full, key=_time_rank)


def is_clear(candidates: Sequence[Declared]) -> bool:
    return len(candidates) == 1 or (len(candidates) > 1 and _time_rank(candidates[0]) < _time_rank(candidates[1]))


def _time_rank(one: Declared) -> tuple[bool, bool]:
    return (one.type == "date", not _TIME_HINT.search(one.name))


@dataclass(frozen=True)
class Key:
    """`copies`: rows that are exact copies of another one. `why` says how unique the columns are."""

    columns: tuple[str, ...]
    copies: int
    why: str


def exact_copies(rows: Rows) -> int:
    """Rows that repeat another one in every column; -1 for more rows than are compared whole."""
    if rows.count > EXACT_ROWS:
        return -1
    places = ", ".join(f"c{number}" for number in range(len(rows.columns)))
    return rows.count - int(rows.one(f"SELECT count(*) FROM (SELECT DISTINCT {places} FROM cells)")[0])


def find_key(columns: Sequence[Declared], rows: Rows, copies: int) -> Key:
    """The first columns that tell all rows apart (exact copies aside): one, else two or three; none: no key."""
    usable = [one for one in columns if _may_be_key(one)]
    ranked = sorted(usable, key=_key_rank)
    for chosen in _choices(ranked, rows, copies):
        repeated = repeated_rows(chosen, rows)
        if repeated <= max(copies, 0):
            beside = f" but for {copies:,} exact copies" if copies > 0 else ""
            plural = "is" if len(chosen) == 1 else "are together"
            named = tuple(one.name for one in chosen)
            return Key(named, copies, f"{' and '.join(named)} {plural} different in all {rows.count:,} rows{beside}")
    return Key((), copies, "no column, and no two or three of those that name something, are different in all rows")


def _may_be_key(one: Declared) -> bool:
    return one.type in ("id", "integer", "timestamp", "category", "date") and one.facts.filled == one.facts.rows


def _key_rank(one: Declared) -> tuple[bool, bool, bool]:
    return (not _KEY_HINT.search(one.name), one.type != "id", one.type != "integer")


def _choices(ranked: Sequence[Declared], rows: Rows, copies: int) -> Iterator[tuple[Declared, ...]]:
    """A pair or triple must hold a column that names something: measurements may be different by chance."""
    least = 0.7 * rows.count if rows.count > EXACT_ROWS else rows.count - copies
    yield from ((one,) for one in ranked if one.facts.distinct >= least and (one.type != "date"))
    naming = [one for one in ranked if one.type in ("id", "timestamp", "date") or _KEY_HINT.search(one.name)]
    for size in (2, 3):
        for chosen in combinations(naming[:_TRIED], size):
            product = 1.0
            for one in chosen:
                product *= one.facts.distinct
            if product >= rows.count - max(copies, 0) and any(
                one.type == "id" or _KEY_HINT.search(one.name) for one in chosen
            ):
                yield chosen


def repeated_rows(chosen: Sequence[Declared], rows: Rows) -> int:
    """Rows whose values in these columns another row has too (all but one of each), counted exactly."""
    places = ", ".join(rows.place(one.facts.source_name) for one in chosen)
    return rows.count - int(rows.one(f"SELECT count(*) FROM (SELECT DISTINCT {places} FROM cells)")[0])


def label_guess(columns: Sequence[Declared]) -> str | None:
    """The column whose name says that it is predicted; none: a question without a proposal.

    Not one that is different in all rows: such a column names them.
    """
    named = [one for one in reversed(columns) if _LABEL_HINT.match(one.name)]
    return next((one.name for one in named if not _names_rows(one)), None)


def _names_rows(one: Declared) -> bool:
    return _may_be_key(one) and _MOST_WHOLE_CLASSES < one.facts.rows <= one.facts.distinct


@dataclass(frozen=True)
class Target:
    """`column`: the label as declared. `classes`: its values, the most frequent first; none of numbers."""

    column: Declared
    task: str
    positive: str | None
    classes: tuple[tuple[str, int], ...]
    why: str

    @property
    def rarest(self) -> float:
        """Share of the rarest class among labelled rows; 1 for numbers."""
        total = sum(count for _, count in self.classes)
        return min((count for _, count in self.classes), default=total) / max(1, total) if self.classes else 1.0


def target_of(label: Declared, task: str | None, positive: str | None) -> Target:
    """What is predicted; `task` and `positive` overrule what the values look like.

    Raises:
        DataError: E-INIT-LABEL when there is nothing to learn: no value, one value, or one per row.
    """
    facts, where = label.facts, label.facts.source_name
    classes = tuple(
        (value, count) for value, count in facts.top if not label.null_tokens or value not in label.null_tokens
    )
    if not facts.meant:
        raise DataError("E-INIT-LABEL", where, "no row has a label", "Name another column, or give --no-label.")
    if facts.distinct <= 1:
        raise DataError(
            "E-INIT-LABEL", where, f"all labels are {quote(classes[0][0])}", "There is nothing to tell apart."
        )
    if label.type in ("timestamp", "date", "text") or (
        label.type in ("id", "category") and facts.distinct > _MOST_CLASSES
    ):
        what = f"a label must be a number or one of at most {_MOST_CLASSES} classes, got {facts.distinct:,} values"
        raise DataError("E-INIT-LABEL", where, what, "Name another column with --label, or give --no-label.")
    chosen = task or _task(label)
    if chosen == "regression":
        return _number_target(label, chosen)
    if facts.distinct > _MOST_CLASSES:
        what = f"task '{chosen}' takes at most {_MOST_CLASSES} classes, the label has {facts.distinct:,} values"
        raise DataError("E-INIT-LABEL", where, what, "Leave --task out, or name another column.")
    column = _as_class(label)
    values = [value for value, _ in classes]
    if chosen == "multiclass":
        return Target(column, chosen, None, classes, f"{len(values)} classes: {names(values)}")
    return _binary_target(column, positive, classes)


def _number_target(label: Declared, task: str) -> Target:
    if label.type not in ("integer", "number"):
        what = f"task 'regression' needs numbers, the label is {label.type} ({label.why})"
        raise DataError("E-INIT-LABEL", label.facts.source_name, what, "Leave --task out, or name another column.")
    return Target(label, task, None, (), f"a number: {label.why}")


def _binary_target(label: Declared, positive: str | None, classes: tuple[tuple[str, int], ...]) -> Target:
    values = [value for value, _ in classes]
    if positive is not None and positive not in values:
        what = f"the positive value must be one of the label's, {names(values)}, got {quote(positive)}"
        raise DataError("E-INIT-LABEL", label.facts.source_name, what)
    if positive is None and len(values) > 2:
        what = f"a binary label has two values, this one has {len(values)}: {names(values)}"
        raise DataError("E-INIT-LABEL", label.facts.source_name, what, "Say which one counts: --positive VALUE.")
    if positive is None and (label.type == "boolean" or set(values) <= {"0", "1"}):
        share = dict(classes).get("1", dict(classes).get("true", classes[-1][1])) / sum(count for _, count in classes)
        return Target(label, "binary", None, classes, f"two values; 1 in {share:.1%} of the labelled rows")
    word = next((value for value in values if value.lower() in POSITIVE_WORDS), None)
    chosen = positive or word or values[-1]
    reason = "as you said" if positive else "it reads like one" if word else "the rarer one"
    share = dict(classes)[chosen] / sum(count for _, count in classes)
    return Target(
        label, "binary", chosen, classes, f"{chosen!r} counts as 1 ({reason}): {share:.1%} of the labelled rows"
    )


def _task(label: Declared) -> str:
    facts = label.facts
    if facts.distinct == 2:
        return "binary"
    if label.type in ("category", "id", "boolean"):
        return "multiclass"
    few = label.type == "integer" and facts.distinct <= _MOST_WHOLE_CLASSES
    return "multiclass" if few and facts.meant >= _LEAST_PER_CLASS * facts.distinct else "regression"


def _as_class(label: Declared) -> Declared:
    """Yes and no of a text file stay texts, so that the positive one can be named as it is written."""
    from dataclasses import replace

    is_word = label.facts.is_text and label.type in ("boolean", "id")
    return replace(label, type="category") if is_word else label
