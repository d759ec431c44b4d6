"""scikit-learn objects as skops bytes that repeat, loaded only with types that reviewed code allows."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Sequence
from typing import Any

from pipelines.errors import ModelError, names

_ID = re.compile(r'"__id__": (\d+)')


def dump(fitted: Any) -> bytes:
    """The object's skops file. Equal objects give equal bytes.

    skops writes memory addresses as ids and file names, and the time into the zip; both are replaced here.
    """
    import skops.io

    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(fitted))) as written:
        schema = written.read("schema.json").decode()
        number = {address: str(index) for index, address in enumerate(dict.fromkeys(_ID.findall(schema)), start=1)}
        parts = {_renamed(name, number): written.read(name) for name in written.namelist() if name != "schema.json"}
    schema = _ID.sub(lambda found: f'"__id__": {number[found.group(1)]}', schema)
    schema = re.sub(
        r'"(\d+)(\.np[yz])"', lambda found: f'"{_renamed(found.group(1) + found.group(2), number)}"', schema
    )
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in sorted({**parts, "schema.json": schema.encode()}.items()):
            target.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return sink.getvalue()


def load(content: bytes, where: str, trusted: Sequence[str]) -> Any:
    """Raises ModelError E-MODEL-UNSAFE when the file holds a type that is neither skops' default nor `trusted`."""
    import skops.io

    unknown = sorted(set(skops.io.get_untrusted_types(data=content)) - set(trusted))
    if unknown:
        raise ModelError("E-MODEL-UNSAFE", where, f"holds types that are not allowed: {names(unknown)}", "Not loaded.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return skops.io.loads(content, trusted=list(trusted))


def _renamed(name: str, number: dict[str, str]) -> str:
    stem, dot, ending = name.partition(".")
    return f"{number.get(stem, stem)}{dot}{ending}"
