"""The whole way from files to a proposal: what is inferred, what is asked, what would be written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from pipelines.errors import DataError, names
from pipelines.home import Home
from pipelines.init import decide
from pipelines.init.choice import Choice, choose, feature_groups, lookback_of
from pipelines.init.draft import Draft, as_labelled
from pipelines.init.given import Given
from pipelines.init.infer import Declared, column_names, declare
from pipelines.init.life import Life, first_run, life_by_names, life_by_time, life_dealt, windows_of
from pipelines.init.profile import profile_columns, sampled
from pipelines.init.proof import Tried, check_texts, try_partition
from pipelines.init.questions import Questions
from pipelines.init.render import group_yaml, pipeline_yaml
from pipelines.init.roles import Target, exact_copies, source_sql
from pipelines.init.rows import Rows, open_rows
from pipelines.init.samples import Sample, find_sample
from pipelines.init.suite import parts_by_key, parts_of_sample, suite_of
from pipelines.init.suspects import Suspicion, suspects, typed_sample
from pipelines.init.volume import empty_somewhere, volume_bounds
from pipelines.init.whereabouts import Whereabouts, combine, whereabouts
from pipelines.partitions import KEY_FORMAT

_STILL_COMING_DAYS = 7
_FEW_ROWS = 20  # values a dealt day, below which one may have none

Shown = Callable[[Sample, Rows, Sequence[Declared]], None]
"""Tells a person what was found, before anything is asked about it."""


@dataclass(frozen=True)
class Outcome:
    """`texts`: path below the folder of the configuration -> content. `tried`: the first partition as ingest reads it.
    `combined`: a file in the scratch folder, and where it belongs."""

    draft: Draft
    texts: dict[str, str]
    rules: int
    suspicions: dict[str, Suspicion]
    tried: Tried | None
    run: tuple[str, str]
    combined: tuple[Path, Path] | None = None


def plan(given: Given, home: Home, questions: Questions, folder: Path, shown: Shown) -> Outcome:
    """The proposal for these files; `folder` is scratch.

    Raises:
        DataError: E-INIT-*: what is wrong with the files. ConfigError: E-INIT-ASK when something must be said that
            nobody can be asked; E-INIT-* for options that do not fit.
    """
    decide.require_name(given)
    sample = find_sample(given.files)
    rows = open_rows(sample, folder, given.header)
    columns, sample_rows = _declared(given, rows, questions)
    shown(sample, rows, columns)
    name = decide.pipeline_name(given, sample, questions)
    place = whereabouts(given, name, sample, home, questions)
    target = decide.target(given, columns, questions)
    columns = as_labelled(columns, target)
    time, time_why = decide.event_time(given, columns, sample, rows, questions)
    slicing = "names" if sample.pattern else "time" if time else "dealt"
    days = decide.dealt_days(given, questions) if slicing == "dealt" else 0
    copies = exact_copies(rows)
    key = decide.key(given, columns, target.column if target else None, rows, copies, questions)
    questions.finish(sample.told)
    life = _life(given, slicing, sample, rows, time, target, days)
    typed = typed_sample(columns, rows, sample_rows)
    found = suspects(columns, target, typed) if target else {}
    choice = _choice(given, name, columns, key.columns, time, target, found, life, rows)
    draft = Draft(
        name=name,
        owner=given.owner,
        told=sample.told,
        row_count=rows.count,
        format="parquet" if place.combined else sample.format,
        path=place.path,
        path_why=place.why,
        dialect=rows.dialect,
        columns=columns,
        key=key,
        slicing=slicing,
        time=time,
        time_why=time_why,
        life=life,
        target=target,
        label_delay_days=given.label_delay_days,
        windows=windows_of(life, target) if target else None,
        choice=choice,
        optional=_optional(columns, rows, slicing, sample, time, life),
        volume=None if slicing == "dealt" else volume_bounds(life),
        goes_on=slicing != "dealt" and (given.today - life.end).days <= _STILL_COMING_DAYS,
        remarks=tuple(_remarks(rows, life, target)),
    )
    return _outcome(draft, found, rows, sample, place, typed, folder)


def _declared(given: Given, rows: Rows, questions: Questions) -> tuple[tuple[Declared, ...], pa.Table]:
    """The columns that can be declared, and the sample of rows."""
    facts, cells = profile_columns(rows), sampled(rows)
    spelled = column_names(facts)
    found = []
    for source, one in facts.items():
        declared = declare(one, spelled[source], cells[rows.place(source)], given.day_first)
        if declared and declared.other_formats and given.day_first is None:
            declared = _one_reading(declared, questions)
        found += [declared] if declared else []
    if not found:
        raise DataError(
            "E-INIT-COLUMNS", "sample", "no column can be read", "Give a file with numbers, words or times."
        )
    return tuple(found), cells


def _one_reading(declared: Declared, questions: Questions) -> Declared:
    """Dates like 03/04/2026 read both ways."""
    forms = [str(declared.format), *declared.other_formats]
    question = f"The dates of '{declared.facts.source_name}' read both ways: as which of {', '.join(forms)}?"
    wrong = f"one of {', '.join(forms)}"
    answer = questions.ask(
        "--day-first or --month-first", question, forms[0], lambda text: None if text in forms else wrong
    )
    return replace(
        declared, format=answer or forms[0], why=f"{declared.why}; {names(declared.other_formats)} would fit, too"
    )


def _life(
    given: Given, slicing: str, sample: Sample, rows: Rows, time: Declared | None, target: Target | None, days: int
) -> Life:
    label = target.column if target else None
    if slicing == "names":
        return life_by_names(rows, sample, label)
    if slicing == "time" and time:
        return life_by_time(rows, time, label, given.grain)
    return life_dealt(rows, days, given.today)


def _choice(
    given: Given,
    name: str,
    columns: Sequence[Declared],
    key: Sequence[str],
    time: Declared | None,
    target: Target | None,
    found: dict[str, Suspicion],
    life: Life,
    rows: Rows,
) -> Choice:
    """Raises DataError E-INIT-FEATURES when nothing is left to learn from."""
    ignored = [decide.column_named(columns, word, "--ignore").name for word in given.ignore]
    choice = choose(columns, key, time, target, found, ignored)
    if target is None:
        return choice
    if time:
        groups = feature_groups(name, given.owner, columns, choice, time, life, rows)
        choice = replace(choice, groups=groups, lookback=lookback_of(groups, life))
    if not choice.used and not choice.groups:
        told = "; ".join(f"{column}: {why}" for column, why in choice.aside.items())
        raise DataError("E-INIT-FEATURES", name, f"no column is left for a model to learn from ({told})")
    return choice


def _optional(
    columns: Sequence[Declared], rows: Rows, slicing: str, sample: Sample, time: Declared | None, life: Life
) -> frozenset[str]:
    if slicing == "dealt":
        few = _FEW_ROWS * len(life.keys)
        return frozenset(one.name for one in columns if one.facts.meant < min(few, one.facts.rows))
    return frozenset(empty_somewhere(columns, rows, _partition_sql(rows, sample, time, life)))


def _partition_sql(rows: Rows, sample: Sample, time: Declared | None, life: Life) -> str:
    """The key of a row's partition in DuckDB."""
    if sample.pattern:
        return f"([{', '.join(repr(key) for key in sample.keys)}])[file + 1]"
    value = source_sql(time, rows) if time else "NULL"
    return f"strftime(date_trunc('{life.grain}', {value}), '{KEY_FORMAT[life.grain]}')"


def _remarks(rows: Rows, life: Life, target: Target | None) -> list[str]:
    """What a person must know before trusting the result."""
    found = []
    if rows.dialect and rows.dialect.fitting < 1:
        share = f"{1 - rows.dialect.fitting:.1%}"
        fields = len(rows.dialect.columns)
        found.append(f"{share} of the first lines do not split into {fields} fields; such lines are quarantined.")
    if target and len(life.counts) < 4:
        found.append(f"the sample has {len(life.counts)} {life.grain}(s) with rows: a first model needs at least 4.")
    return found


def _outcome(
    draft: Draft,
    found: dict[str, Suspicion],
    rows: Rows,
    sample: Sample,
    place: Whereabouts,
    typed: pa.Table,
    folder: Path,
) -> Outcome:
    """The texts, proven: they pass `nightshift check`, and ingest reads the first partition."""
    partition = _partition_sql(rows, sample, draft.time, draft.life)
    by_time = draft.slicing != "dealt"
    parts = parts_by_key(draft.columns, rows, draft.life, partition) if by_time else parts_of_sample(typed, draft.life)
    suite, rules = suite_of(draft.name, draft.columns, draft.required, parts, draft.life)
    texts = {f"config/pipelines/{draft.name}.yaml": pipeline_yaml(draft)}
    texts[f"expectations/{draft.name}.json"] = suite
    texts |= {f"config/features/{group.name}.yaml": group_yaml(group, draft.told) for group in draft.choice.groups}
    home = check_texts(draft.name, texts, folder / "proof")
    literal, combined = place.literal, None
    if place.combined:
        combined = (folder / place.combined.name, place.combined)
        combine(rows, combined[0])
        literal = str(combined[0])
    tried = try_partition(draft.name, draft.life.keys[0], home, literal, sample.size // max(1, len(sample.keys)))
    return Outcome(draft, texts, rules, found, tried, first_run(draft.life, draft.windows), combined)
