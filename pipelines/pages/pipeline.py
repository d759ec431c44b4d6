"""One pipeline: its partitions, quality, drift, decisions and releases."""

from __future__ import annotations

from pipelines.home import Home
from pipelines.pages.rendering import render
from pipelines.report.page import MOST_PARTITIONS, described
from pipelines.report.status import status


def page(home: Home, name: str) -> str:
    return render("pipeline_page", way=[], one=described(home, status(home, name, MOST_PARTITIONS)))
