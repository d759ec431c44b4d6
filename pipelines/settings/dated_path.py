"""`{partition}` in a path: the partition's key, or its start in another form, as in `{partition:%Y%m%d}`."""

from __future__ import annotations

import re
from datetime import datetime

from pipelines.partitions import KEY_FORMAT, Grain

_PLACE = re.compile(r"\{partition(?::([^{}]*))?\}")
_CODE = re.compile(r"%(.?)", re.DOTALL)
# Digits alone, and alike in every language. What a form must hold so that two partitions never have one name:
_CODES = "YmdH"
_NEEDED: dict[Grain, str] = {"hour": "YmdH", "day": "Ymd", "week": "Ymd", "month": "Ym"}


def has_partition(path: str) -> bool:
    return _PLACE.search(path) is not None


def fill_partition(path: str, key: str, grain: Grain) -> str:
    """`path` for the partition that `key` names; forms are of its start in the pipeline's time zone."""
    start = datetime.strptime(key, KEY_FORMAT[grain])
    return _PLACE.sub(lambda match: start.strftime(match[1]) if match[1] else key, path)


def before_partition(path: str) -> str:
    """What is the same for all partitions, up to the first that differs."""
    return _PLACE.split(path, maxsplit=1)[0]


def form_problem(word: str, grain: Grain) -> str | None:
    """What is wrong with the inside of a `{...}`: None for `partition`, and for `partition:FORM` that tells each
    partition of this grain apart; the empty string where it does not speak of partitions."""
    if word == "partition":
        return None
    name, _, form = word.partition(":")
    if name != "partition":
        return ""
    codes = set(_CODE.findall(form))
    if strange := sorted(codes - set(_CODES)):
        return f"may hold %Y, %m, %d and %H, got '%{strange[0]}'"
    missing = [f"%{code}" for code in _NEEDED[grain] if code not in codes]
    return f"must tell each {grain} apart, but lacks {' and '.join(missing)}" if missing else None
