"""Ends a run that hangs, and names the rank that keeps the others waiting.

Each rank notes in memory what it is doing; a thread shows that to all others every few seconds,
through the store by which the ranks once found each other. When a rank has been at one thing for
too long, it compares: whoever is at an earlier thing, or has shown nothing lately, is to blame. The
store is at rank 0, and a host that is cut off from it has to find that out by its own clock.
"""

import datetime
import faulthandler
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

EXIT_HUNG = 70
_BEATS_PER_LIMIT = 20
_STORE_TIMEOUT = datetime.timedelta(seconds=5)
_LONGEST_LOOK_S = 20.0


class Beat(NamedTuple):
    """What a rank says of itself."""

    step: int
    """Step under way."""
    phase: str
    """What of it: one of `PHASES`."""
    since_s: float
    """Seconds that this has taken."""
    age_s: float
    """Seconds since the rank said so."""


PHASES = ("data", "forward and backward", "losses", "optimizer", "evaluation", "checkpoint", "end")
"""Of a step, in their order."""


class Watchdog:
    """Watches one rank; `at` is called whenever it begins something else."""

    def __init__(self, limit_s: float) -> None:
        """Allow `limit_s` seconds for each thing; `start` begins to watch."""
        self._limit_s = limit_s
        self._at = (0, PHASES[0], time.monotonic())
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="ipt-watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._at = (*self._at[:2], time.monotonic())
        self._thread.start()

    def at(self, step: int, phase: str) -> None:
        """Note what the rank begins now."""
        self._at = (step, phase, time.monotonic())

    def stop(self) -> None:
        """End the watch."""
        self._has_ended.set()
        self._thread.join()

    def _watch(self) -> None:
        from torch.distributed import get_rank, get_world_size

        rank, num_ranks = get_rank(), get_world_size()
        pause_s = min(30.0, self._limit_s / _BEATS_PER_LIMIT)
        _in_background(lambda: self._show_beats(rank, pause_s))
        while not self._has_ended.wait(pause_s):
            step, phase, since = self._at
            if (taken_s := time.monotonic() - since) > self._limit_s:
                self._end(rank, step, phase, taken_s, explain_hang(_beats_of(num_ranks)))
                return

    def _show_beats(self, rank: int, pause_s: float) -> None:
        """Show the others how this rank stands, as long as the store answers."""
        store = _connect()
        while store is not None and not self._has_ended.wait(pause_s):
            step, phase, since = self._at
            beat = {"step": step, "phase": phase, "since_s": time.monotonic() - since}
            try:
                store.set(_key(rank), json.dumps(beat | {"at": time.time()}))
            except RuntimeError:
                return

    def _end(self, rank: int, step: int, phase: str, since_s: float, blame: str) -> None:
        try:
            print(
                f"error: rank {rank} has been at the {phase} of step {step} for {since_s:.0f} s "
                f"(train.watchdog_s = {self._limit_s:g}): {blame}",
                file=sys.stderr,
                flush=True,
            )
            faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
            sys.stderr.flush()
        finally:  # also where nobody reads any more, as the launcher's host is gone
            os._exit(EXIT_HUNG)  # the main thread hangs: nothing else would end it


def explain_hang(beats: dict[int, Beat | None]) -> str:
    """Which ranks keep the others waiting, in words.

    Args:
        beats: the last of each rank; None: it never gave one.
    """
    found = {rank: beat for rank, beat in beats.items() if beat is not None}
    if not found:
        return "rank 0, through which ranks speak, does not answer"
    silent = sorted(beats.keys() - found.keys())
    typical = sorted(beat.age_s for beat in found.values())[(len(found) - 1) // 2]
    silent += [rank for rank, beat in found.items() if beat.age_s > 3 * typical + 10]
    if silent:
        names = ", ".join(map(str, sorted(silent)))
        return f"rank {names} shows no sign of life"
    places = {rank: (beat.step, PHASES.index(beat.phase)) for rank, beat in found.items()}
    first = min(places.values())
    behind = [rank for rank, place in places.items() if place == first]
    if len(behind) == len(places):
        return (
            "all ranks are at the same point; the network between them, or the accelerator, hangs"
        )
    step, phase = first
    names = ", ".join(map(str, behind))
    return f"rank {names} is still at the {PHASES[phase]} of step {step}"


def _connect() -> Any:
    """A connection of our own: a call that waits on another one holds that one up."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    try:
        return TCPStore(
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            is_master=False,
            timeout=_STORE_TIMEOUT,
        )
    except (RuntimeError, KeyError):  # then this rank's own word has to do
        return None


def _beats_of(num_ranks: int) -> dict[int, Beat | None]:
    """The last beat of each rank; a store that does not answer costs seconds and no more."""
    beats: dict[int, Beat | None] = dict.fromkeys(range(num_ranks))

    def look() -> None:
        store = _connect()
        for rank in beats if store is not None else ():
            try:
                beat = json.loads(store.get(_key(rank)))
            except RuntimeError:
                continue
            age_s = time.time() - beat["at"]
            beats[rank] = Beat(beat["step"], beat["phase"], beat["since_s"], age_s)

    _in_background(look).join(_LONGEST_LOOK_S)
    return dict(beats)


def _in_background(work: Callable[[], None]) -> threading.Thread:
    """Start work that may never end: over a network that is cut, the store's calls do not."""
    thread = threading.Thread(target=work, name="ipt-beats", daemon=True)
    thread.start()
    return thread


def _key(rank: int) -> str:
    return f"ipt-beat-{rank}"
