"""Arrays for a model: labels stay within documents, spans are the only tokens learned."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.loader.batch import IGNORE_LABEL, PADDING_SEGMENT, joined, make_batch
from pipeline.rows import RowBlock, empty_rows
from tests.packed import pack_documents

DOCUMENTS = st.lists(st.integers(1, 40), min_size=1, max_size=20)


def plain(block: RowBlock) -> list[list[list[int]]]:
    """The same arrays by one token after the other: labels, positions, segments of each row."""
    layout, rows, segment, span = block.layout, [], 0, 0
    for number in range(block.num_rows):
        ids, length = block.tokens[number].tolist(), block.tokens.shape[1]
        labels = [IGNORE_LABEL] * length
        positions, segments = list(range(length)), [PADDING_SEGMENT] * length
        at = 0
        for count in range(int(layout.segment_counts[number])):
            size = int(layout.segment_lengths[segment])
            for place in range(size):
                positions[at + place], segments[at + place] = place, count
                if place + 1 < size:
                    labels[at + place] = ids[at + place + 1]
            at, segment = at + size, segment + 1
        for place in range(at, length):
            positions[place] = place - at
        count = int(layout.span_counts[number])
        if count:
            spans = layout.spans[span : span + count].tolist()
            for place in range(length):
                if not any(start <= place + 1 < end for start, end in spans):
                    labels[place] = IGNORE_LABEL
        span += count
        rows.append([labels, positions, segments])
    return rows


@given(DOCUMENTS, st.integers(8, 24), st.booleans())
def test_arrays_are_what_one_token_after_the_other_gives(
    lengths: list[int], seq_len: int, with_spans: bool
) -> None:
    documents = [np.arange(n, dtype=np.uint16) + 100 * k for k, n in enumerate(lengths)]
    spans = [np.array([[n // 4, n // 2], [n // 2 + 1, n]]) for n in lengths]
    block = pack_documents(documents, seq_len, spans if with_spans else None)
    batch = make_batch(block, np.zeros(block.num_rows))
    for number, (labels, positions, segments) in enumerate(plain(block)):
        assert batch.labels[number].tolist() == labels
        assert batch.positions[number].tolist() == positions
        assert batch.segment_ids[number].tolist() == segments
        assert batch.input_ids[number].tolist() == block.tokens[number].tolist()
    assert batch.input_ids.dtype == batch.labels.dtype == np.int32


def test_loss_spans_are_the_only_tokens_learned() -> None:
    block = pack_documents([np.arange(8, dtype=np.uint16)], 8, [np.array([[3, 5]])])
    batch = make_batch(block, np.zeros(1))
    assert batch.labels[0].tolist() == [-100, -100, 3, 4, -100, -100, -100, -100]


def test_a_row_whose_span_is_empty_teaches_nothing() -> None:
    block = pack_documents([np.arange(8, dtype=np.uint16)], 8, [np.zeros((0, 2), dtype=int)])
    assert (make_batch(block, np.zeros(1)).labels == IGNORE_LABEL).all()


def test_rows_of_padding_teach_nothing() -> None:
    batch = make_batch(empty_rows(3, 8, np.dtype(np.uint16)), np.zeros(3))
    assert (batch.labels == IGNORE_LABEL).all()
    assert (batch.segment_ids == PADDING_SEGMENT).all()
    assert batch.positions[2].tolist() == list(range(8))


def test_batches_are_cut_and_joined() -> None:
    block = pack_documents([np.arange(8, dtype=np.uint16) + k for k in range(5)], 8)
    batch = make_batch(block, np.arange(5))
    again = joined(batch.slice(0, 2), batch.slice(2, 5))
    np.testing.assert_array_equal(again.labels, batch.labels)
    np.testing.assert_array_equal(again.source_ids, np.arange(5))
