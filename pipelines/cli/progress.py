"""What a person sees while DAGs run: one line per partition, and what is being done right now."""

from __future__ import annotations

from collections import Counter
from types import TracebackType
from typing import Any

from pipelines import approvals
from pipelines.cli import show
from pipelines.home import Home
from pipelines.ledger import Ledger
from pipelines.shadows import KIND as SHADOW


class Progress:
    """Prints events of pipelines.runs.local as they come. The moving line appears only on a terminal."""

    def __init__(self, home: Home, name: str, total: int, quiet: bool = False) -> None:
        from rich import progress

        self._home, self._name, self._quiet = home, name, quiet
        self._console = show.console()
        self._bar = progress.Progress(
            progress.SpinnerColumn(),
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=24),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=quiet or not self._console.is_terminal,
        )
        self._task = self._bar.add_task("starting Airflow", total=total)
        self._states: Counter[str] = Counter()
        self._gates: Counter[str] = Counter()
        self._finished = 0
        self._told: set[str] = set()
        self._failed: list[dict[str, Any]] = []  # the last events of runs that failed

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def on_event(self, event: dict[str, Any]) -> None:
        if event["event"] == "task":
            self._bar.update(self._task, description=f"{event['partition']}  {event['task_id']}")
            if event["state"] == "failed":
                self._problem(event)
        elif event["event"] == "run":
            self._ended(event)

    def _ended(self, event: dict[str, Any]) -> None:
        if event["state"] == "failed":
            self._failed.append(event)
            self._problem(event)
        if _is_retrain(event):
            self._retrained(event)
            return
        self._finished += 1
        self._bar.update(self._task, completed=self._finished)
        self._day(event)

    def _problem(self, event: dict[str, Any]) -> None:
        """The error, once: a run repeats that of its first failed task, and has one of its own where no task ran."""
        error = event.get("error")
        if error and error not in self._told and not self._quiet:
            show.problem(error)
        self._told.add(str(error))

    def _day(self, event: dict[str, Any]) -> None:
        from pipelines.report.nights import nights

        key = event["partition"]
        rows = nights(Ledger(self._home.ledger_url), {self._name: (key, key)}, numbers="none")[self._name]
        row = rows[0] if rows else {"state": event["state"]}
        state = row["state"] if event["state"] == "success" else ("refused" if _is_refusal(event) else "failed")
        self._states[state] += 1
        self._print(f"{event['partition']}  {_padded(state)}  {_accounting(row)}{_scores(row)}{_seconds(event)}")
        self._shadow(event)

    def _retrained(self, event: dict[str, Any]) -> None:
        """The gate's decision of this very run."""
        decisions = Ledger(self._home.ledger_url).decisions(self._name, "gate", event["partition"])
        mine = [row for row in decisions if row["run_id"] == event["run_id"]] or decisions
        if event["state"] == "failed" or not mine:
            outcome, why = event["state"], ""  # the error is on stderr already
        else:
            outcome, why = str(mine[-1]["outcome"]), "; ".join(mine[-1]["reasons"])
        if event["state"] == "awaiting_input":
            outcome, why = approvals.WAITING, self._question(event)
        self._gates[outcome] += 1
        version = f"v{mine[-1]['model_version']}  " if mine and mine[-1]["model_version"] else ""
        text = f"{event['partition']}  retrain   {show.coloured(outcome)}  {version}{show.escaped(why)}"
        self._print(text + _seconds(event))
        self._shadow(event)

    def _question(self, event: dict[str, Any]) -> str:
        """What to do about the question of this very run, which nobody can answer here."""
        asked = Ledger(self._home.ledger_url).decisions(self._name, approvals.KIND, event["partition"])
        mine = [row for row in asked if row["run_id"] == event["run_id"]]
        told = "; ".join(mine[-1]["reasons"]) if mine else "waits for a person; without an answer the champion stays"
        return f"{told}. To answer: nightshift up, then Browse > Required Actions."

    def _shadow(self, event: dict[str, Any]) -> None:
        """What this very run decided about a challenger in shadow, if anything."""
        for row in Ledger(self._home.ledger_url).decisions(self._name, SHADOW, event["partition"]):
            if row["run_id"] == event["run_id"]:
                why = show.escaped("; ".join(row["reasons"]))
                outcome = show.coloured(row["outcome"])
                self._print(f"{event['partition']}  shadow    {outcome}  v{row['model_version']}  {why}")

    def _print(self, text: str) -> None:
        if not self._quiet:
            self._console.print(text, soft_wrap=True)

    def summarise(self, keys: list[str]) -> None:
        """Totals, and what to do next."""
        days = ", ".join(f"{count} {state}" for state, count in sorted(self._states.items()))
        gates = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self._gates.items()))
        show.line(f"{sum(self._states.values())} partition(s): {days}" + (f"; retrained: {gates}" if gates else ""))
        if self._failed:
            self.ask_for_repair(keys)
        elif not Ledger(self._home.ledger_url).champion(self._name):
            show.hint(f"nightshift retrain {self._name}  (nothing is scored before a first champion)")
        else:
            show.hint(f"nightshift status {self._name}")

    def ask_for_repair(self, keys: list[str]) -> None:
        """The commands that do again what failed, and what was left because of it."""
        left = keys[self._finished :]
        days = [event["partition"] for event in self._failed if not _is_retrain(event)] + left
        commands = [
            f"nightshift retrain {self._name} --as-of {event['partition']}"
            for event in self._failed
            if _is_retrain(event)
        ]
        if days:
            upto = f" --to {keys[-1]}" if days[0] != keys[-1] else ""
            commands.append(f"nightshift run {self._name} --from {days[0]}{upto}")
        waiting = f"  ({len(left)} partition(s) not run)" if left else ""
        show.hint(f"repair what is named above, then: {', then: '.join(commands)}{waiting}")


def _is_retrain(event: dict[str, Any]) -> bool:
    return str(event["dag_id"]).endswith("__retrain")


def _is_refusal(event: dict[str, Any]) -> bool:
    """The pipeline said no to the data or a model; anything else is a breakdown."""
    error = str(event.get("error") or "")
    return error.startswith("E-") and not error.startswith(("E-STORE", "E-DB", "E-IO", "E-RUN", "E-S3", "E-PUB"))


def _padded(state: str) -> str:
    return show.coloured(state) + " " * max(0, 8 - len(state))


def _accounting(row: dict[str, Any]) -> str:
    if row.get("read") is None:
        return ""
    parts = f"{row['clean']:,} clean + {row['quarantined']:,} quarantined + {row['duplicate']:,} duplicate"
    return f"{row['read']:>6,} = {parts}"


def _scores(row: dict[str, Any]) -> str:
    text = f"  v{row['model']}" if row.get("model") else ""
    return text + (f"  drift {show.coloured(row['drift'])}" if row.get("drift") else "")


def _seconds(event: dict[str, Any]) -> str:
    return f"  [dim]{event.get('seconds', 0):.1f} s[/dim]"
