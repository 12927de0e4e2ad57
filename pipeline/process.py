"""Processes that must not outlive the one that started them, and signals that ask to stop."""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from pipeline import guardian

WATCHED_PROCESS = "IPT_WATCHED_PROCESS"
STARTER_FILE = "IPT_STARTER_FILE"
"""Variable of ranks on other hosts: a file that is gone once another start took over the run."""
GUESSED_ACCELERATOR = "IPT_GUESSED_ACCELERATOR"
"""Variable that says: `DS_ACCELERATOR` follows from what this machine has, not from the user."""
EXIT_FAILED, EXIT_BAD_INPUT, EXIT_STOPPED = 1, 2, 75
_PR_SET_PDEATHSIG = 1


def has_nvidia_driver() -> bool:
    """Whether this machine has one, seen without loading anything."""
    return Path("/proc/driver/nvidia").exists()


def die_with_parent(number: int = signal.SIGTERM) -> None:
    """Have the kernel send `number` to this process when its parent ends, even by SIGKILL."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it ended before the kernel knew
        os.kill(os.getpid(), number)


class WatchedProcess:
    """The process that `WATCHED_PROCESS` names, by a handle that no later process can take over."""

    def __init__(self, else_watch: int | None = None) -> None:
        """Open the handle; without that variable watch `else_watch`, or nobody."""
        self._handle: int | None = None
        if number := os.environ.get(WATCHED_PROCESS) or else_watch:
            try:
                self._handle = os.pidfd_open(int(number))
            except ProcessLookupError:
                self._handle = os.open(os.devnull, os.O_RDONLY)  # readable at once: it has ended

    def has_ended(self) -> bool:
        """Whether that process has ended."""
        if self._handle is None:
            return False
        readable, _, _ = select.select([self._handle], [], [], 0)
        return bool(readable)


class ProcessFamily:
    """Processes that a library starts for us, found by a mark in their environment.

    A library's own clean-up ends with its process. These are found and killed whatever became of
    their parents: by `kill`, and by a guardian once this process has ended, even by SIGKILL.
    """

    def __init__(self) -> None:
        """Mark what this process starts from now on, and set up the guardian."""
        self._mark = uuid.uuid4().hex
        unmarked = dict(os.environ)
        os.environ[guardian.MARK] = self._mark
        # Isolated and by path: it starts in milliseconds, whatever this process has loaded.
        command = [sys.executable, "-I", "-S", guardian.__file__, str(os.getpid()), self._mark]
        started = subprocess.run(
            command,
            env=unmarked,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=True,
        )
        self._guardian = int(started.stdout)

    def members(self) -> list[int]:
        """Process ids of those alive."""
        return guardian.find_marked(self._mark)

    def kill(self, wait_s: float = 10.0) -> None:
        """SIGKILL all of them, and wait until they are gone."""
        guardian.kill_marked(self._mark, wait_s)

    def close(self) -> None:
        """Kill what is left, and end the guardian."""
        self.kill()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._guardian, signal.SIGKILL)


class StopRequest:
    """Whether SIGTERM or Ctrl-C has asked for an orderly end; made by `stop_requests`."""

    def __init__(self) -> None:
        """Nothing has been asked yet."""
        self.signal = ""

    def __bool__(self) -> bool:
        """Whether a stop was asked for."""
        return bool(self.signal)


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Note SIGTERM and Ctrl-C for the length of a block; a second one interrupts it.

    Raises:
        KeyboardInterrupt: a second signal came.
    """
    request = StopRequest()

    def note(number: int, _frame: FrameType | None) -> None:
        if request:
            raise KeyboardInterrupt
        request.signal = signal.Signals(number).name

    if threading.current_thread() is not threading.main_thread():  # Python delivers none here
        yield request
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
