"""Critical values of a studentised gain: order statistics, never below the normal distribution's, and far out."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from pipelines.training.bootstrap import resample
from pipelines.training.delong import delong
from pipelines.training.metrics import METRICS, metric
from pipelines.training.resampling import Gain, Units, draws
from pipelines.training.tails import Tail

NORMAL = NormalDist()


def test_the_order_statistic_that_one_more_draw_exceeds_with_this_chance():
    """999 values: one more lies above the 50th largest with probability 50 / 1000."""
    values = np.arange(1.0, 1000.0)
    assert Tail(values).above(0.05) == 950.0
    assert Tail(-values).below(0.05) == 950.0


def test_a_narrow_tail_is_not_believed():
    assert Tail(np.linspace(-0.1, 0.1, 999)).above(0.05) == pytest.approx(NORMAL.inv_cdf(0.95))


def test_beyond_the_resamples_a_tail_goes_on_as_the_normal_one():
    heavy = Tail(2 * np.array([NORMAL.inv_cdf((rank + 0.5) / 100) for rank in range(100)]))
    last = 2 * NORMAL.inv_cdf(0.995)
    expected = last / NORMAL.inv_cdf(1 - 1 / 101) * NORMAL.inv_cdf(0.9999)
    assert heavy.above(0.0001) == pytest.approx(expected)


def test_bounds_widen_with_confidence_also_beyond_the_resamples():
    scores = np.random.default_rng(4).random((2, 200))
    labels = (np.arange(200) % 4 == 0).astype(float)
    found = resample("roc_auc", labels, *scores, resamples=300, seed=1)
    bounds = [found.bounds(confidence) for confidence in (0.9, 0.95, 0.99, 0.999, 0.9999)]
    lower, upper = zip(*bounds, strict=True)
    assert list(lower) == sorted(lower, reverse=True)
    assert list(upper) == sorted(upper)


def test_a_loss_is_as_certain_as_its_bound_says():
    """p below 5 % just where the 95 % bound lies below the margin."""
    scores = np.random.default_rng(5).random((2, 200))
    labels = (np.arange(200) % 4 == 0).astype(float)
    found = resample("brier", labels, *scores, resamples=999, seed=1)
    upper = found.bounds(0.95)[1]
    assert found.p_worse(upper + 1e-3) <= 0.051 <= found.p_worse(upper - 2e-2)


@pytest.mark.parametrize("name", sorted(set(METRICS) - {"silhouette"}))
@pytest.mark.parametrize("is_grouped", [False, True], ids=["rows", "groups"])
def test_influence_is_what_a_little_more_weight_changes(name, is_grouped):
    """Central differences of the weighted gain, one unit at a time; scores with ties."""
    random = np.random.default_rng(3)
    labels = (np.arange(40) % 3 == 0).astype(float)
    one, other = np.round(random.random(40), 1), random.random(40)
    units = Units.of(labels, np.arange(40) // 4 if is_grouped else None)
    gain = Gain(name, labels, one, other, units)
    weights = random.integers(1, 4, (1, units.count)).astype(float)
    found = gain.influences(weights)[1][0]
    for place in range(0, units.count, 3):
        step = np.zeros_like(weights)
        step[0, place] = 1e-5
        up, down = (gain.influences(weights + sign * step)[0][0] for sign in (1, -1))
        assert found[place] == pytest.approx((up - down) / 2e-5, abs=1e-7)


def test_blocks_of_draws_are_poisson_and_the_seed_decides_them():
    found = np.concatenate(list(draws(1_000, 700, seed=2)))
    assert found.shape == (700, 1_000)
    assert found.mean() == pytest.approx(1.0, abs=0.01)
    assert found.var() == pytest.approx(1.0, abs=0.02)
    assert (found == 0).mean() == pytest.approx(np.exp(-1), abs=0.003)
    assert np.array_equal(found, np.concatenate(list(draws(1_000, 700, seed=2))))


def test_delong_worked_by_hand():
    """Positives 3, 1 and negatives 2, 0: of four pairs (3,2) (3,0) (1,0) are right, area 3/4.

    Placements of positives 1, 1/2, of negatives 1/2, 1: variances 1/8 each, over two rows: 1/16 + 1/16. A perfect
    model has area 1 and no variance, so the difference has the standard error sqrt(1/8).
    """
    labels = np.array([1.0, 1.0, 0.0, 0.0])
    found = delong(labels, np.array([3.0, 4.0, 2.0, 0.0]), np.array([3.0, 1.0, 2.0, 0.0]), 0.95)
    assert (found.difference, found.standard_error) == pytest.approx((0.25, np.sqrt(1 / 8)))
    assert found.p_value == pytest.approx(1 - NORMAL.cdf(0.25 / np.sqrt(1 / 8)))
    assert found.lower == pytest.approx(0.25 - NORMAL.inv_cdf(0.95) * np.sqrt(1 / 8))


def test_delong_and_the_influences_are_two_ways_to_one_error():
    random = np.random.default_rng(8)
    labels = (random.random(2_000) < 0.2).astype(float)
    one, other = np.round(labels + random.normal(size=(2, 2_000)), 1)
    found = delong(labels, one, other, 0.95)
    mine = resample("roc_auc", labels, one, other, resamples=20, seed=1)
    assert found.difference == pytest.approx(mine.gain)
    assert found.difference == pytest.approx(metric("roc_auc", labels, one) - metric("roc_auc", labels, other))
    assert found.standard_error == pytest.approx(mine.standard_error, rel=0.005)


def test_delong_without_two_rows_of_a_class_has_no_variance():
    assert delong(np.array([1.0, 0.0, 0.0]), np.arange(3.0), np.arange(3.0), 0.95) is None
