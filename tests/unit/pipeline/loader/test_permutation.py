"""Computed permutations: each index once, and as random as one that is stored."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.loader.permutation import permute


@given(st.integers(1, 3000), st.integers(0, 2**64 - 1))
def test_every_index_once(size: int, key: int) -> None:
    found = permute(np.arange(size), size, key)
    np.testing.assert_array_equal(np.sort(found), np.arange(size))


@given(st.integers(1, 10**15), st.integers(0, 2**64 - 1))
def test_far_indices_stay_inside(size: int, key: int) -> None:
    indices = np.unique(np.array([0, size // 3, size // 2, size - 1]))
    found = permute(indices, size, key)
    assert len(np.unique(found)) == len(indices)
    assert found.min() >= 0
    assert found.max() < size


@pytest.mark.parametrize("size", [997, 4096, 50_000])
def test_it_is_as_random_as_a_shuffle(size: int) -> None:
    """Rank correlation with the identity, distances of neighbours, fixed points: as for a shuffle.

    Bounds are five standard deviations of a uniform permutation.
    """
    for key in range(8):
        found = permute(np.arange(size), size, key)
        correlation = np.corrcoef(found, np.arange(size))[0, 1]
        assert abs(correlation) < 5 / np.sqrt(size)
        neighbours = np.corrcoef(found[:-1], found[1:])[0, 1]
        assert abs(neighbours) < 5 / np.sqrt(size)
        distance = np.abs(np.diff(found)).mean() / size
        assert abs(distance - 1 / 3) < 5 * np.sqrt(1 / 18) / np.sqrt(size) * 1.5
        assert (found == np.arange(size)).sum() <= 1 + 5


def test_keys_give_unrelated_permutations() -> None:
    orders = np.array([permute(np.arange(2000), 2000, key) for key in range(12)])
    correlations = np.corrcoef(orders) - np.eye(12)
    assert np.abs(correlations).max() < 5 / np.sqrt(2000)
