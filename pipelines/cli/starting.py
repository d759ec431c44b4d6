"""The command that makes a pipeline from files: init, a wizard when it is run bare in a terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli import show
from pipelines.cli.app import app, session

if TYPE_CHECKING:
    from pipelines.init import Outcome, Questions

_LONGEST = 100


@app.command(rich_help_panel="Start")
def init(
    context: typer.Context,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="Files or a folder: CSV, JSON Lines, Parquet, gz.")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Of the pipeline; else from the file.")] = None,
    label: Annotated[str | None, typer.Option(metavar="COLUMN", help="What is to be predicted.")] = None,
    no_label: Annotated[bool, typer.Option("--no-label", help="Nothing: read, check and deduplicate rows.")] = False,
    time: Annotated[str | None, typer.Option(metavar="COLUMN", help="When a row happened.")] = None,
    key: Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="What names a row; may be repeated.")] = None,
    no_key: Annotated[bool, typer.Option("--no-key", help="Nothing names a row.")] = False,
    task: Annotated[str | None, typer.Option(help="binary, multiclass or regression; else from the label.")] = None,
    positive: Annotated[str | None, typer.Option(metavar="VALUE", help="The label's value that counts as 1.")] = None,
    label_delay_days: Annotated[
        float, typer.Option(min=0, metavar="D", help="Days after which a row's label is known for certain.")
    ] = 0.0,
    deal: Annotated[int | None, typer.Option(metavar="N", help="Rows have no time: deal them out over N days.")] = None,
    combine: Annotated[
        bool, typer.Option("--combine", help="Copy files whose names hold no date into one file of the home.")
    ] = False,
    partition: Annotated[
        str | None, typer.Option(metavar="GRAIN", help="hour, day, week or month; else from the times.")
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="No feature; may be repeated.")] = None,
    header: Annotated[
        bool | None, typer.Option("--header/--no-header", help="Whether the first line holds names; else as it looks.")
    ] = None,
    day_first: Annotated[bool | None, typer.Option("--day-first/--month-first", help="How 03/04/2026 reads.")] = None,
    owner: Annotated[str | None, typer.Option(help="The team that is asked when a night goes wrong.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Take every proposal unasked.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")] = False,
) -> None:
    """Make a pipeline from sample files: settings, rules and features, each with its reason. A wizard when run bare."""
    from datetime import date
    from tempfile import TemporaryDirectory

    from pipelines.init import Given, plan

    _require_words(task, partition)
    home = session(context).home
    questions = _questions(is_bare=not files, accepts_all=yes)
    given = Given(
        files=tuple(files or _asked_files(questions)),
        today=date.today(),
        name=name,
        owner=owner or _owner(),
        label=label,
        no_label=no_label,
        time=time,
        key=tuple(part for one in key or () for part in one.split(",")),
        no_key=no_key,
        task=task,
        positive=positive,
        label_delay_days=label_delay_days,
        deal=deal,
        combine=combine,
        header=header,
        day_first=day_first,
        grain=partition,  # type: ignore[arg-type]  # checked above
        ignore=tuple(ignore or ()),
    )
    with TemporaryDirectory(prefix="nightshift-init-") as folder:
        outcome = plan(given, home, questions, Path(folder), _show_sample)
        _show(outcome, questions)
        _write(outcome, home.config.parent, force, questions)
    _show_next(outcome)


def _require_words(task: str | None, grain: str | None) -> None:
    from pipelines.errors import ConfigError, names

    for option, word, known in (
        ("--task", task, ("binary", "multiclass", "regression")),
        ("--partition", grain, ("hour", "day", "week", "month")),
    ):
        if word is not None and word not in known:
            raise ConfigError("E-CLI-USAGE", option, f"must be one of {names(known)}, got {word!r}")


def _questions(is_bare: bool, accepts_all: bool) -> Questions:
    from pipelines.init import Questions

    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    return Questions(input if is_terminal else None, _say, is_eager=is_bare and is_terminal, accepts_all=accepts_all)


def _asked_files(questions: Questions) -> list[Path]:
    from pipelines.errors import ConfigError

    if questions.read is None:
        what = "without a terminal nobody can be asked for the files"
        raise ConfigError("E-INIT-ASK", "init", what, "Name them: nightshift init payments.csv --label is_fraud")
    _say("A pipeline from your own files. Enter takes what stands in brackets; Ctrl-C stops, nothing is written.")

    def check(answer: str) -> str | None:
        missing = [word for word in answer.split() if not Path(word).expanduser().exists()]
        return f"there is no {missing[0]}" if missing and not Path(answer).expanduser().exists() else None

    answer = questions.ask("FILE", "Which files, or which folder?", None, check) or ""
    return [Path(answer)] if Path(answer).expanduser().exists() else [Path(word) for word in answer.split()]


def _owner() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _show_sample(sample: Any, rows: Any, columns: Any) -> None:
    """What was found in the files."""
    show.line(f"[bold]{show.escaped(sample.told)}[/bold]: {rows.count:,} rows, {len(rows.columns)} columns")
    if rows.dialect:
        dialect = rows.dialect
        header = "with a header" if dialect.header else "without header"
        show.line(f"CSV, {dialect.encoding}, fields end at {show.escaped(repr(dialect.delimiter))}, {header}")
    lines = [[show.escaped(one.facts.source_name), one.type, show.escaped(_cut(one.why))] for one in columns]
    show.table(["column", "type", "evidence"], lines)
    left = [name for name in rows.columns if name not in {one.facts.source_name for one in columns}]
    if left:
        show.line(f"not read, because no column type holds them: {show.escaped(', '.join(left))}")


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _show(outcome: Outcome, questions: Questions) -> None:
    """What was chosen, and what a person should look at."""
    draft = outcome.draft
    show.line("")
    facts = [("key", draft.key.why), ("time", f"{draft.time.name}: {draft.time_why}" if draft.time else draft.life.why)]
    if draft.target and draft.windows:
        facts.append(("label", f"{draft.target.column.name}, {draft.target.task}: {draft.target.why}"))
        facts.append(("holdout", draft.windows.why))
        facts.append(("features", f"{len(draft.choice.used)} columns, {len(draft.choice.groups)} group(s)"))
    facts.append(("rules", f"{outcome.rules}, all warnings until you make them critical"))
    if outcome.tried:
        reasons = f": {outcome.tried.reasons[0]}" if outcome.tried.reasons else ""
        told = f"{outcome.tried.read:,} rows of {outcome.tried.key}, {outcome.tried.refused:,} to quarantine{reasons}"
        facts.append(("tried", told))
    for word, text in facts:
        show.line(f"[bold]{word:<10}[/bold]{show.escaped(text)}")
    for remark in draft.remarks:
        show.line(f"[yellow]look      [/yellow]{show.escaped(remark)}")
    for column, found in outcome.suspicions.items():
        word = "put aside" if found.is_sure else "look"
        show.line(f"[yellow]{word:<10}[/yellow]{show.escaped(column)}: {show.escaped(found.why)}")
    if questions.asked:
        show.line(f"[dim]{questions.asked} question(s) answered[/dim]")


def _say(text: str) -> None:
    """Words for a person, wrapped between words."""
    show.console().print(show.escaped(text))


def _write(outcome: Outcome, root: Path, force: bool, questions: Questions) -> None:
    """All files or none; the wizard asks first."""
    import shutil

    from pipelines.init.place import changes, write

    files = {root / place: text for place, text in outcome.texts.items()}
    for diff in changes(files).values():
        show.plain(diff)
    if questions.is_eager and not questions.agree("", f"Write {len(files)} files below {root}?"):
        raise typer.Abort
    written = write(files, force)
    if outcome.combined:
        source, target = outcome.combined
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, target)
        written.append(target)
    show.line("")
    for path in written:
        show.line(f"[green]written[/green]  {show.escaped(path)}")


def _show_next(outcome: Outcome) -> None:
    first, last = outcome.run
    name = outcome.draft.name
    show.plain("\nRead the YAML: the evidence stands beside each choice. Then:\n")
    show.plain(f"  nightshift check {name}")
    show.plain(f"  nightshift run {name} --from {first} --to {last}\n")
    if outcome.draft.windows:
        after = outcome.draft.windows.first_after
        show.plain(f"After {after} partitions the monitor asks for a first model; the rest is scored by it.")
