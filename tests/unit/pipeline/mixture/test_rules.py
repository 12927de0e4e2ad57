"""Shares from sizes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.mixture import rules

SIZES = st.lists(st.integers(1, 10**9), min_size=1, max_size=30).map(
    lambda sizes: np.array(sizes, dtype=np.float64)
)


@given(SIZES, st.floats(1, 1000))
def test_temperature_leads_from_proportional_to_even(sizes: np.ndarray, value: float) -> None:
    np.testing.assert_allclose(rules.temperature(sizes, 1), rules.proportional(sizes))
    np.testing.assert_allclose(rules.temperature(sizes, 1e9), 1 / len(sizes), rtol=1e-6)
    flattened = rules.temperature(sizes, value)
    assert flattened.sum() == pytest.approx(1)
    assert flattened.max() <= rules.proportional(sizes).max() + 1e-12


@given(SIZES, st.floats(0.1, 5), st.floats(0.05, 1))
def test_unimax_is_even_but_for_those_at_their_cap(
    sizes: np.ndarray, max_epochs: float, part: float
) -> None:
    room = sizes * max_epochs
    budget = room.sum() * part
    taken = rules.unimax(sizes, budget, room) * budget
    assert taken.sum() == pytest.approx(budget)
    assert (taken <= room * (1 + 1e-9)).all()
    free = taken < room * (1 - 1e-9)
    if free.any():
        np.testing.assert_allclose(taken[free], taken.max())


def test_a_cap_beyond_all_sizes_changes_nothing() -> None:
    sizes = np.array([5.0, 10.0, 85.0])
    np.testing.assert_allclose(rules.size_capped(sizes, 1000), [0.05, 0.1, 0.85])
    np.testing.assert_allclose(rules.size_capped(sizes, 5), [1 / 3] * 3)


def test_the_first_pattern_that_matches_has_the_source() -> None:
    names, sizes = ["a-raw", "b-raw", "c-augmented"], np.array([10.0, 30.0, 5.0])
    shares = rules.ratio(names, sizes, {"b-*": 1, "*-raw": 1, "*": 2})
    np.testing.assert_allclose(shares, [0.25, 0.25, 0.5])
    np.testing.assert_allclose(rules.repeated(names, sizes, {"*-raw": 2, "*": 9}), [20, 60, 45])
