"""The actor pool at work: workers begin where there is room, and are replaced when they die."""

import time
from typing import Any

from synth.pool import Pool
from synth.worker import SynthWorker, WorkerOrder

_MAX_FAILED_STARTS, _MOST_FAILED_STARTS = 3, 10
_MAX_START_INTERVAL_S = 60.0
_LOOK_INTERVAL_S = 15.0
"""How often the cluster is looked at for new nodes."""


class ActorPool:
    """Ray actors that run a job's lanes; it is for the driver to look after them now and then.

    All workers are asked for at once: Ray starts them as room appears, and a cluster that grows by
    itself sees what is wanted. If the config names no largest number, the pool grows with the nodes
    that join.
    """

    def __init__(self, pool: Pool, order: WorkerOrder) -> None:
        """Ask Ray for all workers."""
        import ray

        # An actor lives once: Ray would start a dead one again before the board knows of it.
        self._actors = ray.remote(SynthWorker).options(max_restarts=0, **pool.ray_options)
        self._num_lanes, self._order = pool.parts_in_flight, order
        self._beginning: dict[Any, Any] = {}
        self._running: dict[Any, Any] = {}
        """Actors by the reference to what their method will return."""
        self._room, self._most_fitting = pool.room, pool.max_workers
        self._next_look_s = time.monotonic() + _LOOK_INTERVAL_S
        self._num_wanted = pool.max_workers
        self._are_parts_left = True
        self._num_failed_starts = 0
        """In a row."""
        self._next_start_s = 0.0
        self._start_missing()

    def wait(self, wait_s: float) -> bool:
        """Wait until all workers are done, at most so long; returns whether they are.

        Workers that have begun go to work, those that died are replaced.

        Raises:
            RayError: a worker failed at its work, or none can begin.
        """
        import ray

        refs = [*self._beginning, *self._running]
        if not refs:
            time.sleep(wait_s)
        else:
            num_awaited = 1 if self._beginning else len(refs)
            ray.wait(refs, num_returns=num_awaited, timeout=wait_s)
            for ref in ray.wait(refs, num_returns=len(refs), timeout=0)[0]:
                if ref in self._beginning:
                    self._see_to_beginning(ref, self._beginning.pop(ref))
                else:
                    self._see_to_end(ref, self._running.pop(ref))
        self._grow()
        self._start_missing()
        return self._num_wanted == 0

    def wait_for_last(self, wait_s: float) -> None:
        """Give workers that have nothing left to do the time to end by themselves."""
        import ray

        if self._running:
            ray.wait(list(self._running), num_returns=len(self._running), timeout=wait_s)

    def _grow(self) -> None:
        if self._room is None or not self._are_parts_left:
            return
        if time.monotonic() < self._next_look_s:
            return
        self._next_look_s = time.monotonic() + _LOOK_INTERVAL_S
        num_more = max(0, self._room.num_workers() - self._most_fitting)
        self._most_fitting += num_more
        self._num_wanted += num_more

    def _start_missing(self) -> None:
        while len(self._beginning) + len(self._running) < self._num_wanted:
            if time.monotonic() < self._next_start_s:
                return
            actor = self._actors.remote(self._order)
            self._beginning[actor.begin.remote()] = actor

    def _see_to_beginning(self, ref: Any, actor: Any) -> None:
        import ray

        try:
            ray.get(ref)
        except ray.exceptions.RayError as error:
            self._num_failed_starts += 1
            if isinstance(error, _deaths()):  # one that fails alive has told the board itself
                said = str(error).strip().partition("\n")[0]
                self._order.board.complain.remote(f"a worker died before it could begin: {said}")
            # A bad node is no reason to end the work of all others; what always fails still is.
            most = min(_MAX_FAILED_STARTS + len(self._beginning), _MOST_FAILED_STARTS)
            if not self._running and self._num_failed_starts >= most:
                raise
            pause_s = min(2.0**self._num_failed_starts, _MAX_START_INTERVAL_S)
            self._next_start_s = time.monotonic() + pause_s
            return
        self._num_failed_starts, self._next_start_s = 0, 0.0
        self._running[actor.run.remote(self._num_lanes)] = actor

    def _see_to_end(self, ref: Any, actor: Any) -> None:
        import ray

        try:
            ray.get(ref)
        except _deaths():
            ray.kill(actor)  # it may have been out of reach only
            self._order.board.bury.remote(actor._actor_id.hex())
        else:
            self._num_wanted -= 1
            self._are_parts_left = False  # or it would have begun another one


def _deaths() -> tuple[type[Exception], ...]:
    """What Ray raises for an actor that is no more."""
    from ray import exceptions

    return exceptions.RayActorError, exceptions.OutOfMemoryError, exceptions.NodeDiedError
