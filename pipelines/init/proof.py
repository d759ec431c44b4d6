"""A proposal is tried before it is shown: `nightshift check` on the texts, and ingest's readers on one partition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from pipelines.context import Context
from pipelines.errors import ConfigError
from pipelines.home import Home
from pipelines.ingest.reading import Feed, read_feed
from pipelines.ledger import Ledger
from pipelines.settings.loader import check_group, check_pipeline

_TRIED_BYTES = 300_000_000  # a larger file takes minutes to read as strictly as ingest does


@dataclass(frozen=True)
class Tried:
    """One partition as ingest reads it. `reasons`: why rows would go to quarantine, the most frequent first."""

    key: str
    read: int
    refused: int
    reasons: tuple[str, ...] = ()


def check_texts(name: str, texts: Mapping[str, str], folder: Path) -> Home:
    """A home in `folder` with these files (`config/...`, `expectations/...`).

    Raises:
        ConfigError: E-INIT-PROPOSAL, with every problem, when 'nightshift check' would not pass.
    """
    for place, text in texts.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    config = folder / "config"
    found = [str(problem) for problem in check_pipeline(name, config)[1]]
    groups = [Path(place).stem for place in texts if place.startswith("config/features/")]
    found += [str(problem) for group in groups for problem in check_group(group, config)[1]]
    found = found or _deeper(name, config)
    if found:
        what = "the proposal is not a valid pipeline:\n  " + "\n  ".join(found)
        raise ConfigError("E-INIT-PROPOSAL", name, what, "This is a defect: report it with the message.")
    return Home(folder / "home", config)


def _deeper(name: str, config: Path) -> list[str]:
    """What only steps can see: features, model, and each rule as Great Expectations builds it."""
    from pipelines.features.problems import feature_problems
    from pipelines.models.allowed import model_problems
    from pipelines.validate.suites import suite_problems

    pipeline, _ = check_pipeline(name, config)
    if pipeline is None:
        return []
    suite = config.parent / "expectations" / f"{pipeline.suite}.json"
    problems = suite_problems(suite, list(pipeline.source.columns), deep=True)
    return [*problems, *feature_problems(pipeline, config), *model_problems(pipeline)]


def try_partition(name: str, key: str, home: Home, path: str, size: int) -> Tried | None:
    """Reads one partition to scratch as ingest does, publishing nothing; None for a file that is too large to try.

    `path`: where the source lies, without variables.
    """
    if size > _TRIED_BYTES:
        return None
    pipeline, _ = check_pipeline(name, home.config)
    if pipeline is None:
        return None
    source = pipeline.source.model_copy(update={"path": path})
    pipeline = pipeline.model_copy(update={"source": source})
    ledger = Ledger(f"sqlite:///{home.root}-ledger.db")
    context = Context(pipeline, home, ledger, pipeline.parse(key), "init")
    feed = Feed("raw", "ingest", source, event_time=pipeline.event_time)
    reading = read_feed(context, feed, home.root / "tried", lambda _: False)
    spooled = reading.spooled if reading else None
    if spooled is None:
        return Tried(key, 0, 0)
    reasons = Counter(one for row in pq.read_table(spooled.rejects)["reasons"].to_pylist() for one in row)
    return Tried(key, spooled.read, spooled.quarantined, tuple(reason for reason, _ in reasons.most_common(3)))
