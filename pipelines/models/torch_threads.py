"""How many threads PyTorch computes with. On a CPU the order of a sum, and with it its last bits, changes with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """So many threads within, and as many as before afterwards."""
    before = torch.get_num_threads()
    if threads == before:  # untouched, so that requests that a server answers at once do not undo each other's
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
