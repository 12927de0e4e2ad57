"""What the `deepspeed` launcher prints: all of it to a log, steps and errors to the screen.

It also tells of a host whose ranks have ended: those of the others would wait for them.
"""

import contextlib
import os
import signal
import subprocess
import threading
from collections import deque
from typing import TextIO

from launch.placement import Placement

_ERROR = "error: "
_SHOWN = ("step ", "resumed ", "stopped ", "left out ", "passed over ", _ERROR)
_TAIL_LINES = 15
_LEFT_ALONE_S, _LAST_S = 60.0, 30.0
"""How long ranks may go on without those of a lost host, and how long they may take to end."""


class LauncherOutput:
    """The output of one launcher."""

    def __init__(self, process: subprocess.Popen[str], placement: Placement, log: TextIO) -> None:
        """Take over the process, whose output is a pipe, and its group."""
        self._process, self._placement, self._log = process, placement, log
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._shown_errors: set[str] = set()
        self._lost_host = ""
        self._deadline = threading.Timer(_LEFT_ALONE_S, self._end)
        self._deadline.daemon = True

    def follow(self) -> int:
        """Read to the end; returns the launcher's exit code."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with contextlib.suppress(OSError):  # a full disk must not end what still trains
                self._log.write(line)
                self._log.flush()
            self._tail.append(line)
            self._show(self._placement.without_host(line))
            if not self._lost_host and (lost := self._placement.lost_host(line)):
                self._lost_host = lost
                print(f"train   lost {lost}; ranks of other hosts have a minute to end", flush=True)
                self._deadline.start()
        exit_code = self._process.wait()
        self._deadline.cancel()
        return exit_code

    def last_lines(self) -> str:
        """The end of it."""
        return "".join(self._tail)

    def _show(self, line: str) -> None:
        if not line.startswith(_SHOWN):
            return
        if line not in self._shown_errors:
            print(f"train   {line}", end="", flush=True)
        if line.startswith(_ERROR):  # every rank meets and says the same one
            self._shown_errors.add(line)

    def _end(self) -> None:
        """End the launcher and what it started; ranks that wait for others heed no request."""
        self._process.terminate()  # which has it end those on other hosts
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
