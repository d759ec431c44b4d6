"""Whether a request to change something comes from a page of this very server.

A browser signs each request in with its cookie, also one that a foreign page makes it send. `SameSite=Lax` keeps the
cookie off most of those; this is the rule that does not rely on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit


def is_from_here(headers: Mapping[str, str], base_url: str) -> bool:
    """`headers` by names in small letters; `base_url`: where this server is reached, behind a proxy, too.

    A program that brings its own token in `authorization` needs no page: a foreign page cannot send that. Of anything
    else the browser has to say where it comes from, which it does on every form.
    """
    if headers.get("authorization", "").lower().startswith("bearer "):
        return True  # not 'basic': a browser repeats a proxy's sign-in by itself, for foreign pages, too
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    origin = urlsplit(headers.get("origin", ""))
    return bool(origin.netloc) and origin.netloc in (headers.get("host", ""), urlsplit(base_url).netloc)
