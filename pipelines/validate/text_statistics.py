"""What texts look like: lengths, kinds of characters, generalised patterns, and how unusual their letters follow."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_CLASSES = {"digits": r"\p{N}", "upper": r"\p{Lu}", "lower": r"\p{Ll}", "spaces": r"\s"}
_PATTERN = ((r"\p{Lu}+", "A"), (r"\p{Ll}+", "a"), (r"\p{N}+", "9"), (r"\s+", " "))
_PATTERN_CHARACTERS = 40
_MOST_TEXTS = 5_000  # distinct ones of which the peculiarity is computed, evenly spread over the sorted values


def text_statistics(values: pa.Array, counts: np.ndarray) -> dict[str, float]:
    """Statistics over rows of the distinct texts `values (n,)`, each occurring `counts (n,)` times.

    `length_*` in characters; `digits`, `upper`, `lower`, `spaces`, `other`: shares of all characters; `blank`: share
    of rows whose text is empty or white space; `peculiarity`: see `peculiarity`.
    """
    lengths = pc.utf8_length(values).to_numpy().astype(float)
    rows, characters = counts.sum(), max(float((lengths * counts).sum()), 1.0)
    mean = float((lengths * counts).sum() / rows)
    shares = {
        name: float((pc.count_substring_regex(values, pattern).to_numpy() * counts).sum() / characters)
        for name, pattern in _CLASSES.items()
    }
    blank = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(values)), 0).to_numpy(zero_copy_only=False)
    return {
        "length_min": float(lengths.min()),
        "length_mean": mean,
        "length_max": float(lengths.max()),
        "length_std": float(np.sqrt((((lengths - mean) ** 2) * counts).sum() / rows)),
        **shares,
        "other": max(0.0, 1.0 - sum(shares.values())) if lengths.any() else 0.0,
        "blank": float(counts[blank].sum() / rows),
        "peculiarity": peculiarity(values, counts),
    }


def patterns_of(values: pa.Array, counts: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Generalised patterns and their rows: runs of capitals become `A`, of small letters `a`, of digits `9`."""
    shapes = values
    for pattern, replacement in _PATTERN:
        shapes = pc.replace_substring_regex(shapes, pattern, replacement)
    shapes = pc.utf8_slice_codeunits(shapes, 0, _PATTERN_CHARACTERS)
    encoded = shapes.dictionary_encode()
    rows = np.bincount(encoded.indices.to_numpy(), counts, len(encoded.dictionary))
    return encoded.dictionary.to_pylist(), rows.astype(np.int64)


def peculiarity(values: pa.Array, counts: np.ndarray) -> float:
    """The mean index of peculiarity of the texts (Morris and Cherry 1975), letters in lower case.

    Of three letters xyz it is (log n(xy) + log n(yz)) / 2 - log n(xyz) with n counted over the rows of the column;
    of a text the root of the mean square over its triples. A typing error makes triples that nothing else has.
    """
    step = max(1, -(-len(values) // _MOST_TEXTS))
    chosen = np.arange(0, len(values), step)
    texts, weights = pc.utf8_lower(values.take(pa.array(chosen))).to_pylist(), counts[chosen].astype(float)
    codes = np.frombuffer("\0".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    owner = np.repeat(np.arange(len(texts)), [len(text) + 1 for text in texts])[: len(codes)]
    is_pair, is_triple = owner[:-1] == owner[1:], owner[:-2] == owner[2:]
    separators = np.cumsum([len(text) + 1 for text in texts])[:-1] - 1  # each counts as the end of the text before it
    is_pair[separators[separators >= 1] - 1] = False
    is_triple[separators[separators >= 2] - 2] = False
    if not is_triple.any():
        return 0.0
    alphabet, letters = np.unique(codes, return_inverse=True)
    size, of_row = len(alphabet), weights[owner]
    pairs = letters[:-1] * size + letters[1:]
    pair_counts = _counted(pairs, np.where(is_pair, of_row[:-1], 0.0))
    triple_counts = _counted((pairs[:-1] * size + letters[2:])[is_triple], of_row[:-2][is_triple])
    first, second = pair_counts[:-1][is_triple], pair_counts[1:][is_triple]
    index = (np.log(first) + np.log(second)) / 2 - np.log(triple_counts)
    owners = owner[:-2][is_triple]
    squares, triples = np.bincount(owners, index**2), np.bincount(owners)
    has = triples > 0
    per_text = np.sqrt(squares[has] / triples[has])
    return float((per_text * weights[: len(triples)][has]).sum() / weights[: len(triples)][has].sum())


def _counted(keys: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """For each key how often it occurs, by weight."""
    _, place = np.unique(keys, return_inverse=True)
    return np.bincount(place, weights)[place]
