"""Best-fit-decreasing packing of documents into rows: pure functions on lengths and arrays.

seq_len 8, documents of 3, 11, 5, 4 tokens:

    11 is longer than a row: pieces 8 + 3       rows   [8]
    the rest, longest first: 5, 4, 3, 3                [5 3]
    each into the fullest row with room                [4 3 .]   one token of padding
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.rows import RowBlock, RowLayout


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens `start` to `end` (exclusive) of one document; a whole one unless it outgrows a row."""

    document: int
    start: int
    end: int

    @property
    def length(self) -> int:
        """Length in tokens."""
        return self.end - self.start


def plan_rows(lengths: Sequence[int], seq_len: int) -> list[list[Piece]]:
    """Assign every token of every document to a row.

    A document is split only when longer than `seq_len`. Depends on `lengths` and their order alone.

    Args:
        lengths: document lengths in tokens.
        seq_len: row length in tokens.

    Returns:
        Rows as lists of pieces; a row's lengths sum to at most `seq_len`.
    """
    pieces = [
        Piece(document, start, min(start + seq_len, length))
        for document, length in enumerate(lengths)
        for start in range(0, length, seq_len)
    ]
    pieces.sort(key=lambda piece: -piece.length)  # stable: equal lengths keep document order
    rows: list[list[Piece]] = []
    rows_by_room: list[list[int]] = [[] for _ in range(seq_len + 1)]
    # Bit r is set while some row has exactly r tokens of room: the best fit is the lowest bit
    # at or above the piece's length.
    rooms = 0
    for piece in pieces:
        fitting = rooms >> piece.length
        if fitting:
            room = piece.length + (fitting & -fitting).bit_length() - 1
            row = rows_by_room[room].pop()
            if not rows_by_room[room]:
                rooms &= ~(1 << room)
        else:
            row, room = len(rows), seq_len
            rows.append([])
        rows[row].append(piece)
        left = room - piece.length
        if left:
            rows_by_room[left].append(row)
            rooms |= 1 << left
    return rows


def build_rows(
    documents: Sequence[np.ndarray],
    rows: Sequence[Sequence[Piece]],
    seq_len: int,
    pad_id: int,
    dtype: np.dtype[np.unsignedinteger],
    spans: Sequence[np.ndarray] | None = None,
) -> RowBlock:
    """Lay token arrays out as planned by `plan_rows`.

    Args:
        documents: token ids of each document, 1-D.
        rows: pieces of each row.
        seq_len: row length in tokens.
        pad_id: token id for what is left at a row's end.
        dtype: token type of the rows.
        spans: (n, 2) token ranges of each document that are trained on; None: all tokens are.
    """
    tokens = np.full((len(rows), seq_len), pad_id, dtype=dtype)
    for number, pieces in enumerate(rows):
        at = 0
        for piece in pieces:
            ids = documents[piece.document][piece.start : piece.end]
            tokens[number, at : at + len(ids)] = ids
            at += len(ids)
    lengths = [piece.length for pieces in rows for piece in pieces]
    found = [_row_spans(pieces, spans) for pieces in rows] if spans is not None else []
    layout = RowLayout(
        segment_counts=np.array([len(pieces) for pieces in rows], dtype=np.uint32),
        segment_lengths=np.array(lengths, dtype=np.uint32),
        span_counts=np.array([len(each) for each in found] or [0] * len(rows), dtype=np.uint32),
        spans=np.concatenate([*found, np.zeros((0, 2))]).astype(np.uint32),
    )
    return RowBlock(tokens, layout)


def _row_spans(pieces: Sequence[Piece], spans: Sequence[np.ndarray]) -> np.ndarray:
    """(n, 2) spans of one row, n > 0: an empty span says that nothing of it is trained on."""
    found, at = [], 0
    for piece in pieces:
        cut = np.clip(spans[piece.document], piece.start, piece.end) - piece.start + at
        found.append(cut[cut[:, 0] < cut[:, 1]])
        at += piece.length
    joined = np.concatenate([*found, np.zeros((0, 2), dtype=np.int64)])
    return joined if len(joined) else np.zeros((1, 2), dtype=np.int64)
