"""Processes that must not outlive the one that started them."""

import ctypes
import os
import select
import signal

WATCHED_PROCESS = "IPT_WATCHED_PROCESS"
EXIT_STOPPED = 75
_PR_SET_PDEATHSIG = 1


def die_with_parent(number: int = signal.SIGTERM) -> None:
    """Have the kernel send `number` to this process when its parent ends, even by SIGKILL."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it ended before the kernel knew
        os.kill(os.getpid(), number)


class WatchedProcess:
    """The process that `WATCHED_PROCESS` names, by a handle that no later process can take over."""

    def __init__(self) -> None:
        """Open the handle; without that variable there is nobody to watch."""
        self._handle: int | None = None
        if number := os.environ.get(WATCHED_PROCESS):
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
