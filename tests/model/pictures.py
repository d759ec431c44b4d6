"""Pictures for tests: stripes or dots, whose mean brightness tells nothing, and some rows without a picture."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
from PIL import Image

SIZE = 16


def stripes_or_dots(rows: int, seed: int, missing: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`(rows, SIZE, SIZE)` uint8, the answers (1: stripes, 0: dots), and which rows have a picture.

    The pattern fills a square of 8 pixels at a random place, on noise. Both patterns are half white, and each is drawn
    with either of its two phases, so that no single pixel tells them apart.
    """
    random = np.random.default_rng(seed)
    pictures = random.integers(0, 60, (rows, SIZE, SIZE))
    answers = random.integers(0, 2, rows)
    across, down = np.meshgrid(np.arange(8), np.arange(8))
    for row, answer in enumerate(answers):
        phase, top, left = random.integers(0, 2), *random.integers(0, SIZE - 8, 2)
        pattern = across // 2 % 2 if answer else (across // 2 + down // 2) % 2
        pictures[row, top : top + 8, left : left + 8] = np.where(pattern == phase, 220, 40)
    return pictures.astype(np.uint8), answers, random.uniform(size=rows) >= missing


def column(pictures: np.ndarray, present: np.ndarray | None = None) -> pa.Array:
    """As the tables hold them: pixels, null without one."""
    here = np.ones(len(pictures), bool) if present is None else present
    return pa.array([one.tobytes() if there else None for one, there in zip(pictures, here, strict=True)], pa.binary())


def png(picture: np.ndarray) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(picture).save(sink, "PNG")
    return sink.getvalue()
