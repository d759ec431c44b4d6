"""The Typer application: options that every command understands, and one clear line for every error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import Abort, TyperException

from pipelines.errors import ConfigError, NightshiftError
from pipelines.home import Home

DONE, REFUSED, MISUSED, INTERRUPTED = 0, 1, 2, 130
# As they appear in --help: what one does every day comes first.
_ORDER = (
    *("init", "run", "retrain", "up", "demo"),
    *("status", "history", "experiments", "explain", "quarantine", "exports", "verify", "replay", "notify"),
    *("report", "card", "scorecard"),
    *("suggest", "serving", "onnx"),
    *("rollback", "retract"),
)
# Options that may stand anywhere on the line, and whether a value follows.
_EVERYWHERE = {"--home": True, "--config": True, "--debug": False}


@dataclass(frozen=True)
class Session:
    """What the options before the command say."""

    home: Home


class _Group(TyperGroup):
    """Accepts the common options behind the command too, and turns every error into one line and an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,  # noqa: ARG002 (Typer's signature; the name is always nightshift)
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002 (errors and exit codes are handled here)
        windows_expand_args: bool = True,  # noqa: ARG002 (Typer's signature)
        **extra: Any,
    ) -> Any:
        given = _hoisted(list(sys.argv[1:] if args is None else args)) or ["--help"]
        work = super().main
        code = exit_code(
            lambda: work(given, "nightshift", complete_var, standalone_mode=False, **extra), debug="--debug" in given
        )
        sys.exit(code)

    def list_commands(self, ctx: Any) -> list[str]:
        known = super().list_commands(ctx)
        return sorted(known, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))


def exit_code(work: Callable[[], Any], debug: bool = False) -> int:
    """Runs `work`; what it raises becomes one line on stderr (`debug`: the traceback too) and the exit code."""
    try:
        code = work()
        return code if isinstance(code, int) else DONE
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else REFUSED
    except (Abort, KeyboardInterrupt):
        _say("E-RUN-INTERRUPTED nightshift: stopped by the user. Finished steps are kept; run the same command again.")
        return INTERRUPTED
    except Exception as error:
        if debug:
            raise
        line, code = _as_line(error)
        _say(line)
        return code


def _as_line(error: Exception) -> tuple[str, int]:
    if isinstance(error, TyperException):
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "nightshift"
        message = " ".join(error.format_message().split()).rstrip(".")
        message += "" if message.endswith("?") else "."
        return f"E-CLI-USAGE {command}: {message} See '{command} --help'.", MISUSED
    if isinstance(error, NightshiftError):
        return str(error), MISUSED if isinstance(error, ConfigError) else REFUSED
    what = " ".join(str(error).split())[:300]
    return f"E-BUG-UNEXPECTED nightshift: {type(error).__name__}: {what}. Add --debug to see where.", REFUSED


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _hoisted(arguments: list[str]) -> list[str]:
    """The arguments with the common options moved to the front, where Typer expects them."""
    front: list[str] = []
    rest: list[str] = []
    while arguments:
        word = arguments.pop(0)
        if word == "--":
            return [*front, *rest, word, *arguments]
        name = word.partition("=")[0]
        if name not in _EVERYWHERE:
            rest.append(word)
            continue
        front.append(word)
        if _EVERYWHERE[name] and "=" not in word and arguments:
            front.append(arguments.pop(0))
    return [*front, *rest]


app = typer.Typer(
    cls=_Group,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Batch machine learning on Apache Airflow that a team can trust in the morning.",
    epilog="--home, --config and --debug may stand behind the command too. Exit codes: 0 done, 1 the pipeline said no, "
    "2 wrong use or configuration.",
)

NAME = Annotated[str, typer.Argument(metavar="NAME", help="The pipeline: config/pipelines/NAME.yaml.")]
AS_JSON = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
REASON = Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept with the decision.")]


def session(context: typer.Context) -> Session:
    """The options of this call."""
    found = context.find_object(Session)
    if found is None:
        raise RuntimeError("the command was called without the application's callback")
    return found


def used_home(context: typer.Context) -> Home:
    """The home of this call; raises ConfigError when nothing ever ran there (often a mistyped --home).

    With a ledger on a server it may be any machine.
    """
    home = session(context).home
    if home.ledger_url.startswith("sqlite:") and not home.root.is_dir():
        raise ConfigError(
            "E-HOME-EMPTY",
            str(home.root),
            "nothing ran in this home yet",
            "Name another with --home, or run a pipeline.",
        )
    return home


@app.callback()
def _common(
    context: typer.Context,
    home: Annotated[
        str | None, typer.Option(metavar="DIR", help="Tables, ledger, exports and MLflow. Or NIGHTSHIFT_HOME.")
    ] = None,
    config: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder with pipelines/ and features/. Or NIGHTSHIFT_CONFIG.")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,  # noqa: ARG001 (read from the raw arguments)
) -> None:
    place = Home.resolve(home, config)
    if not place.config.is_dir():
        raise ConfigError(
            "E-CONFIG-FOLDER", str(place.config), "this configuration folder does not exist", "Name one with --config."
        )
    context.obj = Session(place)
