"""The morning page: what happened, which model is live and why, what was refused, what drifted, what to do.

From the ledger only, so it is quick; self-contained HTML without scripts or addresses on the network. The same ledger
gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipelines.home import Home
from pipelines.report.status import pipelines_known, status
from pipelines.storage.durable import write_bytes

MOST_PARTITIONS = 60
_MOST_RETRAINS = 12


def write_page(home: Home, name: str | None = None) -> Path:
    """Writes reports/index.html and a page for each pipeline (or only for `name`); returns the index."""
    templates = Environment(
        loader=PackageLoader("pipelines.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    known = [status(home, pipeline, MOST_PARTITIONS) for pipeline in pipelines_known(home)]
    shown = [described(home, one) for one in known if one["partitions"] or one["models"]]
    for one in shown:
        if name in (None, one["pipeline"]):
            text = templates.get_template("pipeline.html.j2").render(one=one)
            write_bytes(home.reports(one["pipeline"]) / "index.html", text.encode())
    index = home.root / "reports" / "index.html"
    index.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(index, templates.get_template("index.html.j2").render(pipelines=shown).encode())
    return index


def described(home: Home, one: dict[str, Any]) -> dict[str, Any]:
    """A status with what the page adds: words for the last night, what to do, links that exist, bars, the curve."""
    folder = home.reports(one["pipeline"])
    (folder).mkdir(parents=True, exist_ok=True)
    largest = max((row["read"] or 0 for row in one["partitions"]), default=0) or 1
    partitions = [row | {"links": _links(folder, row), "bars": _bars(row, largest)} for row in one["partitions"]]
    newest = partitions[0] if partitions else None
    return one | {
        "partitions": partitions,
        "newest": newest,
        "todo": todo(one),
        "gates": [_gate(row) for row in one["gates"][:_MOST_RETRAINS]],
        "retrains": [row for row in one["retrains"][:_MOST_RETRAINS] if row["error"]],
        "curve": curve(one),
        "mlflow": home.mlflow_uri,
        "exports": f"../../exports/{one['pipeline']}",
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
    if one["partitions"] and one["champion"] is None:
        steps.append("there is no champion yet: the monitor asks for a first model once enough labels have matured")
    return steps


def curve(one: dict[str, Any]) -> dict[str, Any] | None:
    """Rows read per partition, oldest first, as points of an SVG line 100 wide and 24 high; None below two points.

    Champion changes are marked at the first partition that the new champion scores.
    """
    days = [row for row in reversed(one["partitions"]) if row["read"] is not None]
    if len(days) < 2:
        return None
    top = max(row["read"] for row in days) or 1
    step = 100 / (len(days) - 1)
    points = [(round(index * step, 2), round(22 - 20 * row["read"] / top, 2)) for index, row in enumerate(days)]
    position = {row["partition"]: point[0] for row, point in zip(days, points, strict=True)}
    changes = [
        {"x": position[change["since"][:10]], "text": f"version {change['version']} since {change['since'][:10]}"}
        for change in one["champions"]
        if change["since"][:10] in position
    ]
    return {
        "points": " ".join(f"{x},{y}" for x, y in points),
        "changes": changes,
        "first": days[0]["partition"],
        "last": days[-1]["partition"],
        "top": top,
    }


def _links(folder: Path, row: dict[str, Any]) -> list[tuple[str, str]]:
    """(text, relative address) of the reports that were written for this partition."""
    key = row["partition"]
    candidates = [("checks", f"data_docs/{key}.html"), ("drift report", f"drift/{key}.html")]
    return [(text, address) for text, address in candidates if (folder / address).exists()]


def _bars(row: dict[str, Any], largest: int) -> list[tuple[str, float]]:
    """(kind, width in percent of the largest partition) for the stacked bar of a partition's rows."""
    kinds = ("clean", "quarantined", "duplicate")
    return [(kind, round(100 * (row[kind] or 0) / largest, 2)) for kind in kinds if row[kind]]


def _gate(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"checks": row["numbers"].get("checks", [])}
