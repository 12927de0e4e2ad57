"""Requests to save and stop: a signal, the end of whoever started the run, or a new start."""

import os
import signal
import threading
from pathlib import Path

import psutil

from pipeline.process import EXIT_STOPPED, STARTER_FILE, WatchedProcess

LONGEST_STOP_S = 120.0
"""How long a new start waits for ranks of an earlier one, which save and stop."""
_LAUNCHER = "deepspeed.launcher.launch"
_LONGEST_WAY = 2
"""From the launcher's process to its starter; a shell may stand between."""
_WATCH_S = 1.0


class Starter:
    """Whoever started the run, as this rank can tell."""

    def __init__(self) -> None:
        """Find it."""
        starting_process = _starting_process()
        self._process = WatchedProcess(else_watch=starting_process)
        # Ranks that have the file are started over ssh: no session, no starter.
        self._was_gone = STARTER_FILE in os.environ and starting_process is None
        is_first = os.environ.get("RANK") == "0"
        self._file = os.environ.get(STARTER_FILE, "") if is_first else ""

    def is_gone(self) -> bool:
        """Whether it has ended, or another start has taken over."""
        if self._was_gone or self._process.has_ended():
            return True
        if not self._file:
            return False
        try:
            # Opened, not looked up: a network file system asks its server then.
            os.close(os.open(self._file, os.O_RDONLY))
        except FileNotFoundError:
            return True
        except OSError:  # storage that is away for a moment says nothing
            return False
        return False


class Preparation:
    """The time until the first step, in which this process ends at once with its starter.

    There is nothing to save then; and a rank may wait for others in native code, which heeds no
    signal, for half an hour if these are gone.
    """

    def __init__(self) -> None:
        """Begin to watch the starter."""
        self._starter = Starter()
        self._is_ready = threading.Event()
        threading.Thread(target=self._watch, name="ipt-starter", daemon=True).start()

    def end(self) -> "SaveRequest":
        """From now on the starter's end asks to save."""
        self._is_ready.set()
        return SaveRequest(self._starter)

    def _watch(self) -> None:
        while not self._is_ready.wait(_WATCH_S):
            if self._starter.is_gone():
                os._exit(EXIT_STOPPED)


class SaveRequest:
    """Whether this rank was asked to stop after the step it is in."""

    def __init__(self, starter: Starter) -> None:
        """Take over SIGTERM and SIGUSR1; the launcher turns Ctrl-C into SIGTERM."""
        self._is_requested = False
        self._starter = starter
        signal.signal(signal.SIGTERM, self._note)
        signal.signal(signal.SIGUSR1, self._note)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def __bool__(self) -> bool:
        """Whether a signal came, or the starter is gone."""
        return self._is_requested or self._starter.is_gone()

    def _note(self, *_: object) -> None:
        self._is_requested = True


def _starting_process() -> int | None:
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
