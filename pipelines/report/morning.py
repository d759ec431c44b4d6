"""The morning report: one HTML file per night that can be mailed, with the same facts as JSON and Parquet beside it.

`reports/mornings/<night>.html`, and `reports/index.html` for the newest night. From the ledger only; no script, nothing
from the network, links relative to the file. The same ledger gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipelines.home import Home
from pipelines.report.morning_facts import morning_facts
from pipelines.storage.files import Files

FOLDER = "mornings"
MOST_BYTES = 1_000_000
_NOTE_BYTES = 6_000  # at most, of the words that name what was cut
_UP = "../"  # from a report to the folder of all reports


def write_morning(home: Home, night: str | None = None) -> str:
    """Writes the report of this night (by default the newest, which is the index, too); returns where it lies."""
    files, facts = home.files("reports"), morning_facts(home, night)
    text = page(files, facts)
    if facts["is_newest"]:
        files.write("index.html", text.replace(f'href="{_UP}', 'href="').encode())
    if facts["night"] is None:
        return files.address("index.html")
    name = f"{FOLDER}/{facts['night']}"
    files.write(f"{name}.html", text.encode())
    files.write(f"{name}.json", json.dumps(facts, indent=1, ensure_ascii=False).encode())
    files.write(f"{name}.parquet", rows(facts))
    return files.address(f"{name}.html")


def page(files: Files, facts: Mapping[str, Any]) -> str:
    """The HTML, below 1 MB: pipelines without anything to do lose their section first, and the page says which."""
    template = _templates().get_template("morning_pipeline.html.j2")
    sections = {
        one["pipeline"]: template.render(one=one, drawing=_drawing(files, one, facts["is_newest"]), up=_UP)
        for one in facts["pipelines"]
    }
    sizes = {name: len(text.encode()) for name, text in sections.items()}
    frame = _framed(facts, sections={}, kept=set(sections))
    kept = fitting(facts["pipelines"], sizes, MOST_BYTES - _NOTE_BYTES - len(frame.encode()))
    return _framed(facts, {name: text for name, text in sections.items() if name in kept}, kept)


def _framed(facts: Mapping[str, Any], sections: Mapping[str, str], kept: set[str]) -> str:
    """The page around these sections: the overview links to those that are `kept` and names the others."""
    left_out = [one["pipeline"] for one in facts["pipelines"] if one["pipeline"] not in kept]
    template = _templates().get_template("morning.html.j2")
    return template.render(
        night=facts["night"],
        pipelines=facts["pipelines"],
        sections=list(sections.values()),
        kept=kept,
        left_out=left_out,
    )


def fitting(pipelines: Sequence[Mapping[str, Any]], sizes: Mapping[str, int], room: int) -> set[str]:
    """Names of the pipelines whose sections fit into `room` bytes together: those that need something come first."""
    order = sorted(pipelines, key=lambda one: (not one["needs"], not _happened(one), one["pipeline"]))
    kept: set[str] = set()
    for one in order:
        if sizes[one["pipeline"]] <= room:
            kept.add(one["pipeline"])
            room -= sizes[one["pipeline"]]
    return kept


def _happened(one: Mapping[str, Any]) -> bool:
    return bool(one["story"]) and bool(one["newest"]) and one["story"][0]["date"] >= one["newest"]["partition"]


def rows(facts: Mapping[str, Any]) -> bytes:
    """Parquet; grain: one partition of one pipeline, as the report's tables show them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    counts = ("read", "clean", "quarantined", "duplicate", "scored", "model")
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("night", "pipeline", "partition", "state")),
            *((name, pa.int64()) for name in counts),
            ("drift", pa.string()),
            ("is_stale", pa.bool_()),
            ("step", pa.string()),
            ("error", pa.string()),
        ]
    )
    found = [
        {"night": facts["night"], "pipeline": one["pipeline"], **{name: row.get(name) for name in schema.names[2:]}}
        for one in facts["pipelines"]
        for row in one["partitions"]
    ]
    target = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(found, schema=schema), target)
    return target.getvalue()


def _drawing(files: Files, one: Mapping[str, Any], is_newest: bool) -> str:
    """The SVG of the quality. Of the newest night it is kept: a drawing costs a tenth of a second, and each run of each
    pipeline writes the report anew."""
    quality = one["quality"]
    if quality is None:
        return ""
    digest = hashlib.sha256(json.dumps(quality).encode()).hexdigest()[:16]
    mark, name = f"<!-- {digest} -->", f"{one['pipeline']}/quality.svg"
    known = files.read(name) if is_newest else None
    if known is not None and known.startswith(mark.encode()):
        return known.decode().removeprefix(mark)
    from pipelines.report.plots import line

    told = "estimated" if quality["is_estimate"] else "on matured labels"
    svg = line(
        f"{quality['metric']}, {told}",
        quality["keys"],
        quality["values"],
        estimated=quality["estimated"],
        changes=quality["changes"],
    )
    if is_newest:
        files.write(name, (mark + svg).encode())
    return svg


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("pipelines.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
