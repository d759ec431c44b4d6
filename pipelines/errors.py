"""The errors a user meets, in one form: `E-<AREA>-<NAME> <where>: <what>. <what to do>`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST_EXAMPLES = 5
_LONGEST_VALUE = 80


class NightshiftError(Exception):
    """One problem with its code, place and remedy.

    `retryable` tells the orchestrator whether the same call may succeed later: bad data, bad configuration and
    refused models are final, trouble with storage or the network is not.
    """

    retryable = False

    def __init__(self, code: str, where: str, what: str, fix: str = "") -> None:
        self.code, self.where, self.what, self.fix = code, where, what, fix
        super().__init__(f"{code} {where}: {what.rstrip('.')}." + (f" {fix}" if fix else ""))

    def __reduce__(self) -> tuple[type[NightshiftError], tuple[str, str, str, str]]:
        return type(self), (self.code, self.where, self.what, self.fix)


class ConfigError(NightshiftError, ValueError):
    """The configuration is wrong; nothing was run."""


class DataError(NightshiftError, ValueError):
    """The data broke a rule; nothing of this step was published."""


class ModelError(NightshiftError, RuntimeError):
    """A model could not be trained, trusted or used; the champion stays."""


class StorageError(NightshiftError, OSError):
    """A file system, object store or database did not do what was asked; worth another try."""

    retryable = True


class ResourceError(NightshiftError, RuntimeError):
    """A step took more time or memory than its 'resources' give; the next attempt may do with less."""

    retryable = True


class ExhaustedError(ResourceError):
    """A step ran out of memory again although it worked with less: only other resources help."""

    retryable = False


def quote(value: object) -> str:
    """`'value'`, cut to 80 characters and with control characters escaped, fit for an error message."""
    text = str(value)
    text = text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."
    return "'" + text.encode("unicode_escape").decode("ascii") + "'" if not text.isprintable() else f"'{text}'"


def names(values: Iterable[object]) -> str:
    """At most five quoted examples, comma separated, with a count of the rest."""
    items = [quote(value) for value in values]
    rest = len(items) - _MOST_EXAMPLES
    return ", ".join(items[:_MOST_EXAMPLES]) + (f" and {rest} more" if rest > 0 else "")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`Did you mean 'x'?` for the nearest known word, or the empty string."""
    nearest = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"Did you mean '{nearest[0]}'?" if nearest else ""
