"""Requests to save and stop: signals to any rank, or the end of whoever started the run."""

import os
import signal
from pathlib import Path

import psutil

from pipeline.process import WatchedProcess


class SaveRequest:
    """Whether this rank was asked to stop after the step it is in."""

    def __init__(self) -> None:
        """Take over SIGTERM and SIGUSR1; the launcher turns Ctrl-C into SIGTERM."""
        self._is_requested = False
        self._parent = WatchedProcess(else_watch=_deepspeed())
        signal.signal(signal.SIGTERM, self._note)
        signal.signal(signal.SIGUSR1, self._note)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def __bool__(self) -> bool:
        """Whether a signal came or the parent has ended."""
        return self._is_requested or self._parent.has_ended()

    def _note(self, *_: object) -> None:
        self._is_requested = True


def _deepspeed() -> int | None:
    """The `deepspeed` command that a person typed, if it is what started this rank.

    It ends at a signal and leaves the process between it and the ranks, which knows of nothing.
    """
    try:
        command = psutil.Process(os.getppid()).parent()
        names = [Path(each).name for each in command.cmdline()] if command is not None else []
    except psutil.Error:
        return None
    return command.pid if command is not None and "deepspeed" in names else None
