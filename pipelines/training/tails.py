"""Critical values of a studentised gain, far out in the tail, from a few thousand resamples."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

_NORMAL = NormalDist()


class Tail:
    """Quantiles of studentised misses `(b,)`; the normal distribution's are never undercut.

    Where resamples are too few to reach so far out (fewer than one in b), the last quantile that they reach is carried
    on as the normal tail goes on: by the same factor.
    """

    def __init__(self, missed: np.ndarray) -> None:
        self._sorted = np.sort(missed)

    def above(self, alpha: float) -> float:
        """What a gain exceeds by chance alone with probability `alpha`."""
        return _critical(self._sorted, alpha)

    def below(self, alpha: float) -> float:
        """By how much a gain falls short by chance alone with probability `alpha`; positive."""
        return _critical(-self._sorted[::-1], alpha)

    def p_below(self, found: float) -> float:
        """The chance of so low a studentised gain, at least that of a normal one."""
        lower = int(np.searchsorted(self._sorted, found, "right"))
        return max((lower + 1) / (len(self._sorted) + 1), _NORMAL.cdf(found))


def _critical(ascending: np.ndarray, alpha: float) -> float:
    """The order statistic that one more draw exceeds with probability `alpha` (Davison & Hinkley 1997, 2.3)."""
    places = int(alpha * (len(ascending) + 1))
    normal = -_NORMAL.inv_cdf(alpha)
    if places >= 1:
        return max(float(ascending[-places]), normal)
    reached = -_NORMAL.inv_cdf(1 / (len(ascending) + 1))
    return max(float(ascending[-1]) / reached, 1.0) * normal
