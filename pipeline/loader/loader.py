"""Any rows of a run, and any rank's share of any global batch."""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.loader.batch import Batch, joined, make_batch
from pipeline.loader.order import Growth
from pipeline.loader.packed import PackedRows
from pipeline.loader.share import rows_per_rank
from pipeline.loader.windows import WindowCache
from pipeline.mixture.schedule import Mixture
from pipeline.rows import RowBlock, empty_rows, join_layouts

_ALL_WINDOW_FRAMES, _MAX_WINDOW_FRAMES = 256, 64


class Loader:
    """Serves any rank's share of any global batch."""

    def __init__(
        self,
        rows: PackedRows,
        mixture: Mixture,
        *,
        window_frames: int = 0,
        num_threads: int = 2,
        growths: Mapping[str, Sequence[Growth]] | None = None,
    ) -> None:
        """Mix the sources of `rows` by `mixture`.

        Args:
            rows: an opened folder of rows.
            mixture: over sources of `rows`.
            window_frames: frames of a source whose rows are shuffled together; 0: see
                `MixtureConfig.window_frames`.
            num_threads: threads that read ahead, and windows of a source read ahead; 0: none. Never
                decides what is read.
            growths: sizes of each source over the run; None: the present one from the start.
        """
        self.mixture, self.seq_len = mixture, rows.seq_len
        self._rows = rows
        frames = window_frames or frames_per_window(len(mixture.names))
        self._sources = [
            rows.source(name, mixture.seed, frames, (growths or {}).get(name, ()))
            for name in mixture.names
        ]
        self._windows = WindowCache(self._sources, num_threads)

    def rows(self, start: int, count: int) -> Batch:
        """Rows `start` to `start + count` (exclusive) of the run."""
        if count == 0:
            return self._filler(0)
        source_ids, draws = self.mixture.draws(start, count)
        order = np.argsort(source_ids, kind="stable")  # source by source, draws in order
        in_order = source_ids[order]
        tokens = np.empty((count, self.seq_len), dtype=self._rows.token_dtype)
        layouts, done = [], 0
        while done < count:
            source, draw = int(in_order[done]), int(draws[order[done]])
            wanted = int(np.searchsorted(in_order, source, side="right")) - done
            block = self._drawn(source, draw, wanted)
            tokens[order[done : done + block.num_rows]] = block.tokens
            layouts.append(block.layout)
            done += block.num_rows
        places = np.empty(count, dtype=np.int64)
        places[order] = np.arange(count)
        return make_batch(RowBlock(tokens, join_layouts(layouts).take(places)), source_ids)

    def rank_batch(
        self, first_row: int, rows_per_batch: int, rank: int, num_ranks: int, micro_rows: int = 1
    ) -> Batch:
        """One rank's rows of the global batch that begins at `first_row`.

        The ranks share the batch in order and get as many rows each, a multiple of `micro_rows`.
        Where it does not divide, the last ranks' are filled up with rows of padding, from which
        nothing is learned.
        """
        num_rows = rows_per_rank(rows_per_batch, num_ranks, micro_rows)
        end = first_row + rows_per_batch
        start = min(first_row + rank * num_rows, end)
        count = min(num_rows, end - start)
        batch = self.rows(start, count)
        return batch if count == num_rows else joined(batch, self._filler(num_rows - count))

    def close(self) -> None:
        """Stop reading ahead."""
        self._windows.close()

    def _drawn(self, source: int, draw: int, count: int) -> RowBlock:
        """Up to `count` draws of a source from `draw` on: as many as its window still has."""
        window, at = self._sources[source].order.window_of(draw)
        end = min(at + count, window.num_rows)
        return self._windows.get(source, window).slice(at, end)

    def _filler(self, num_rows: int) -> Batch:
        block = empty_rows(num_rows, self.seq_len, self._rows.token_dtype)
        return make_batch(block, np.zeros(num_rows))


def frames_per_window(num_sources: int) -> int:
    """Frames of a source whose rows are shuffled together, unless the config says otherwise."""
    return max(1, min(_MAX_WINDOW_FRAMES, _ALL_WINDOW_FRAMES // num_sources))
