"""The errors a user meets, in one form: `E-<AREA>-<NAME> <where>: <what>. <what to do>`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_MOST_EXAMPLES = 5
_LONGEST_VALUE = 80
_LONGEST_SHAPE = 40
_QUOTED = re.compile(r"""'[^']*'|"[^"]*"|`[^`]*`""")
_NUMBER = re.compile(r"(?<![A-Za-z_])\d[\d.,:eE+-]*\d")
_OF_CODE = (AttributeError, NameError, ImportError)  # they quote names of the code
# Where libraries begin to repeat what they were given: SQLAlchemy its statement, pydantic its input.
_GIVEN = re.compile(r"\[SQL:|\[parameters:|input_value=")


class NightshiftError(Exception):
    """One problem with its code, place and remedy.

    `retryable` tells the orchestrator whether the same call may succeed later: bad data, bad configuration and
    refused models are final, trouble with storage or the network is not.

    `repeat` names the step to do again once that is repaired. The text leaves it out: in Airflow one clears a task, in
    a terminal one runs a command, and whoever shows the error says what fits there.
    """

    retryable = False

    def __init__(self, code: str, where: str, what: str, fix: str = "", repeat: str = "") -> None:
        self.code, self.where, self.what, self.fix, self.repeat = code, where, what, fix, repeat
        super().__init__(f"{code} {where}: {what.rstrip('.')}." + (f" {fix}" if fix else ""))

    def __reduce__(self) -> tuple[type[NightshiftError], tuple[str, str, str, str, str]]:
        return type(self), (self.code, self.where, self.what, self.fix, self.repeat)


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


def shape(value: object, most: int = _LONGEST_SHAPE) -> str:
    """What an error or a log may show of a value of a row: 'Ann-17' as 'Xxx-99'; cut after `most` characters."""
    text = re.sub(r"[^\W\d_]", lambda match: "X" if match[0].isupper() else "x", re.sub(r"\d", "9", str(value)))
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"


def shapes(values: Iterable[object]) -> str:
    """As `names`, of values of rows: only their shapes, each shape once."""
    return names(dict.fromkeys(shape(value) for value in values))


def without_values(error: BaseException) -> str:
    """The text of an error that is not ours, fit for a log: libraries quote the values that they stumble over.

    The first line, without what follows `[SQL:` and the like; what stands in quotes and longer numbers by their shape.
    """
    line = _GIVEN.split(str(error).strip(), maxsplit=1)[0].partition("\n")[0].strip()
    if not isinstance(error, _OF_CODE):
        line = _QUOTED.sub(lambda match: f"{match[0][0]}{shape(match[0][1:-1])}{match[0][-1]}", line)
    return f"{type(error).__name__}: {_NUMBER.sub(lambda match: shape(match[0]), line)[:500]}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`Did you mean 'x'?` for the nearest known word, or the empty string."""
    nearest = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"Did you mean '{nearest[0]}'?" if nearest else ""
