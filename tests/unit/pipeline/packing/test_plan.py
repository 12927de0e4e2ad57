"""Best-fit-decreasing packing and rows laid out as planned."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.packing.plan import build_rows, plan_rows
from pipeline.rows import RowBlock

LENGTHS = st.lists(st.integers(0, 60), max_size=40)


@given(LENGTHS, st.integers(8, 32))
def test_every_token_exactly_once_and_no_needless_split(lengths: list[int], seq_len: int) -> None:
    rows = plan_rows(lengths, seq_len)
    assert all(sum(piece.length for piece in row) <= seq_len for row in rows)
    seen = [set() for _ in lengths]
    for piece in (piece for row in rows for piece in row):
        tokens = set(range(piece.start, piece.end))
        assert not seen[piece.document] & tokens
        seen[piece.document] |= tokens
        whole = piece.length == lengths[piece.document]
        assert whole or lengths[piece.document] > seq_len
    assert [len(tokens) for tokens in seen] == lengths


def test_best_fit_beats_the_order_of_arrival() -> None:
    rows = plan_rows([3, 11, 5, 4], 8)
    assert sorted(sorted(piece.length for piece in row) for row in rows) == [[3, 4], [3, 5], [8]]


@pytest.mark.parametrize(("num_documents", "bar"), [(4096, 0.002), (20_000, 0.001)])
def test_padding_at_realistic_sizes(num_documents: int, bar: float) -> None:
    lengths = np.random.default_rng(0).lognormal(6.2, 0.9, size=num_documents).astype(int) + 1
    rows = plan_rows(lengths.tolist(), 2048)
    assert 1 - lengths.sum() / (len(rows) * 2048) < bar


@given(LENGTHS.filter(any), st.integers(8, 32))
def test_rows_hold_what_was_planned(lengths: list[int], seq_len: int) -> None:
    starts = np.cumsum(lengths) - lengths
    documents = [
        np.arange(start + 1, start + 1 + length, dtype=np.uint16)
        for start, length in zip(starts, lengths, strict=True)
    ]
    plan = plan_rows(lengths, seq_len)
    block = build_rows(documents, plan, seq_len, 0, np.dtype(np.uint16))
    tokens = block.tokens[block.tokens > 0]
    assert sorted(tokens.tolist()) == list(range(1, sum(lengths) + 1))
    assert block.layout.segment_lengths.sum() == sum(lengths)
    assert not block.layout.span_counts.any()


def trained_tokens(block: RowBlock) -> list[list[int]]:
    """Tokens within the spans of each row."""
    at, found = 0, []
    for row, count in enumerate(block.layout.span_counts):
        spans = block.layout.spans[at : at + count]
        found.append([int(t) for start, end in spans for t in block.tokens[row, start:end]])
        at += int(count)
    return found


@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.lists(st.integers(0, 40), max_size=4)),
        min_size=1,
        max_size=12,
    ),
    st.integers(8, 24),
)
def test_spans_follow_their_tokens_into_the_rows(
    documents: list[tuple[int, list[int]]], seq_len: int
) -> None:
    ids, spans, wanted, first = [], [], [], 1
    for length, cuts in documents:
        edges = sorted({min(cut, length) for cut in cuts})
        pairs = np.array(edges[: len(edges) // 2 * 2], dtype=np.int64).reshape(-1, 2)
        ids.append(np.arange(first, first + length, dtype=np.uint16))
        spans.append(pairs)
        wanted += [int(ids[-1][place]) for start, end in pairs for place in range(start, end)]
        first += length
    plan = plan_rows([len(each) for each in ids], seq_len)
    block = build_rows(ids, plan, seq_len, 0, np.dtype(np.uint16), spans)
    assert block.layout.span_counts.all(), "a row without spans would be trained on whole"
    assert sorted(t for row in trained_tokens(block) for t in row) == sorted(wanted)
