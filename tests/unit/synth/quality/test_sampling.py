"""The sample depends on what was seen, not on order or shards."""

import hashlib
import random

from hypothesis import given
from hypothesis import strategies as st

from synth.quality.sampling import ContentSample

KEYS = st.lists(st.binary(min_size=2, max_size=2), max_size=60)


def sample_of(keys: list[bytes], size: int) -> ContentSample:
    sample = ContentSample(size)
    for key in keys:
        sample.add(key, key.hex())
    return sample


@given(KEYS, st.integers(1, 10), st.randoms())
def test_the_smallest_keys_are_kept_in_any_order(
    keys: list[bytes], size: int, rng: random.Random
) -> None:
    expected = [key.hex() for key in sorted(set(keys))[:size]]
    assert sample_of(keys, size).values() == expected
    rng.shuffle(keys)
    assert sample_of(keys, size).values() == expected


@given(KEYS, KEYS, st.integers(1, 10))
def test_merging_is_sampling_the_union(first: list[bytes], second: list[bytes], size: int) -> None:
    merged = sample_of(first, size)
    merged.merge(sample_of(second, size))
    assert merged.values() == sample_of(first + second, size).values()


def test_memory_stays_flat() -> None:
    sample = ContentSample(10)
    for number in range(5000):
        sample.add(hashlib.blake2b(str(number).encode(), digest_size=8).digest(), str(number))
        assert len(sample._values) <= 21
    assert len(sample.values()) == 10
