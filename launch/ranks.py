"""The ranks below a launcher on this machine: who ends first, and asking all of them to stop."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Self

import psutil

_LOCAL_RANK = "--local_rank="
_WATCH_S, _ASK_AGAIN_S = 0.05, 1.0
_BY_SIGNAL, _BY_ITSELF = "by a signal", "by itself"
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class Ranks:
    """While the block lasts, signals to this process become requests to the ranks to save and stop.

    A request that comes before there are ranks, or before they listen, is made again until they
    end.
    """

    def __init__(self, num_ranks: int, ask_others: Callable[[], None]) -> None:
        """Expect so many below the launcher; `watch` says where it is, once there is one.

        Args:
            num_ranks: on this machine.
            ask_others: passes a request on to ranks elsewhere; it may be made again.
        """
        self._num_ranks, self._ask_others, self._launcher = num_ranks, ask_others, 0
        self.are_to_stop = False
        """Whether a signal has asked for it."""
        self._first: int | None = None
        self._found: dict[int, psutil.Process] = {}
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="ipt-ranks", daemon=True)
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._handlers = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        self._has_ended.set()
        if self._thread.is_alive():
            self._thread.join()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def watch(self, launcher: int) -> None:
        """Watch the ranks below the process `launcher`."""
        self._launcher = launcher
        self._thread.start()

    def ended_first(self) -> int | None:
        """Which of them ended before the others, if one has."""
        return self._first

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.are_to_stop = True

    def _watch(self) -> None:
        asked_at = 0.0
        while not self._has_ended.wait(_WATCH_S):
            if len(self._found) < self._num_ranks:
                self._found = find_ranks(self._launcher) | self._found
            now = time.monotonic()
            if self.are_to_stop and now - asked_at > _ASK_AGAIN_S:
                asked_at = now
                for rank in self._found.values():
                    with contextlib.suppress(psutil.Error):
                        rank.terminate()
                self._ask_others()
            if self._first is None:
                self._first = self._find_first_ended()

    def _find_first_ended(self) -> int | None:
        endings = {number: ending_of(rank) for number, rank in self._found.items()}
        ended = {number: ending for number, ending in endings.items() if ending}
        # Those that lose another one follow within moments, by an error of their own.
        return min(ended, key=lambda n: (ended[n] != _BY_SIGNAL, n)) if ended else None


def find_ranks(launcher: int) -> dict[int, psutil.Process]:
    """The ranks that a launcher has started, by their number on this machine."""
    found: dict[int, psutil.Process] = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(launcher).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                for part in child.cmdline():
                    if part.startswith(_LOCAL_RANK):  # a child of a rank may have its name: later
                        found.setdefault(int(part.removeprefix(_LOCAL_RANK)), child)
    return found


def ending_of(process: psutil.Process) -> str:
    """How a process has ended; empty if it has not."""
    try:
        if process.status() != psutil.STATUS_ZOMBIE:
            return ""
        # The last field is the exit status, as for waitpid: its low bits are a signal's number.
        status = Path(f"/proc/{process.pid}/stat").read_text().split()[-1]
    except (psutil.NoSuchProcess, OSError):
        return _BY_ITSELF
    return _BY_SIGNAL if int(status) & 0x7F else _BY_ITSELF
