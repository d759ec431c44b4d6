"""The words and the facts of each button: what it starts, what will happen, what is asked before."""

from __future__ import annotations

from collections.abc import Callable

from pipelines.errors import ConfigError, did_you_mean, quote
from pipelines.home import Home
from pipelines.pages import addresses
from pipelines.pages.actions import AT_ONCE, REASON, WHICH, Given, Proposal, Question
from pipelines.pages.known import ledger_of
from pipelines.settings import Pipeline, load_pipeline

_SHORTEST_REASON = 3
_MOST_DIGITS = 9
# Values as Airflow's `reprocess_behavior` has them.
_WHICH = (
    ("none", "only those that Airflow has not run yet"),
    ("failed", "those, and those whose last run failed"),
    ("completed", "all of them"),
)


def proposal(home: Home, name: str, action: str, given: Given) -> Proposal:
    """What `action` would do to the pipeline.

    Raises:
        ConfigError: E-PAGE-ACTION for an unknown action, E-RUN-PARTITION for a partition that cannot be, E-CONFIG-...
            for a pipeline that is not configured: there is no DAG to start.
    """
    make = _PROPOSALS.get(action)
    if make is None:
        raise ConfigError("E-PAGE-ACTION", name, f"nothing is called {quote(action)}", did_you_mean(action, _PROPOSALS))
    return make(home, load_pipeline(name, home.config), given)


def _run(home: Home, pipeline: Pipeline, given: Given) -> Proposal:
    key = pipeline.parse(given.get("partition", "")).key
    running = [row["step"] for row in ledger_of(home).attempts(pipeline.name, key) if row["state"] == "running"]
    says = (
        f"Airflow starts {pipeline.name}__daily for {key}: from the source file to released scores and the drift "
        "decision.",
        "Steps whose input has not changed since say 'unchanged' and are done in a moment. What is released now stays "
        "readable until the new scores have passed the audit.",
        *(
            (f"It seems to be at work already, at '{running[-1]}'. Two runs do no harm, and no good.",)
            if running
            else ()
        ),
    )
    return Proposal(
        pipeline.name,
        "run",
        f"{pipeline.name}__daily",
        f"Run {key} again",
        f"Run {key}",
        says,
        addresses.partition(pipeline.name, key),
        settled={"partition": key},
        partition=key,
    )


def _retract(home: Home, pipeline: Pipeline, given: Given) -> Proposal:
    key = pipeline.parse(given.get("partition", "")).key
    released = [row for row in ledger_of(home).releases(pipeline.name, key) if row["state"] == "released"]
    rows = released[-1]["row_count"] if released else 0
    return Proposal(
        pipeline.name,
        "retract",
        f"{pipeline.name}__retract",
        f"Take the scores of {key} back",
        "Take these scores back",
        (
            f"{rows:,} scores of {key} become unreadable for everybody who reads the exports, until the partition is "
            "released again. The files and the history stay.",
            "Running the same partition again with the same data and model does not bring the same scores back: they "
            "stay retracted until something about them changes.",
        ),
        addresses.partition(pipeline.name, key),
        settled={"partition": key},
        questions=(_reason("Why are they taken back?"),),
        conf={"partition": key},
        refusal="" if released else f"Nothing is released of {key}, so there is nothing to take back.",
    )


def _retrain(home: Home, pipeline: Pipeline, given: Given) -> Proposal:  # noqa: ARG001
    asks = pipeline.training is not None and pipeline.retrain.approve != "auto"
    end = (
        "Somebody may be asked to agree (in Airflow: Browse, Required Actions)."
        if asks
        else "If it passes every check of the gate, it becomes the champion for partitions that were not scored yet."
    )
    return Proposal(
        pipeline.name,
        "retrain",
        f"{pipeline.name}__retrain",
        f"Train {pipeline.name} again now",
        "Retrain now",
        (
            "A challenger learns from everything up to the newest accepted partition and is compared with the champion "
            f"on the same newest labelled rows. {end}",
            "If it does not pass, the champion stays. Released scores stay as they are in any case.",
        ),
        addresses.pipeline(pipeline.name),
        refusal=_untrained(pipeline),
    )


def _backfill(home: Home, pipeline: Pipeline, given: Given) -> Proposal:
    known = ledger_of(home).ends(pipeline.name)
    first, last = given.get("first", known[0] or ""), given.get("last", known[1] or "")
    return Proposal(
        pipeline.name,
        "backfill",
        f"{pipeline.name}__daily",
        f"Run many partitions of {pipeline.name}",
        "Start the backfill",
        (
            f"Airflow runs {pipeline.name}__daily once for each {pipeline.partition} from the first to the last, "
            f"{AT_ONCE} at a time. Where nothing has changed since, a partition is done in a moment.",
            "A past partition is scored with the champion of its time, and a backfill never changes the champion.",
        ),
        addresses.pipeline(pipeline.name),
        questions=(
            Question("first", f"First {pipeline.partition}", f"written like {pipeline.first_partition().key}", first),
            Question("last", f"Last {pipeline.partition}", "this one is run, too", last),
            Question(WHICH, "Which of them", "", "none", choices=_WHICH),
        ),
    )


def _replay(home: Home, pipeline: Pipeline, given: Given) -> Proposal:
    version = _version(home, pipeline, given)
    return Proposal(
        pipeline.name,
        "replay",
        f"{pipeline.name}__replay",
        f"Replay version {version}",
        "Replay this version",
        (
            f"Version {version} is trained once more from what was recorded of it: the same versions of the tables, "
            "settings and seed. Its files and scores are then compared with the registered ones.",
            "Nothing is changed, whatever comes out. It takes about as long as the training did.",
        ),
        addresses.version(pipeline.name, version),
        settled={"version": str(version)},
        conf={"version": version},
        refusal=_untrained(pipeline),
    )


def _rollback(home: Home, pipeline: Pipeline, given: Given) -> Proposal:
    version = _version(home, pipeline, given)
    history = [row["version"] for row in ledger_of(home).champions(pipeline.name)]
    now = history[-1] if history else None
    return Proposal(
        pipeline.name,
        "rollback",
        f"{pipeline.name}__rollback",
        f"Make version {version} the champion again",
        f"Put version {version} back",
        (
            f"Version {version} takes the place of version {now}: it scores every partition that was not scored yet.",
            f"Scores that are released already stay as they are, also those of version {now}: each partition keeps "
            "the champion of its time. What must not be read any more can be taken back on its page.",
            "Your name and the reason are kept in the history. The next retrain has to beat this version.",
        ),
        addresses.version(pipeline.name, version),
        settled={"version": str(version)},
        questions=(_reason("Why does it come back?"),),
        conf={"version": version},
        refusal=_not_earlier(version, history),
    )


_PROPOSALS: dict[str, Callable[[Home, Pipeline, Given], Proposal]] = {
    "run": _run,
    "retract": _retract,
    "retrain": _retrain,
    "backfill": _backfill,
    "replay": _replay,
    "rollback": _rollback,
}
ACTIONS = tuple(_PROPOSALS)


def _reason(label: str) -> Question:
    return Question(REASON, label, "one sentence; it is kept with the change", shortest=_SHORTEST_REASON)


def _version(home: Home, pipeline: Pipeline, given: Given) -> int:
    """The version that the address names; raises ModelError E-MODEL-UNKNOWN when it was never registered."""
    text = given.get("version", "")
    if not text.isascii() or not text.isdecimal() or len(text) > _MOST_DIGITS:
        raise ConfigError("E-PAGE-VERSION", pipeline.name, f"a version must be a number, got {quote(text)}")
    return int(ledger_of(home).model(pipeline.name, int(text))["version"])


def _not_earlier(version: int, history: list[int]) -> str:
    if history and history[-1] == version:
        return f"Version {version} is the champion already."
    if version not in history:
        return f"Version {version} was never the champion; only an earlier champion can be put back."
    return ""


def _untrained(pipeline: Pipeline) -> str:
    return "" if pipeline.training else f"{pipeline.name} trains no model."
