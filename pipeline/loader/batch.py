"""From packed rows to the arrays a model takes."""

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np

from pipeline.rows import RowBlock, RowLayout, runs

IGNORE_LABEL = -100
PADDING_SEGMENT = -1


@dataclass(frozen=True)
class Batch:
    """Rows ready for a model; every array is (rows, seq_len) int32 unless said otherwise."""

    input_ids: np.ndarray
    """Token ids."""
    labels: np.ndarray
    """The next token of the same document, `IGNORE_LABEL` where there is none to learn."""
    positions: np.ndarray
    """Position within the document, from 0; padding counts like a document of its own."""
    segment_ids: np.ndarray
    """Number of the document within its row, `PADDING_SEGMENT` behind the last one."""
    source_ids: np.ndarray
    """(rows,) int64 number of each row's source."""

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.input_ids)

    def slice(self, start: int, end: int) -> "Batch":
        """Rows `start` to `end` (exclusive), without copying."""
        return Batch(
            self.input_ids[start:end],
            self.labels[start:end],
            self.positions[start:end],
            self.segment_ids[start:end],
            self.source_ids[start:end],
        )


def joined(first: Batch, second: Batch) -> Batch:
    """The rows of both."""
    names = [field.name for field in fields(Batch)]
    return Batch(*(np.concatenate([getattr(first, n), getattr(second, n)]) for n in names))


def make_batch(block: RowBlock, source_ids: np.ndarray) -> Batch:
    """Derive labels, positions and segments from the documents' lengths.

    Args:
        block: the rows.
        source_ids: (rows,) integers.
    """
    num_rows, seq_len = block.tokens.shape
    lengths, numbers = _with_padding(block.layout, seq_len)
    ends = np.cumsum(lengths)
    starts = (ends - lengths).astype(np.int32)
    # One allocation: several smaller ones would go back to the kernel and come again every batch.
    input_ids, labels, positions, segment_ids = np.empty((4, num_rows * seq_len), dtype=np.int32)
    np.subtract(_count(num_rows * seq_len), np.repeat(starts, lengths), out=positions)
    segment_ids[:] = np.repeat(numbers, lengths)
    input_ids[:] = block.tokens.reshape(-1)
    labels[:-1] = input_ids[1:]
    labels[ends[lengths > 0] - 1] = IGNORE_LABEL
    is_padding = (numbers == PADDING_SEGMENT) & (lengths > 0)
    labels[runs(lengths, np.flatnonzero(is_padding))] = IGNORE_LABEL
    shape = (num_rows, seq_len)
    labels = labels.reshape(shape)
    if len(block.layout.spans):
        _keep_spans(labels, block.layout)
    return Batch(
        input_ids.reshape(shape),
        labels,
        positions.reshape(shape),
        segment_ids.reshape(shape),
        np.asarray(source_ids, dtype=np.int64),
    )


@lru_cache(maxsize=4)
def _count(size: int) -> np.ndarray:
    """(size,) int32 from 0, to be read only: the same for every batch of a run."""
    return np.arange(size, dtype=np.int32)


def _with_padding(layout: RowLayout, seq_len: int) -> tuple[np.ndarray, np.ndarray]:
    """Lengths and numbers of all segments, the padding of each row (or none of it) as its last.

    Returns:
        (segments + rows,) int64 lengths that add up to seq_len in each row, and int32 numbers.
    """
    counts = layout.segment_counts.astype(np.int64)
    num_rows = len(counts)
    row_of = np.repeat(np.arange(num_rows), counts)
    places = np.arange(len(row_of)) + row_of
    used = np.bincount(row_of, weights=layout.segment_lengths, minlength=num_rows).astype(np.int64)
    last = np.cumsum(counts + 1) - 1
    lengths = np.empty(len(row_of) + num_rows, dtype=np.int64)
    lengths[places], lengths[last] = layout.segment_lengths, seq_len - used
    numbers = np.full(len(lengths), PADDING_SEGMENT, dtype=np.int32)
    numbers[places] = places - (last - counts)[row_of]
    return lengths, numbers


def _keep_spans(labels: np.ndarray, layout: RowLayout) -> None:
    """Of rows that have loss spans, keep the labels within them."""
    num_rows, seq_len = labels.shape
    rows = np.flatnonzero(layout.span_counts)
    # A label stands one place before the token that it is.
    changes = np.zeros((num_rows, seq_len + 1), dtype=np.int32)
    row_of = np.repeat(np.arange(num_rows), layout.span_counts)
    np.add.at(changes, (row_of, np.maximum(layout.spans[:, 0].astype(np.int64) - 1, 0)), 1)
    np.add.at(changes, (row_of, np.maximum(layout.spans[:, 1].astype(np.int64) - 1, 0)), -1)
    is_trained = np.cumsum(changes[rows, :-1], axis=1) > 0
    labels[rows] = np.where(is_trained, labels[rows], IGNORE_LABEL)
