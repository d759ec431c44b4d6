"""Templates of the live pages; they share frame, colours and words with the written reports."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from pipelines.pages import addresses
from pipelines.report.figures import figure, seconds, size


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("pipelines.pages"), PackageLoader("pipelines.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["to"] = addresses
    environment.filters |= {"figure": figure, "size": size, "seconds": seconds}
    return environment


def render(template: str, **facts: Any) -> str:
    """The HTML of `templates/<template>.html.j2`; a fact that is missing is an error, never a blank."""
    return _templates().get_template(f"{template}.html.j2").render(**facts)
