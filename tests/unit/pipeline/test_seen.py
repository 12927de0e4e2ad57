"""Exact deduplication."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.seen import SeenKeys


@given(st.lists(st.binary(max_size=3)))
def test_it_is_a_set(keys: list[bytes]) -> None:
    seen, model = SeenKeys(), set()
    for key in keys:
        assert (key in seen) == (key in model)
        seen.add(key)
        model.add(key)
