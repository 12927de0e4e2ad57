"""Requests to save and stop: a signal, the end of whoever started the run, or a new start."""

import os
import signal
from pathlib import Path

import psutil

from pipeline.process import STARTER_FILE, WatchedProcess

LONGEST_STOP_S = 120.0
"""How long a new start waits for ranks of an earlier one, which save and stop."""
_LAUNCHER = "deepspeed.launcher.launch"
_LONGEST_WAY = 2
"""From the launcher's process to its starter; a shell may stand between."""


class SaveRequest:
    """Whether this rank was asked to stop after the step it is in."""

    def __init__(self) -> None:
        """Take over SIGTERM and SIGUSR1; the launcher turns Ctrl-C into SIGTERM."""
        self._is_requested = False
        self._parent = WatchedProcess(else_watch=_starter())
        is_first = os.environ.get("RANK") == "0"
        self._starter_file = os.environ.get(STARTER_FILE, "") if is_first else ""
        signal.signal(signal.SIGTERM, self._note)
        signal.signal(signal.SIGUSR1, self._note)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def __bool__(self) -> bool:
        """Whether a signal came, the parent has ended, or another start took over."""
        return self._is_requested or self._parent.has_ended() or self._is_taken_over()

    def _is_taken_over(self) -> bool:
        if not self._starter_file:
            return False
        try:
            # Opened, not looked up: a network file system asks its server then.
            os.close(os.open(self._starter_file, os.O_RDONLY))
        except FileNotFoundError:
            return True
        except OSError:  # storage that is away for a moment says nothing
            return False
        return False

    def _note(self, *_: object) -> None:
        self._is_requested = True


def _starter() -> int | None:
    """Who started this rank by other means than `ipt` on this machine, if it shows.

    The `deepspeed` command that a person typed ends at a signal, and an ssh session with its
    connection; both leave the process between them and the ranks, which knows of nothing.
    """
    try:
        launcher = psutil.Process(os.getppid())
        if _LAUNCHER not in launcher.cmdline():
            return None
        for ancestor in launcher.parents()[:_LONGEST_WAY]:
            names = [Path(each).name for each in ancestor.cmdline()]
            if "deepspeed" in names or ancestor.name().startswith("sshd"):
                return int(ancestor.pid)
    except psutil.Error:
        pass
    return None
