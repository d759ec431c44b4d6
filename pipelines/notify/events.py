"""Messages that do not wait for the morning: a failure, a new champion, a question, a night that is late."""

from __future__ import annotations

from pipelines.approvals import TIMEOUT
from pipelines.ledger import Row
from pipelines.notify.message import Message, first_reason, links
from pipelines.notify.safe import Safe


def failure_message(
    pipeline: str, partition: str, step: str, error: str, topic: str, dag: str, safe: Safe, base_url: str
) -> Message:
    """A task failed for good. `topic` tells failures apart; `dag`: which run it was, e.g. 'daily' or 'retrain'."""
    told = safe.error(error)
    is_ours = error.startswith("E-")
    todo = "repair what is named and clear the task" if is_ours else f"read the log of task '{step}' and clear it"
    return Message(
        kind="failure",
        topic=topic,
        pipeline=pipeline,
        partition=partition,
        mood="bad",
        title=f"{f'{pipeline} {partition}'.strip()}: {dag} failed at {step}",
        changed=(f"{step}: {told}",),
        todo=(todo,),
        links=links(base_url, pipeline, partition or None),
    )


def champion_message(pipeline: str, change: Row, previous: int | None, safe: Safe, base_url: str) -> Message:
    """A retrain changed the champion; the message's partition is the first that the new one scores."""
    version, partition = change["version"], f"{change['effective_from']:%Y-%m-%d}"
    instead = f", instead of version {previous}" if previous is not None else ""
    return Message(
        kind="champion",
        topic=f"champion {change['seq']}",
        pipeline=pipeline,
        partition=partition,
        mood="look",
        title=f"{pipeline}: version {version} is the champion from {partition} on",
        changed=(
            f"version {version} scores from {partition} on{instead}",
            f"why: {safe.text(change['reason'])}",
            f"decided by {change['actor']}",
        ),
        links=links(base_url, pipeline, None, [version]),
    )


def approval_message(pipeline: str, approval: Row, safe: Safe, base_url: str) -> Message:
    """Somebody is asked whether a version may be promoted, or nobody answered in time."""
    version, is_over = approval["model_version"], approval["outcome"] == TIMEOUT
    risks = tuple(f"risk: {safe.text(risk)}" for risk in approval["numbers"].get("risks") or ())
    title = f"nobody answered about version {version}" if is_over else f"may version {version} be promoted?"
    return Message(
        kind="approval",
        topic=f"approval {approval['outcome']} {approval['run_id']}",
        pipeline=pipeline,
        partition=approval["partition"],
        mood="look",
        title=f"{pipeline} {approval['partition']}: {title}",
        changed=(f"version {version} {first_reason(approval)}" if not is_over else first_reason(approval), *risks),
        todo=() if is_over else ("answer under Browse > Required Actions",),
        links=links(base_url, pipeline, None, [version] if version else []),
    )


def late_message(pipeline: str, partition: str, run_id: str, minutes: int, base_url: str) -> Message:
    """A daily run that takes longer than it should; it goes on."""
    return Message(
        kind="late",
        topic=f"late {run_id}",
        pipeline=pipeline,
        partition=partition,
        mood="look",
        title=f"{f'{pipeline} {partition}'.strip()}: late, not done after {minutes} minutes",
        changed=(f"the run began more than {minutes} minutes ago and still works or waits",),
        todo=("look which task runs or waits, and whether workers and stores are up",),
        links=links(base_url, pipeline, partition or None),
    )
