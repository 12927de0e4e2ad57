"""Pseudo-random permutations of [0, n) that are computed, not stored.

A Feistel network permutes the next power of four; what falls outside [0, n) is sent through it
again until it lands inside (cycle walking), which keeps it a permutation. Any element takes the
same few operations, so that seeking in an epoch of 10^9 costs what the first step costs.
"""

import numpy as np

_ROUNDS = 6
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_WEYL = 0x9E3779B97F4A7C15


def permute(indices: np.ndarray, size: int, key: int) -> np.ndarray:
    """Where a permutation of [0, size) sends `indices`.

    Args:
        indices: (n,) integers in [0, size).
        size: length of the permutation, at least 1.
        key: chooses the permutation; any integer.

    Returns:
        (n,) int64, distinct for distinct indices.
    """
    half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
    keys = _round_keys(key)
    values = _feistel(np.asarray(indices, dtype=np.uint64), np.uint64(half_bits), keys)
    outside = np.flatnonzero(values >= size)
    while len(outside):
        values[outside] = _feistel(values[outside], np.uint64(half_bits), keys)
        outside = outside[values[outside] >= size]
    return values.astype(np.int64)


def _feistel(values: np.ndarray, half_bits: np.uint64, keys: list[np.uint64]) -> np.ndarray:
    mask = (np.uint64(1) << half_bits) - np.uint64(1)
    left, right = values >> half_bits, values & mask
    for key in keys:
        left, right = right, left ^ (_mix(right + key) & mask)
    return np.asarray((left << half_bits) | right)


def _mix(values: np.ndarray) -> np.ndarray:
    """SplitMix64's finalizer (Steele et al., 2014)."""
    values = (values ^ (values >> np.uint64(30))) * _MULTIPLIERS[0]
    values = (values ^ (values >> np.uint64(27))) * _MULTIPLIERS[1]
    return np.asarray(values ^ (values >> np.uint64(31)))


def _round_keys(key: int) -> list[np.uint64]:
    seeds = np.array(
        [(key + _WEYL * number) & (2**64 - 1) for number in range(1, _ROUNDS + 1)], dtype=np.uint64
    )
    return list(_mix(seeds))
