"""The driver's part while workers write: show progress, keep it, stop when asked to."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

from pipeline import storage
from pipeline.errors import JobFailedError, StoppedError
from pipeline.process import StopRequest, stop_requests
from pipeline.progress import ProgressLog
from pipeline.run_folder import METRICS_FILE
from synth.view import SynthProgress, SynthView

_POLL_INTERVAL_S = 1.0
_LAST_WORDS_S = 15.0


def follow(
    results: Iterator[Any], board: Any, stage_folder: str, num_documents: int, grace_s: float
) -> None:
    """Drive the pool until every part is committed.

    Args:
        results: the pool's job; it runs as long as it is iterated over.
        board: handle of the `JobBoard` actor.
        stage_folder: where the progress is kept.
        num_documents: documents of all parts together.
        grace_s: how long parts in flight may take after a request to stop.

    Raises:
        JobFailedError: workers die of a part whatever is done.
        StoppedError: SIGTERM or Ctrl-C asked for an end.
        RayError: a worker failed.
    """
    pool = _PoolThread(results)
    progress = SynthProgress(num_documents)
    log = ProgressLog(storage.join(stage_folder, METRICS_FILE))
    with stop_requests() as request, SynthView() as view:
        pool.start()
        while not pool.has_ended(_POLL_INTERVAL_S):
            if request:
                _wait_for_parts(board, pool, view, request, grace_s)
                log.close()
                raise StoppedError(_farewell(_ask(board), request))
            figures = _ask(board)
            if figures is None:
                continue
            line = progress.update(figures)
            if line["documents"] or line["parts_in_flight"]:
                log.note(line["done"], line)
            view.show(line)
            if figures["parts_done"] == figures["parts_total"]:
                # A lane of a lost worker may wait for a node that never comes: its work is done.
                pool.has_ended(_LAST_WORDS_S)
                break
            _listen(board, view)
        if (figures := _ask(board)) is not None:
            line = progress.update(figures)
            log.note(line["done"], line)
            view.show(line)
        log.close()
    pool.raise_error()


class _PoolThread(threading.Thread):
    """Iterates over the pool's job, which would not let a signal through for minutes."""

    def __init__(self, results: Iterator[Any]) -> None:
        super().__init__(daemon=True, name="actor-pool")
        self._results = results
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            for _ in self._results:
                pass
        except Exception as error:  # noqa: BLE001 - handed to the main thread, which raises it
            self._error = error

    def has_ended(self, wait_s: float) -> bool:
        self.join(wait_s)
        return not self.is_alive()

    def raise_error(self) -> None:
        if self._error is not None:
            raise self._error


def _ask(board: Any) -> dict[str, int] | None:
    """The board's figures, if it has them in time."""
    import ray

    try:
        figures: dict[str, int] = ray.get(board.figures.remote(), timeout=10 * _POLL_INTERVAL_S)
    except ray.exceptions.RayTaskError:
        raise  # a mistake in the board itself
    except (ray.exceptions.RayError, TimeoutError):
        return None  # it is out of reach for the moment; the pool reports what else went wrong
    return figures


def _listen(board: Any, view: SynthView) -> None:
    """Pass on what workers complain of; give up where they die again and again."""
    import ray

    with contextlib.suppress(ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
        for trouble in ray.get(board.take_troubles.remote(), timeout=_POLL_INTERVAL_S):
            view.say(f"{trouble}; trying again")
        if part := ray.get(board.hopeless_part.remote(), timeout=_POLL_INTERVAL_S):
            raise JobFailedError(
                f"synth: workers die of {part} again and again, before or after its documents are "
                f"written; look at their logs, and at the documents of that part"
            )


def _wait_for_parts(
    board: Any, pool: _PoolThread, view: SynthView, request: StopRequest, grace_s: float
) -> None:
    """After a request to stop: give the parts in flight a while."""
    board.stop.remote()
    view.say(
        f"{request.signal}: no new parts; up to {grace_s:g} s for those in flight "
        f"(once more: at once)"
    )
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline and not pool.has_ended(_POLL_INTERVAL_S / 2):
        figures = _ask(board)
        if figures is not None and not figures["parts_in_flight"]:
            break


def _farewell(figures: dict[str, int] | None, request: StopRequest) -> str:
    left = ""
    if figures is not None:
        left = (
            f": {figures['parts_done']:,} of {figures['parts_total']:,} parts are committed, "
            f"{figures['parts_in_flight']} in flight were abandoned"
        )
    return f"synthesis stopped by {request.signal}{left}; run again to go on"
