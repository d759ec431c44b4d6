"""Distances between distributions, against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.monitoring.measures import jensen_shannon, psi, psi_noise, shares, wasserstein

COUNTS = st.lists(st.integers(0, 10_000), min_size=3, max_size=6)


def test_shares_add_half_a_row_to_each_bin() -> None:
    # (0 + .5, 3 + .5, 5 + .5) of 9.5
    assert shares([0, 3, 5]) == pytest.approx([0.5 / 9.5, 3.5 / 9.5, 5.5 / 9.5])


@pytest.mark.parametrize(
    ("reference", "current", "expected"),
    [
        pytest.param([10, 20, 70], [10, 20, 70], 0.0, id="equal counts"),
        # shares 0.25, 0.75 against 0.75, 0.25 (1.5 and 4.5 of 6): 2 * 0.5 * ln 3
        pytest.param([1, 4], [4, 1], math.log(3), id="swapped bins count twice"),
        # 0.5/6 against 5.5/6 in both bins: 2 * (5/6) * ln 11; finite although two bins are empty
        pytest.param([5, 0], [0, 5], 2 * 5 / 6 * math.log(11), id="no overlap stays finite"),
        pytest.param([5, 5], [0, 0], 0.0, id="nothing to compare"),
    ],
)
def test_psi_by_hand(reference: list[int], current: list[int], expected: float) -> None:
    assert psi(reference, current) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("reference", "current", "expected"),
    [
        pytest.param([3, 1], [30, 10], 0.0, id="equal shares, other sizes"),
        pytest.param([5, 0], [0, 9], 1.0, id="no overlap is exactly one"),
        # P=(1,0), Q=(.5,.5), M=(.75,.25): KL(P|M)=log2(4/3); KL(Q|M)=.5*log2(2/3)+.5*log2(2)
        pytest.param(
            [4, 0],
            [2, 2],
            math.sqrt((math.log2(4 / 3) + 0.5 * math.log2(2 / 3) + 0.5) / 2),
            id="half overlap",
        ),
    ],
)
def test_jensen_shannon_by_hand(reference: list[int], current: list[int], expected: float) -> None:
    assert jensen_shannon(reference, current) == pytest.approx(expected)


def test_wasserstein_is_the_area_between_the_cumulative_lines() -> None:
    # All of the reference in [0, 1), all of the current in [1, 2): two uniform blocks, one apart; spread 0.5.
    assert wasserstein([4, 0], [0, 4], [1.0], low=0.0, high=2.0, scale=0.5) == pytest.approx(1.0 / 0.5)


def test_wasserstein_of_a_constant_reference_is_zero_not_infinite() -> None:
    assert wasserstein([4, 0], [0, 4], [1.0], low=0.0, high=2.0, scale=0.0) == 0.0


@given(COUNTS, COUNTS)
def test_distances_are_symmetric_and_never_negative(left: list[int], right: list[int]) -> None:
    size = min(len(left), len(right))
    left, right = left[:size], right[:size]
    for measure in (psi, jensen_shannon):
        assert measure(left, right) == pytest.approx(measure(right, left), abs=1e-12)
        assert measure(left, right) >= -1e-12
    assert jensen_shannon(left, right) <= 1 + 1e-12


def test_psi_noise_bounds_chance_about_once_in_a_thousand() -> None:
    generator = np.random.default_rng(7)
    pairs = [
        (generator.multinomial(14_000, [0.1] * 10), generator.multinomial(1_000, [0.1] * 10)) for _ in range(4_000)
    ]
    above = sum(psi(reference, current) > psi_noise(14_000, 1_000, 10) for reference, current in pairs)
    assert 0 < above <= 12  # 4 expected; 0 would mean a bound so wide that it bounds nothing


def test_psi_noise_grows_as_partitions_shrink() -> None:
    assert psi_noise(14_000, 100, 10) > 0.25 > psi_noise(14_000, 1_000, 10)
