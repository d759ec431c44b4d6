"""Name, label, time and key: as given, else as inferred, else as somebody answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines.errors import ConfigError, DataError, did_you_mean, names
from pipelines.init.given import Given
from pipelines.init.infer import Declared
from pipelines.init.life import outside_share
from pipelines.init.questions import Questions
from pipelines.init.roles import (
    Key,
    Target,
    find_key,
    is_clear,
    label_guess,
    repeated_rows,
    target_of,
    time_candidates,
)
from pipelines.init.rows import Rows
from pipelines.init.samples import Sample
from pipelines.settings.dated_path import before_partition

DEALT_DAYS = 10
_MOST_OUTSIDE = 0.01
_MOST_REPEATED = 0.05
_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
_NAMES = "small letters, digits and _ only, beginning with a letter, at most 41"


def column_named(columns: Sequence[Declared], word: str, option: str) -> Declared:
    """The column of that name, in the files or in tables.

    Raises:
        ConfigError: E-INIT-COLUMN.
    """
    found = [one for one in columns if word in (one.facts.source_name, one.name)]
    if found:
        return found[0]
    known = [one.facts.source_name for one in columns]
    hint = did_you_mean(word, known) or f"There are {names(known)}."
    raise ConfigError("E-INIT-COLUMN", option, f"there is no column {word!r}", hint)


def is_column(columns: Sequence[Declared], option: str) -> Callable[[str], str | None]:
    """A check of answers."""

    def check(answer: str) -> str | None:
        try:
            column_named(columns, answer, option)
        except ConfigError as error:
            return f"{error.what}. {error.fix}" if answer else f"an answer is needed. {error.fix}"
        return None

    return check


def require_name(given: Given) -> None:
    """Raises ConfigError E-INIT-NAME for a name that no pipeline may have."""
    if given.name is not None and not _NAME.fullmatch(given.name):
        raise ConfigError("E-INIT-NAME", "--name", f"a name must be {_NAMES}; got {given.name!r}")


def pipeline_name(given: Given, sample: Sample, questions: Questions) -> str:
    """From the file's or the folder's name."""
    stem = sample.files[0].name if len(sample.files) == 1 else _folder_of(sample).name
    words = re.sub(r"(\.[A-Za-z0-9]{1,7}){1,2}$", "", stem)
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", words)
    proposal = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")[:40]
    proposal = proposal if _NAME.fullmatch(proposal) else f"feed_{proposal}"[:40].rstrip("_")
    asked = questions.ask(
        "--name payments",
        "How is the pipeline called?",
        given.name or proposal,
        lambda answer: None if _NAME.fullmatch(answer) else _NAMES,
        is_clear=True,
    )
    return asked or proposal


def _folder_of(sample: Sample) -> Path:
    """The folder in front of everything that differs between the files."""
    if sample.pattern:
        return Path(before_partition(sample.pattern) + "x").parent
    return sample.files[0].parent


def target(given: Given, columns: Sequence[Declared], questions: Questions) -> Target | None:
    """What is predicted; None: nothing.

    Raises:
        ConfigError: E-INIT-COLUMN. DataError: E-INIT-LABEL.
    """
    if given.no_label:
        return None
    word = given.label
    if word is None:
        guess = label_guess([one for one in columns if not {one.name, one.facts.source_name} & set(given.key)])
        flag = f"--label {guess or 'COLUMN'}, or --no-label"
        question = "Which column is to be predicted? 'none': rows are only read, checked and deduplicated"
        check = is_column(columns, "--label")
        word = questions.ask(flag, question, guess, lambda answer: None if answer == "none" else check(answer))
    if word is None or word == "none":
        return None
    return target_of(column_named(columns, word, "--label"), given.task, given.positive)


def event_time(
    given: Given, columns: Sequence[Declared], sample: Sample, rows: Rows, questions: Questions
) -> tuple[Declared | None, str]:
    """The column that says when a row happened and why it was taken; None: there is none.

    Raises:
        ConfigError: E-INIT-COLUMN. DataError: E-INIT-TIME for a column that is no time, or that the files' names
            contradict.
    """
    if given.time is not None:
        chosen = column_named(columns, given.time, "--time")
        _require_time(chosen, sample, rows)
        return chosen, "as you said"
    if given.deal:
        return None, ""
    found = time_candidates(columns)
    if sample.pattern:
        found = [one for one in found if outside_share(rows, sample, one) <= _MOST_OUTSIDE]
        return (found[0], "its values lie in the partition that the file's name says") if found else (None, "")
    if not found:
        return None, ""
    if is_clear(found):
        others = f", rather than {names(one.name for one in found[1:])}" if len(found) > 1 else ", the only time"
        return found[0], f"{found[0].facts.meant:,} of {found[0].facts.rows:,} rows have it{others}"
    question = f"Which column says when a row happened: {names(one.facts.source_name for one in found)}?"
    proposal = found[0].facts.source_name
    word = questions.ask(f"--time {proposal}", question, proposal, is_column(columns, "--time")) or proposal
    chosen = column_named(columns, word, "--time")
    _require_time(chosen, sample, rows)
    return chosen, "as you said"


def _require_time(chosen: Declared, sample: Sample, rows: Rows) -> None:
    where = chosen.facts.source_name
    if chosen.type not in ("timestamp", "date"):
        what = f"a time must read as a date or timestamp, this column is {chosen.type} ({chosen.why})"
        raise DataError("E-INIT-TIME", where, what, "Name another column with --time.")
    if sample.pattern and (share := outside_share(rows, sample, chosen)) > _MOST_OUTSIDE:
        what = f"{share:.1%} of the rows lie outside the {sample.grain} that their file is named after (in UTC)"
        raise DataError("E-INIT-TIME", where, what, "Name another column with --time, or leave --time out.")


def dealt_days(given: Given, questions: Questions) -> int:
    """Over how many days rows without time are dealt, if that is agreed.

    Raises:
        ConfigError: E-INIT-DEAL when it is not.
    """
    question = (
        "No column says when a row happened. Rows can be dealt out over days, at random but always alike, so that a "
        "model is judged on rows it never saw. Over how many days?"
    )

    def check(answer: str) -> str | None:
        return None if answer.isdigit() and 4 <= int(answer) <= 1000 else "a number from 4 to 1000"

    asked = str(given.deal) if given.deal is not None else None
    if asked is not None and (problem := check(asked)):
        raise ConfigError("E-INIT-DEAL", "--deal", f"{problem} is expected, got {asked}")
    return int(asked or questions.ask(f"--deal {DEALT_DAYS}", question, str(DEALT_DAYS), check) or DEALT_DAYS)


def key(
    given: Given,
    columns: Sequence[Declared],
    label: Declared | None,
    rows: Rows,
    copies: int,
    questions: Questions,
) -> Key:
    """What names a row, proven over all rows; never the label, which a row gets later.

    Raises:
        ConfigError: E-INIT-COLUMN. DataError: E-INIT-KEY for the label, and for columns in which many rows are alike,
            or some are null.
    """
    if given.no_key:
        return Key((), copies, "as you said")
    chosen = [column_named(columns, word, "--key") for word in given.key]
    if not chosen:
        found = find_key([one for one in columns if label is None or one.name != label.name], rows, copies)
        if not questions.is_eager:
            return found
        words = _asked_key(found, columns, questions)
        if words == list(found.columns):
            return found
        chosen = [column_named(columns, word, "--key") for word in words]
    if label and label.name in {one.name for one in chosen}:
        what = "a key names a row from its first day on, but this column is the label, which comes later"
        raise DataError("E-INIT-KEY", label.facts.source_name, what, "Name other columns with --key, or give --no-key.")
    return _proven_key(chosen, rows, copies) if chosen else Key((), copies, "as you said")


def _asked_key(found: Key, columns: Sequence[Declared], questions: Questions) -> list[str]:
    proposal = ",".join(found.columns) or "none"
    check = is_column(columns, "--key")

    def checked(answer: str) -> str | None:
        return None if answer == "none" else next(filter(None, map(check, answer.split(","))), None)

    question = "Which columns name a row? Several with commas, 'none' if no column does"
    answer = questions.ask("--key COLUMN", question, proposal, checked, is_clear=True) or proposal
    return [] if answer == "none" else answer.split(",")


def _proven_key(chosen: Sequence[Declared], rows: Rows, copies: int) -> Key:
    named = tuple(one.name for one in chosen)
    where = ", ".join(one.facts.source_name for one in chosen)
    empty = [one.facts.source_name for one in chosen if one.facts.meant < one.facts.rows]
    repeated = repeated_rows(chosen, rows)
    beyond = repeated - max(copies, 0)
    fix = "Name more columns, or give --no-key: then rows have no name and only exact copies are duplicates."
    if empty:
        raise DataError("E-INIT-KEY", where, f"a key must have a value in every row; {names(empty)} lacks some", fix)
    if beyond > _MOST_REPEATED * rows.count:
        what = f"{beyond:,} of {rows.count:,} rows repeat the key of another one and would be dropped as duplicates"
        raise DataError("E-INIT-KEY", where, what, fix)
    if beyond > 0:
        return Key(named, copies, f"as you said; {beyond:,} rows repeat a key: the first of them stays")
    return Key(named, copies, f"as you said; different in all {rows.count:,} rows")
