"""The driver's part while workers write: show progress, keep it, stop when asked to."""

import time
from typing import Any

from pipeline import storage
from pipeline.errors import JobFailedError, StoppedError
from pipeline.process import StopRequest, stop_requests
from pipeline.progress import ProgressLog
from pipeline.run_folder import METRICS_FILE
from synth.actors import ActorPool
from synth.board import News
from synth.view import SynthProgress, SynthView

_POLL_INTERVAL_S = 1.0
_LAST_WORDS_S = 15.0


def follow(
    pool: ActorPool, board: Any, stage_folder: str, num_documents: int, grace_s: float
) -> None:
    """Look after the pool until every part is committed.

    Args:
        pool: the workers.
        board: handle of the `JobBoard` actor.
        stage_folder: where the progress is kept.
        num_documents: documents of all parts together.
        grace_s: how long parts in flight may take after a request to stop.

    Raises:
        JobFailedError: workers die of a part whatever is done.
        StoppedError: SIGTERM or Ctrl-C asked for an end.
        RayError: a worker failed.
    """
    progress = SynthProgress(num_documents)
    log = ProgressLog(storage.join(stage_folder, METRICS_FILE))
    with stop_requests() as request, SynthView() as view:
        while not pool.wait(_POLL_INTERVAL_S):
            if request:
                _wait_for_parts(board, pool, view, request, grace_s)
                log.close()
                raise StoppedError(_farewell(_ask(board), request))
            if (news := _ask(board)) is None:
                continue
            line = progress.update(news.figures)
            if line["documents"] or line["parts_in_flight"]:
                log.note(line["done"], line)
            view.show(line)
            if line["parts_done"] == line["parts_total"]:
                # A worker that is to come may wait for a node that never does: no work is left.
                pool.wait_for_last(_LAST_WORDS_S)
                break
            _heed(news, view)
        if (news := _ask(board)) is not None:
            line = progress.update(news.figures)
            log.note(line["done"], line)
            view.show(line)
        log.close()


def _ask(board: Any) -> News | None:
    """The board's news, if it has them in time."""
    import ray

    try:
        news: News = ray.get(board.news.remote(), timeout=10 * _POLL_INTERVAL_S)
    except ray.exceptions.RayTaskError:
        raise  # a mistake in the board itself
    except (ray.exceptions.RayError, TimeoutError):
        return None  # it is out of reach for the moment; the pool reports what else went wrong
    return news


def _heed(news: News, view: SynthView) -> None:
    """Pass on what workers complain of; give up where they die again and again."""
    for trouble in news.troubles:
        view.say(f"{trouble}; trying again")
    if news.hopeless_part:
        raise JobFailedError(
            f"synth: workers die of {news.hopeless_part} again and again, before or after its "
            f"documents are written; look at their logs, and at the documents of that part"
        )


def _wait_for_parts(
    board: Any, pool: ActorPool, view: SynthView, request: StopRequest, grace_s: float
) -> None:
    """After a request to stop: give the parts in flight a while."""
    board.stop.remote()
    view.say(
        f"{request.signal}: no new parts; up to {grace_s:g} s for those in flight "
        f"(once more: at once)"
    )
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline and not pool.wait(_POLL_INTERVAL_S / 2):
        news = _ask(board)
        if news is not None and not news.figures["parts_in_flight"]:
            break


def _farewell(news: News | None, request: StopRequest) -> str:
    left = ""
    if news is not None:
        figures = news.figures
        left = (
            f": {figures['parts_done']:,} of {figures['parts_total']:,} parts are committed, "
            f"{figures['parts_in_flight']} in flight were abandoned"
        )
    return f"synthesis stopped by {request.signal}{left}; run again to go on"
