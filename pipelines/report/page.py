"""The morning page: what happened, which model is live and why, what was refused, what drifted, what to do.

From the ledger only, so it is quick; self-contained HTML without scripts or addresses on the network. The same ledger
gives the same bytes.
"""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipelines.home import Home
from pipelines.report.charts import quality_curve, records_curve, row_bars
from pipelines.report.status import pipelines_known, status
from pipelines.report.story import story

MOST_PARTITIONS = 60
_MOST_RETRAINS = 12


def write_page(home: Home, name: str | None = None) -> str:
    """Writes reports/index.html and a page for each pipeline (or only for `name`); returns where the index lies."""
    templates = Environment(
        loader=PackageLoader("pipelines.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    known = [status(home, pipeline, MOST_PARTITIONS) for pipeline in pipelines_known(home)]
    shown = [described(home, one) for one in known if one["partitions"] or one["models"]]
    for one in shown:
        if name in (None, one["pipeline"]):
            text = templates.get_template("pipeline.html.j2").render(one=one)
            home.files("reports", one["pipeline"]).write("index.html", text.encode())
    text = templates.get_template("index.html.j2").render(pipelines=shown)
    home.files("reports").write("index.html", text.encode())
    return home.files("reports").address("index.html")


def described(home: Home, one: dict[str, Any]) -> dict[str, Any]:
    """A status with what the page adds: words for the last night, what to do, links that exist, bars, the curve."""
    written = {entry.name for entry in home.files("reports", one["pipeline"]).entries()}
    largest = max((row["read"] or 0 for row in one["partitions"]), default=0) or 1
    partitions = [row | {"links": _links(written, row), "bars": row_bars(row, largest)} for row in one["partitions"]]
    newest = partitions[0] if partitions else None
    return one | {
        "partitions": partitions,
        "newest": newest,
        "todo": todo(one),
        "gates": [_gate(row) for row in one["gates"][:_MOST_RETRAINS]],
        "retrains": [row for row in one["retrains"][:_MOST_RETRAINS] if row["error"]],
        "notes": notes(one),
        "cards": _cards(written),
        "story": story(one),
        "records": records_curve(one),
        "quality": quality_curve(one),
        "mlflow": home.mlflow_uri,
        "exports": home.files("exports", one["pipeline"]).root,
    }


def todo(one: dict[str, Any]) -> list[str]:
    """What somebody should do now, most urgent first; empty when the answer is nothing."""
    name, steps = one["pipeline"], []
    for row in one["partitions"]:
        if row["error"]:
            steps.append(f"{row['partition']} stopped at {row['step']}: {row['error']}")
    stale = [row["partition"] for row in one["partitions"] if row["is_stale"]]
    if stale:
        steps.append(
            f"{len(stale)} partition(s) were built from inputs that changed since ({min(stale)} to {max(stale)}): "
            f"nightshift run {name} --from {min(stale)} --to {max(stale)}"
        )
    if one["retrains"] and one["retrains"][0]["error"]:
        steps.append(f"the last retrain stopped at {one['retrains'][0]['step']}: {one['retrains'][0]['error']}")
    return steps


def notes(one: dict[str, Any]) -> list[str]:
    """What explains the state without asking for anything."""
    if one["partitions"] and one["champion"] is None:
        return ["There is no champion yet: the monitor asks for a first model once enough labels have matured."]
    found = [f"In shadow: {one['shadow']['text']}."] if one["shadow"] else []
    return found + _watched(one["partitions"])


def _watched(partitions: list[dict[str, Any]]) -> list[str]:
    """What the monitor thinks of the newest partition that it has seen, unless that is nothing."""
    newest = next((row for row in partitions if row["drift"]), None)
    if newest is None or newest["drift"] not in ("WATCH", "RETRAIN") or not newest["drift_reasons"]:
        return []
    return [f"The monitor says {newest['drift']} of {newest['partition']}: {newest['drift_reasons'][0]}"]


def _links(written: set[str], row: dict[str, Any]) -> list[tuple[str, str]]:
    """(text, relative address) of the reports that were written for this partition."""
    key = row["partition"]
    candidates = [("checks", f"data_docs/{key}.html"), ("drift report", f"drift/{key}.html")]
    return [(text, address) for text, address in candidates if address in written]


def _cards(written: set[str]) -> dict[int, str]:
    """Version to relative address of its model card."""
    pages = (name for name in written if name.startswith("models/") and name.endswith(".html"))
    numbers = (name.removeprefix("models/").removesuffix(".html") for name in pages)
    return {int(number): f"models/{number}.html" for number in numbers if number.isdecimal()}


def _gate(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"checks": row["numbers"].get("checks", [])}
