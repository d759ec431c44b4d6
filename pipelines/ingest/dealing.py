"""Rows without time, dealt out over partitions: which record of a snapshot belongs to which."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.settings.source import Column

_SEPARATOR = "\x1f"


class Dealer:
    """Which records belong to the partition, by a digest of their key, or of all columns but images without a key.

    So the same thing stands in the same partition whatever else the file holds, and copies of a row stand together:
    none of them is learnt from while another is judged. A record that cannot be read stands where the one before it
    stands (at the file's start: in the first partition), so that over all partitions each record is read exactly once.
    """

    def __init__(self, columns: Mapping[str, Column], key: Sequence[str], over: Sequence[str], partition: str) -> None:
        """`over`: keys of all partitions that get rows; `partition` is the one that is asked for."""
        self._by = list(key) or [name for name, column in columns.items() if column.type != "image"]
        self._over, self._wanted = len(over), list(over).index(partition) if partition in over else -1
        self._last = 0

    def belongs(self, typed: dict[str, pa.Array], at: np.ndarray, count: int) -> np.ndarray:
        """See `pipelines.ingest.spool.Membership`."""
        dealt = np.full(count, -1)
        dealt[at] = self._places(typed)
        latest = np.maximum.accumulate(np.where(dealt >= 0, np.arange(count), -1))
        places = np.where(latest >= 0, dealt[np.maximum(latest, 0)], self._last)
        self._last = int(places[-1]) if count else self._last
        return np.asarray(places == self._wanted)

    def _places(self, typed: dict[str, pa.Array]) -> np.ndarray:
        """`(n,)` numbers of the partitions of the typed rows; a missing value counts as one."""
        texts = [pc.fill_null(typed[name].cast(pa.string()), "\x00") for name in self._by]
        joined = pc.binary_join_element_wise(*texts, _SEPARATOR)
        return np.array([_number(text) % self._over for text in joined.to_pylist()], np.int64)


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
