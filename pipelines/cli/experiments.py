"""The command that searches what was tried: versions and trials, best first, and two versions side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from pipelines.cli import show
from pipelines.cli.app import AS_JSON, NAME, app, used_home

_MOST_TRIALS = 10
_SHORT = 8  # of ids
_SUBJECTS = {"data": "Data", "settings": "Settings", "code": "Code and libraries", "parameters": "Parameters"}


@app.command(rich_help_panel="See")
def experiments(
    context: typer.Context,
    name: NAME,
    sort: Annotated[
        str | None, typer.Option(metavar="METRIC", help="Best first by this metric; default: the gate's.")
    ] = None,
    snapshot: Annotated[str, typer.Option(metavar="ID", help="Only this data version (how it begins).")] = "",
    code: Annotated[str, typer.Option(metavar="COMMIT", help="Only this code (how the commit begins).")] = "",
    compare: Annotated[
        tuple[int, int] | None, typer.Option(metavar="V1 V2", help="Two versions side by side: what differs.")
    ] = None,
    json: AS_JSON = False,
) -> None:
    """Search versions and trials: metric, data version, code, parameters; or compare two versions."""
    from pipelines.cli.reading import require_known
    from pipelines.report.comparison import comparison
    from pipelines.report.experiments import experiments as tried

    home = used_home(context)
    require_known(home, name)
    if compare is not None:
        found = comparison(home, name, *compare)
        show.as_json(found) if json else _side_by_side(found)
        return
    found = tried(home, name, sort, snapshot, code)
    if json:
        show.as_json(found)
        return
    _versions(found)
    _searches(found["searches"])


def _versions(found: Mapping[str, Any]) -> None:
    versions, metric = found["versions"], found["metric"]
    if not versions:
        show.line("no version yet")
        show.hint(f"nightshift retrain {found['pipeline']}")
        return
    has_parents = any(one["parent"] for one in versions)
    parent = ["parent"] if has_parents else []
    value = [metric] if metric else []
    columns = ["version", "state", *value, "gain over", "seconds", "data", "code", *parent, "parameters"]
    rows = [_version(one, metric, has_parents) for one in versions]
    order = f"best {metric} of the holdout first" if metric else "newest first"
    show.table(columns, rows, ["version", *value, "gain over", "seconds"], title=f"Versions, {order}")
    if len({one["digests"].get("holdout") for one in versions}) > 1:
        show.line("[yellow]Values of versions with other data were measured on other days[/yellow], maybe easier ones.")
        show.line("'gain over' is fair: the gate's, against the champion of that day on the same rows.")
    if len(versions) > 1:
        best, second = versions[:2]
        again = f"nightshift experiments {found['pipeline']} --compare {second['version']} {best['version']}"
        show.hint(again)


def _version(one: Mapping[str, Any], metric: str | None, has_parents: bool) -> list[str]:
    parent = f"v{one['parent']}" if one["parent"] else "[dim]-[/dim]"
    return [
        f"v{one['version']}",
        _state(one["state"]),
        *([_number(one["metrics"].get(metric))] if metric else []),
        _gain(one["against_champion"]),
        _number(one["seconds"]),
        str(one["snapshot_id"])[:_SHORT],
        show.escaped(str(one["code"])[:_SHORT]),
        *([parent] if has_parents else []),
        _parameters(one["parameters"]) or show.escaped(one["model"]),
    ]


def _gain(found: Mapping[str, Any] | None) -> str:
    return f"{found['gain']:+.4f} v{found['over']}" if found and found["gain"] is not None else "[dim]-[/dim]"


def _searches(searches: Sequence[Mapping[str, Any]]) -> None:
    for number, one in enumerate(searches):
        states = ", ".join(f"{count} {state}" for state, count in one["states"].items()) or "none began"
        told = f"of {one['wanted']} trials {states}; data {one['snapshot_id'][:_SHORT]}, code {one['code'][:_SHORT]}"
        show.line(f"\n[bold]Search of {one['partition']}[/bold]: {show.escaped(told)}")
        if number == 0:
            _trials(one)


def _trials(search: Mapping[str, Any]) -> None:
    rows = [_trial(row) for row in search["trials"][:_MOST_TRIALS]]
    columns = ["trial", "state", search["metric"], "seconds", "from", "parameters"]
    show.table(columns, rows, ["trial", search["metric"], "seconds"])
    left = len(search["trials"]) - len(rows)
    if left > 0:
        show.line(f"[dim]and {left} more (--json shows all); values are those of the last training partitions[/dim]")


def _trial(row: Mapping[str, Any]) -> list[str]:
    reached = f" at {row['last_step']}" if row["state"] == "pruned" and row["last_step"] else ""
    reason = f" ({row['reason'][:80]})" if row["reason"] else ""
    return [
        str(row["trial"]),
        _state(row["state"]) + reached,
        _number(row["value"]),
        _number(row["seconds"]),
        show.escaped(row["origin"]),
        _parameters(row["parameters"]) + show.escaped(reason),
    ]


def _side_by_side(found: Mapping[str, Any]) -> None:
    first, second = found["versions"]
    pair = [f"v{first['version']}", f"v{second['version']}"]
    rows = [
        [word, show.escaped(_fact(first[key])), show.escaped(_fact(second[key]))]
        for word, key in (
            *(("state", "state"), ("knows data up to", "as_of"), ("model", "model"), ("data", "snapshot_id")),
            *(("code", "code"), ("seconds", "seconds"), ("parent", "parent")),
        )
    ]
    show.table(["", *pair], rows, title=f"{found['pipeline']} {pair[0]} and {pair[1]}")
    is_fair = found["same_holdout"]
    numbers = [
        [row["metric"], _number(row["first"]), _number(row["second"]), _signed(row["difference"])]
        + ([_better(row, pair)] if is_fair else [])
        for row in found["metrics"]
    ]
    columns = ["metric", *pair, "difference", *(["better"] if is_fair else [])]
    show.table(columns, numbers, [*pair, "difference"], title="Each on its own holdout" if not is_fair else "")
    if not is_fair:
        show.paragraph("[yellow]Other holdouts[/yellow]: a difference may be that of the days, not of the models.")
    for text in found["judged"]:
        show.paragraph(f"[bold]On the same rows[/bold], by the gate: {show.escaped(text)}", 2)
    for key, title in _SUBJECTS.items():
        show.line(f"\n[bold]{title}[/bold]" + ("" if found[key] else "  the same"))
        for text in found[key]:
            show.line(f"  {show.escaped(text)}")


def _fact(value: Any) -> str:
    return "-" if value is None else str(value)


def _better(row: Mapping[str, Any], pair: Sequence[str]) -> str:
    return f"[green]{pair[row['better'] - 1]}[/]" if row["better"] else "[dim]-[/dim]"


def _signed(value: float | None) -> str:
    return "[dim]-[/dim]" if value is None else f"{value:+.4g}"


def _number(value: float | None) -> str:
    return "[dim]-[/dim]" if value is None else f"{value:.5g}"


def _state(word: str) -> str:
    colours = {"champion": "green", "complete": "green", "pruned": "yellow", "former": "dim"}
    return f"[{colours[word]}]{word}[/]" if word in colours else show.coloured(word)


def _parameters(values: Mapping[str, Any]) -> str:
    shown = (f"{name}={one:.4g}" if isinstance(one, float) else f"{name}={one}" for name, one in values.items())
    return show.escaped(" ".join(shown))
