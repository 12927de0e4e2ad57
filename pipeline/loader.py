"""Batches of packed rows: the n-th row of a run is the same on any number of ranks.

Two ranks, 4 rows a global batch:

    step 0:  rows n = 0 1 2 3        rank 0 takes 0 1,  rank 1 takes 2 3
    step 1:  rows n = 4 5 6 7        rank 0 takes 4 5,  rank 1 takes 6 7

    n ──Mixture──▶ (source, draw) ──RowOrder──▶ (epoch, row) ──frame──▶ tokens, segments

The state is n alone. Within a source an epoch visits every row once: frames in a shuffled order,
and rows shuffled within windows of a few frames, so that reading stays sequential inside windows.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pipeline import storage
from pipeline.errors import InputError
from pipeline.mixture import Mixture
from pipeline.rows import RowBlock, decode_block
from pipeline.seekable import open_seekable
from pipeline.stage import Manifest

IGNORE_LABEL = -100
PADDING_SEGMENT = -1
_WINDOW_FRAMES = 8
_CACHED_FRAMES_PER_SOURCE = 2 * _WINDOW_FRAMES


@dataclass(frozen=True)
class Batch:
    """Rows ready for a model; every array is (rows, seq_len) unless said otherwise."""

    input_ids: np.ndarray
    """int64 token ids."""
    labels: np.ndarray
    """int64 next token of the same document, `IGNORE_LABEL` where there is none to learn."""
    positions: np.ndarray
    """int64 position within the document, from 0."""
    segment_ids: np.ndarray
    """int64 number of the document within its row, `PADDING_SEGMENT` behind the last one."""
    source_ids: np.ndarray
    """(rows,) int64 number of each row's source."""


class RowSource:
    """All rows of one source in one split, by number."""

    def __init__(self, folder: str, manifest: Manifest, source: str, split: str) -> None:
        """Open the shards of `source` in a packed folder.

        Raises:
            InputError: a shard is missing or damaged.
        """
        prefix = f"{source}/{split}/"
        per_frame = int(manifest.config["rows_per_frame"])
        entries = [
            entry
            for entry in manifest.parts
            if entry.name.startswith(prefix) and entry.name.endswith(".rows.zst") and entry.records
        ]
        shards = [open_seekable(storage.join(folder, entry.name)) for entry in entries]
        self._frames = [(shard, frame) for shard in shards for frame in range(shard.num_frames)]
        self.frame_rows = np.array(
            [
                min(per_frame, entry.records - start)
                for entry in entries
                for start in range(0, entry.records, per_frame)
            ],
            dtype=np.int64,
        )
        if len(self.frame_rows) != len(self._frames):
            raise InputError(f"{folder}/{prefix}: shards do not match their manifest; pack again")
        self.num_rows = int(self.frame_rows.sum())
        self._cache: OrderedDict[int, RowBlock] = OrderedDict()

    def read_frame(self, number: int) -> RowBlock:
        """Decode a frame, or take it from the small cache of recent ones."""
        if number in self._cache:
            self._cache.move_to_end(number)
            return self._cache[number]
        shard, frame = self._frames[number]
        block = decode_block(shard.read_frame(frame), shard.uri)
        self._cache[number] = block
        if len(self._cache) > _CACHED_FRAMES_PER_SOURCE:
            self._cache.popitem(last=False)
        return block


class RowOrder:
    """The order in which one source's rows are visited, epoch after epoch."""

    def __init__(self, frame_rows: np.ndarray, seed: int, source_number: int) -> None:
        """Take the number of rows of each frame."""
        self._frame_rows = frame_rows
        self._num_rows = int(frame_rows.sum())
        self._seed, self._source_number = seed, source_number
        self._epoch_frames = lru_cache(maxsize=2)(self._shuffle_frames)
        self._window_rows = lru_cache(maxsize=2)(self._shuffle_window)

    def locate(self, draw: int) -> tuple[int, int]:
        """Frame and row within it of the source's `draw`-th draw (epoch = draw // rows)."""
        epoch, place = divmod(draw, self._num_rows)
        _, window_starts = self._epoch_frames(epoch)
        window = int(np.searchsorted(window_starts, place, side="right")) - 1
        frames, rows = self._window_rows(epoch, window)
        at = place - int(window_starts[window])
        return int(frames[at]), int(rows[at])

    def _stream(self, epoch: int, window: int) -> np.random.Generator:
        key = [self._seed ^ (self._source_number + 1) << 32, (epoch << 32) | window]
        return np.random.Generator(np.random.Philox(key=key))

    def _shuffle_frames(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        frames = self._stream(epoch, 2**32 - 1).permutation(len(self._frame_rows))
        ends = np.cumsum(self._frame_rows[frames])
        return frames, np.concatenate(([0], ends))[:-1:_WINDOW_FRAMES]

    def _shuffle_window(self, epoch: int, window: int) -> tuple[np.ndarray, np.ndarray]:
        shuffled, _ = self._epoch_frames(epoch)
        frames = shuffled[window * _WINDOW_FRAMES : (window + 1) * _WINDOW_FRAMES]
        counts = self._frame_rows[frames]
        frame_of_row = np.repeat(frames, counts)
        row_in_frame = np.concatenate([np.arange(count) for count in counts])
        order = self._stream(epoch, window).permutation(len(frame_of_row))
        return frame_of_row[order], row_in_frame[order]


class Loader:
    """Serves any rank's share of any global batch."""

    def __init__(self, sources: Sequence[RowSource], mixture: Mixture) -> None:
        """Take the sources in the order of `mixture.names`."""
        self._sources, self._mixture = sources, mixture
        self._orders = [
            RowOrder(source.frame_rows, mixture.seed, number)
            for number, source in enumerate(sources)
        ]

    def rows(self, start: int, count: int) -> Batch:
        """Rows `start` to `start + count` (exclusive) of the run."""
        source_ids, draws = self._mixture.draws(start, count)
        picked = []
        for source, draw in zip(source_ids.tolist(), draws.tolist(), strict=True):
            frame, row = self._orders[source].locate(draw)
            picked.append((self._sources[source].read_frame(frame), row))
        return make_batch(picked, source_ids)

    def rank_batches(
        self, step: int, rows_per_batch: int, micro_rows: int, rank: int, num_ranks: int
    ) -> Iterator[Batch]:
        """The rows of one rank in global batch `step`, `micro_rows` at a time.

        Raises:
            InputError: `micro_rows` x `num_ranks` does not divide `rows_per_batch`.
        """
        if rows_per_batch % (micro_rows * num_ranks):
            raise InputError(
                f"rows_per_batch ({rows_per_batch}) must be a multiple of micro_rows x ranks "
                f"({micro_rows} x {num_ranks})"
            )
        per_rank = rows_per_batch // num_ranks
        first = step * rows_per_batch + rank * per_rank
        for start in range(first, first + per_rank, micro_rows):
            yield self.rows(start, micro_rows)


def make_batch(rows: Sequence[tuple[RowBlock, int]], source_ids: np.ndarray) -> Batch:
    """Put rows together and derive labels, positions and segments from their document lengths."""
    shape = (len(rows), rows[0][0].tokens.shape[1])
    input_ids = np.empty(shape, dtype=np.int64)
    segment_ids = np.full(shape, PADDING_SEGMENT, dtype=np.int64)
    positions = np.zeros(shape, dtype=np.int64)
    trained = np.ones(shape, dtype=bool)
    for number, (block, row) in enumerate(rows):
        input_ids[number] = block.tokens[row]
        lengths = block.row_segments(row)
        used = int(lengths.sum())
        segment_ids[number, :used] = np.repeat(np.arange(len(lengths)), lengths)
        starts = np.cumsum(lengths) - lengths
        positions[number, :used] = np.arange(used) - np.repeat(starts, lengths)
        spans = block.row_spans(row)
        if len(spans):
            trained[number] = False
            for start, end in spans:
                trained[number, start:end] = True
    labels = np.full(shape, IGNORE_LABEL, dtype=np.int64)
    has_next = (segment_ids[:, :-1] == segment_ids[:, 1:]) & (segment_ids[:, 1:] >= 0)
    learned = has_next & trained[:, 1:]
    labels[:, :-1][learned] = input_ids[:, 1:][learned]
    return Batch(input_ids, labels, positions, segment_ids, np.asarray(source_ids, dtype=np.int64))
