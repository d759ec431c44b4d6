"""The first page in the morning: every pipeline in one table."""

from __future__ import annotations

from collections.abc import Callable

from pipelines.home import Home
from pipelines.pages.rendering import render
from pipelines.report.page import described
from pipelines.report.status import pipelines_known, status


def page(home: Home, is_readable: Callable[[str], bool]) -> str:
    names = [name for name in pipelines_known(home) if is_readable(name)]
    return render("overview", way=[], pipelines=[described(home, status(home, name, 1)) for name in names])
