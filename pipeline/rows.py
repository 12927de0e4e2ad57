"""Row shards: `*.rows.zst`, fixed-length token rows in seekable zstd frames.

A frame holds a block of rows; little-endian throughout:

    header   num_rows, seq_len, token_bytes, num_segments, num_spans   5 x uint32
    tokens   (num_rows, seq_len)            uint16 or uint32
    segments per row: count, then all lengths                        uint32
    spans    per row: count, then all (start, end) loss spans        uint32

Segments are the documents of a row in order; what is left at a row's end is padding. A row without
loss spans is trained on whole.
"""

import contextlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np

from pipeline import storage
from pipeline.errors import InputError
from pipeline.seekable import SeekableWriter
from pipeline.stage import FileEntry

ROWS_SUFFIX = ".rows.zst"
_HEADER = struct.Struct("<5I")
_COUNT = np.dtype("<u4")


@dataclass(frozen=True)
class RowLayout:
    """What of rows is which document; row i has the next `segment_counts[i]` of all segments."""

    segment_counts: np.ndarray
    """(num_rows,) uint32."""
    segment_lengths: np.ndarray
    """(total segments,) uint32, in tokens."""
    span_counts: np.ndarray
    """(num_rows,) uint32."""
    spans: np.ndarray
    """(total spans, 2) uint32: start and end (exclusive) within the row."""

    def slice(self, start: int, end: int) -> "RowLayout":
        """Rows `start` to `end` (exclusive), without copying."""
        segments, spans = _edges(self.segment_counts), _edges(self.span_counts)
        return RowLayout(
            self.segment_counts[start:end],
            self.segment_lengths[segments[start] : segments[end]],
            self.span_counts[start:end],
            self.spans[spans[start] : spans[end]],
        )

    def take(self, rows: np.ndarray) -> "RowLayout":
        """Rows by number, in the order of `rows`; a copy."""
        return RowLayout(
            self.segment_counts[rows],
            self.segment_lengths[runs(self.segment_counts, rows)],
            self.span_counts[rows],
            self.spans[runs(self.span_counts, rows)],
        )


def join_layouts(layouts: Sequence[RowLayout]) -> RowLayout:
    """The rows of all, one after the other."""
    names = [field.name for field in fields(RowLayout)]
    return RowLayout(*(np.concatenate([getattr(each, n) for each in layouts]) for n in names))


@dataclass(frozen=True)
class RowBlock:
    """Rows as arrays."""

    tokens: np.ndarray
    """(num_rows, seq_len) uint16 or uint32."""
    layout: RowLayout
    """Their documents and loss spans."""

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.tokens)

    def slice(self, start: int, end: int) -> "RowBlock":
        """Rows `start` to `end` (exclusive), without copying."""
        return RowBlock(self.tokens[start:end], self.layout.slice(start, end))


def empty_rows(num_rows: int, seq_len: int, dtype: np.dtype[np.unsignedinteger]) -> RowBlock:
    """Rows of padding: nothing in them is trained on."""
    return RowBlock(
        np.zeros((num_rows, seq_len), dtype=dtype),
        RowLayout(
            np.zeros(num_rows, dtype=_COUNT),
            np.zeros(0, dtype=_COUNT),
            np.zeros(num_rows, dtype=_COUNT),
            np.zeros((0, 2), dtype=_COUNT),
        ),
    )


def _edges(counts: np.ndarray) -> np.ndarray:
    """(n + 1,) int64: where each of n runs begins in a flat array, and where the last one ends."""
    edges = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=edges[1:])
    return edges


def runs(counts: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Indices into a flat array of runs that give the chosen runs one after the other."""
    edges, lengths = _edges(counts), counts[chosen].astype(np.int64)
    begins = np.cumsum(lengths) - lengths
    indices: np.ndarray = np.arange(int(lengths.sum())) + np.repeat(edges[chosen] - begins, lengths)
    return indices


def token_dtype(vocab_size: int) -> np.dtype[np.unsignedinteger]:
    """The smallest token type for a vocabulary: uint16 up to 65,536 entries, else uint32."""
    return np.dtype("<u2") if vocab_size <= 2**16 else np.dtype("<u4")


def encode_block(block: RowBlock) -> bytes:
    """One frame's content."""
    num_rows, seq_len = block.tokens.shape
    layout = block.layout
    header = _HEADER.pack(
        num_rows,
        seq_len,
        block.tokens.itemsize,
        len(layout.segment_lengths),
        len(layout.spans),
    )
    arrays = (layout.segment_counts, layout.segment_lengths, layout.span_counts, layout.spans)
    return b"".join(
        [
            header,
            np.ascontiguousarray(block.tokens).tobytes(),
            *(np.ascontiguousarray(array, dtype=_COUNT).tobytes() for array in arrays),
        ]
    )


def decode_block(data: bytes, uri: str) -> RowBlock:
    """Read one frame's content; arrays are read-only views into `data`.

    Raises:
        InputError: `data` does not have the size its header announces, or its documents and spans
            are not within its rows: they are counted on when memory is asked for.
    """
    if len(data) < _HEADER.size:
        raise InputError(f"{uri}: a row frame of {len(data)} bytes has no header; pack again")
    num_rows, seq_len, token_bytes, num_segments, num_spans = _HEADER.unpack_from(data)
    if token_bytes not in (2, 4):
        raise InputError(f"{uri}: tokens of {token_bytes} bytes; 2 or 4 are written; pack again")
    counts = num_rows * 2 + num_segments + num_spans * 2
    if len(data) != _HEADER.size + num_rows * seq_len * token_bytes + counts * _COUNT.itemsize:
        raise InputError(f"{uri}: a row frame does not match its header; pack again")
    tokens = np.frombuffer(data, f"<u{token_bytes}", num_rows * seq_len, _HEADER.size)
    rest = np.frombuffer(data, _COUNT, counts, _HEADER.size + tokens.nbytes)
    edges = np.cumsum([num_rows, num_segments, num_rows])
    segment_counts, segment_lengths, span_counts, spans = np.split(rest, edges)
    is_whole = (
        int(segment_counts.sum()) == num_segments
        and int(span_counts.sum()) == num_spans
        and int(segment_lengths.sum()) <= num_rows * seq_len
        and (not num_spans or int(spans.max()) <= seq_len)
    )
    if not is_whole:
        raise InputError(f"{uri}: documents of a row frame reach beyond its rows; pack again")
    return RowBlock(
        tokens.reshape(num_rows, seq_len),
        RowLayout(segment_counts, segment_lengths, span_counts, spans.reshape(num_spans, 2)),
    )


class RowShardWriter:
    """Writes blocks of rows into one shard; made by `write_rows`."""

    def __init__(self, name: str, sink: storage.HashingWriter, rows_per_frame: int) -> None:
        """Wrap the sink of an open shard."""
        self._name, self._sink, self._rows_per_frame = name, sink, rows_per_frame
        self.frames = SeekableWriter(sink)
        self._num_rows = self._num_tokens = 0

    def write(self, block: RowBlock) -> None:
        """Append rows, `rows_per_frame` of them a frame."""
        for start in range(0, block.num_rows, self._rows_per_frame):
            end = min(start + self._rows_per_frame, block.num_rows)
            self.frames.write_frame(encode_block(block.slice(start, end)))
        self._num_rows += block.num_rows
        self._num_tokens += int(block.layout.segment_lengths.sum())

    def entry(self) -> FileEntry:
        """What the sidecar says of this shard; call it after the `write_rows` block."""
        return FileEntry(
            name=self._name,
            records=self._num_rows,
            tokens=self._num_tokens,
            bytes=self._sink.num_bytes,
            sha256=self._sink.hexdigest(),
        )


@contextlib.contextmanager
def write_rows(folder: str, name: str, rows_per_frame: int) -> Iterator[RowShardWriter]:
    """Write row shard `folder/name` atomically."""
    with storage.open_atomic(storage.join(folder, name)) as file:
        writer = RowShardWriter(name, storage.HashingWriter(file), rows_per_frame)
        yield writer
        writer.frames.finish()
