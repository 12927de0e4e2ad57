"""Windows of rows in memory: frames read, checked, decoded and laid side by side.

The rows of a window are served over many batches, so each frame is decoded once and a batch
takes its rows with one indexing. The windows that come next are read in the background, as many of
each source as there are threads.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from pipeline.loader.frames import FrameReader
from pipeline.loader.order import RowOrder, Window
from pipeline.loader.table import Places, RowTable
from pipeline.rows import RowBlock, join_layouts


@dataclass(frozen=True)
class SourceRows:
    """One source: where its rows lie, in which order they come, and who reads them."""

    table: RowTable
    order: RowOrder
    reader: FrameReader

    def read(self, window: Window) -> RowBlock:
        """The rows of a window in the order in which they are drawn."""
        units = self.order.units(window)
        size = self.order.rows_per_unit
        order = self.order.row_order(window)
        return self.gather(self.table.locate(units[order // size], order % size))

    def gather(self, places: Places) -> RowBlock:
        """Rows from anywhere, in the order of `places`; each frame is decoded once."""
        layouts, numbers, num_before = [], np.empty(len(places.rows), dtype=np.int64), 0
        tokens: np.ndarray | None = None
        for shard, frame, members in _by_frame(places):
            block = self.reader.read(int(self.table.part_numbers[shard]), frame)
            rows = places.rows[members]
            if tokens is None:
                tokens = np.empty((len(places.rows), block.tokens.shape[1]), block.tokens.dtype)
            # Copied once, from the frame to their places, unless only some are wanted.
            is_whole = len(rows) == block.num_rows
            tokens[members] = block.tokens if is_whole else block.tokens[rows]
            layouts.append(block.layout)
            numbers[members] = num_before + rows
            num_before += block.num_rows
        assert tokens is not None, "no rows were asked for"
        return RowBlock(tokens, join_layouts(layouts).take(numbers))


def _by_frame(places: Places) -> Iterator[tuple[int, int, np.ndarray]]:
    """Each frame with the numbers of the rows wanted from it, by row; no row is wanted twice."""
    order = np.lexsort((places.rows, places.frames, places.shards))
    shards, frames = places.shards[order], places.frames[order]
    changes = np.flatnonzero((np.diff(shards) != 0) | (np.diff(frames) != 0)) + 1
    for members in np.split(order, changes):
        yield int(places.shards[members[0]]), int(places.frames[members[0]]), members


class WindowCache:
    """The windows under way, of all sources of a loader; safe to use from several threads."""

    def __init__(self, sources: list[SourceRows], num_threads: int) -> None:
        """Read windows of `sources`, ahead of time with `num_threads` threads (0: on demand)."""
        self._sources, self._num_ahead = sources, num_threads
        self._pool = ThreadPoolExecutor(num_threads, "ipt-read") if num_threads else None
        self._windows: dict[tuple[int, Window], RowBlock | Future[RowBlock]] = {}
        self._lock = threading.Lock()

    def get(self, source: int, window: Window) -> RowBlock:
        """A window's rows; begins to read those after it."""
        key = (source, window)
        with self._lock:
            found = self._windows.get(key)
        if isinstance(found, RowBlock):
            return found
        try:
            # One that no thread has begun is read here: it may stand behind many for other sources.
            if found is None or found.cancel():
                block = self._sources[source].read(window)
            else:
                block = found.result()
        except BaseException:  # whatever it was may be over when it is asked for again
            with self._lock:
                self._windows.pop(key, None)
            raise
        with self._lock:
            self._windows[key] = block
            self._keep(source, [window, *self._read_ahead(source, window)])
        return block

    def close(self) -> None:
        """Stop reading ahead."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _read_ahead(self, source: int, window: Window) -> Iterator[Window]:
        """See to it that the windows after this one are being read; says which these are."""
        rows = self._sources[source]
        for _ in range(self._num_ahead):
            assert self._pool is not None
            window = rows.order.next_window(window)
            if (source, window) not in self._windows:
                self._windows[source, window] = self._pool.submit(rows.read, window)
            yield window

    def _keep(self, source: int, windows: list[Window]) -> None:
        """Forget all other windows of a source."""
        for key in [key for key in self._windows if key[0] == source and key[1] not in windows]:
            if isinstance(dropped := self._windows.pop(key), Future):
                dropped.cancel()
