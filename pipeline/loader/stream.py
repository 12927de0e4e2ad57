"""The batches of one rank in order, made ahead of time by a thread: what a training loop iterates.

    for batch in BatchStream(run, rows_per_batch=256, rank=rank, num_ranks=num_ranks):
        ...                        # this rank's rows of a global batch
        state = stream.state_dict()   # JSON values; its size does not depend on the corpus

Its state is the number of rows served, the events of the mixture and the sizes of the sources. It
is the same on every rank and belongs to no number of ranks, threads or batches made ahead, nor to a
batch size: each of them may change.
"""

import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline import storage
from pipeline.loader.batch import Batch
from pipeline.loader.cache import RangeCache
from pipeline.loader.packed import open_rows
from pipeline.loader.run import LoaderState, RunRows
from pipeline.mixture.config import MixtureConfig
from pipeline.mixture.schedule import Event, Mixture

_POLL_S = 0.1


class BatchStream:
    """Iterates over one rank's share of global batch after global batch."""

    def __init__(
        self,
        run: RunRows,
        rows_per_batch: int,
        *,
        rank: int = 0,
        num_ranks: int = 1,
        micro_rows: int = 1,
        end_row: int | None = None,
        ahead: int = 2,
    ) -> None:
        """Start at row 0; `load_state_dict` sets another.

        Args:
            run: which rows come, in which order.
            rows_per_batch: rows of a global batch.
            rank: whose share.
            num_ranks: among how many.
            micro_rows: each share is filled up to a multiple of it.
            end_row: row of the run to stop before; None: go on for ever.
            ahead: batches made ahead of time; 0: none, and no thread.

        Raises:
            InputError: the mixture cannot be had of the rows.
        """
        self._run = run
        self._share = (rows_per_batch, rank, num_ranks, micro_rows)
        self._end_row, self._ahead = end_row, ahead
        self._loader, self._state = run.loader(LoaderState())
        self._rows = 0
        self._maker: _Maker | None = None

    @property
    def mixture(self) -> Mixture:
        """The schedule as it stands."""
        return self._loader.mixture

    @property
    def rows(self) -> int:
        """Rows of the run that have been served, on all ranks together."""
        return self._rows

    @property
    def newcomers(self) -> list[str]:
        """Sources among the rows which came after the run had begun, and of which it takes none."""
        return self._run.newcomers(self._state)

    @property
    def events(self) -> tuple[Event, ...]:
        """Changes of the weights so far."""
        return self.mixture.events

    def __iter__(self) -> Iterator[Batch]:
        """Go on from where the stream stands."""
        while self._end_row is None or self._rows < self._end_row:
            yield next(self)

    def __next__(self) -> Batch:
        """This rank's rows of the next global batch.

        Raises:
            StopIteration: `end_row` is reached.
        """
        if self._end_row is not None and self._rows >= self._end_row:
            raise StopIteration
        batch = self._make(self._rows) if not self._ahead else self._made()
        self._rows += self._share[0]
        return batch

    def change_weights(self, weights: Sequence[float]) -> Event:
        """Use other weights from the next batch on; what was made ahead is made again.

        Raises:
            InputError: the weights do not fit the sources.
        """
        event = Event(self._rows, tuple(map(float, weights)))
        self._stop_maker()
        self._loader.mixture = self._loader.mixture.with_event(event)
        return event

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on from here; JSON values."""
        events = [event.as_json() for event in self.mixture.events]
        state = self._state.model_copy(update={"rows": self._rows, "events": events})
        return state.model_dump(mode="json")

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state, whatever ranks or batch size it was taken with.

        Raises:
            InputError: it is not a state of such a stream, or of other rows.
        """
        read = LoaderState.read(state)
        loader, grown = self._run.loader(read)
        self.close()
        self._loader, self._state, self._rows = loader, grown, read.rows

    def close(self) -> None:
        """Stop reading and making batches ahead; the stream is of no use afterwards."""
        self._stop_maker()
        self._loader.close()

    def _stop_maker(self) -> None:
        if self._maker is not None:
            self._maker.stop()
            self._maker = None

    def _make(self, row: int) -> Batch:
        rows_per_batch, rank, num_ranks, micro_rows = self._share
        return self._loader.rank_batch(row, rows_per_batch, rank, num_ranks, micro_rows)

    def _made(self) -> Batch:
        if self._maker is None:
            self._maker = _Maker(self, self._rows, self._share[0], self._end_row, self._ahead)
        try:
            return self._maker.take()
        except BaseException:  # its thread has ended; the next call starts another
            self._stop_maker()
            raise


def open_stream(
    folder: str,
    rows_per_batch: int,
    total_rows: int,
    *,
    mixture: MixtureConfig | None = None,
    seed: int = 0,
    rank: int = 0,
    num_ranks: int = 1,
    cache_folder: str = "",
    cache_gib: float = 64.0,
) -> BatchStream:
    """The stream of one rank over a packed folder.

    Args:
        folder: path or URI of the rows.
        rows_per_batch: rows of a global batch.
        total_rows: rows of the whole run.
        mixture: as in `[mixture]` of a run's TOML; None: in proportion to rows.
        seed: decides the order.
        rank: of this process.
        num_ranks: of the job.
        cache_folder: local folder for what is fetched of a URI, shared by the ranks of a node.
        cache_gib: its bound.

    Raises:
        InputError: packing is not complete, or the mixture cannot be had of its rows.
    """
    is_cached = cache_folder and not storage.is_local(folder)
    cache = RangeCache(cache_folder, int(cache_gib * 2**30)) if is_cached else None
    run = RunRows(open_rows(folder, reader=cache), mixture or MixtureConfig(), total_rows, seed)
    return BatchStream(run, rows_per_batch, rank=rank, num_ranks=num_ranks, end_row=total_rows)


class _Maker(threading.Thread):
    """Makes batches from a row on, a few ahead of whoever takes them."""

    def __init__(
        self, stream: BatchStream, row: int, rows_per_batch: int, end_row: int | None, ahead: int
    ) -> None:
        super().__init__(name="ipt-batches", daemon=True)
        self._stream, self._next, self._step, self._end = stream, row, rows_per_batch, end_row
        self._made: queue.Queue[Batch | BaseException] = queue.Queue(ahead)
        self._is_stopped = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._is_stopped.is_set() and (self._end is None or self._next < self._end):
            try:
                made: Batch | BaseException = self._stream._make(self._next)
            except Exception as error:  # noqa: BLE001 - raised where the batch is taken
                made = error
            self._next += self._step
            while not self._is_stopped.is_set():
                try:
                    self._made.put(made, timeout=_POLL_S)
                    break
                except queue.Full:
                    continue
            if isinstance(made, BaseException):
                return

    def take(self) -> Batch:
        made = self._made.get()
        if isinstance(made, BaseException):
            raise made
        return made

    def stop(self) -> None:
        self._is_stopped.set()
        self.join()
