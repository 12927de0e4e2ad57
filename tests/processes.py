"""Processes of a drill, found by a mark in their environment, and waiting for what they do."""

import contextlib
import socket
import time
from collections.abc import Callable
from pathlib import Path

DRILL = "IPT_DRILL"


def marked_processes(mark: str, sign: str = "") -> list[int]:
    """Processes that were started with `DRILL=mark` and whose command line holds `sign`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment = (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if f"{DRILL}={mark}".encode() in environment and sign in command:
                found.append(int(folder.name))
    return sorted(found)


def wait_for(is_so: Callable[[], object], within_s: float = 60.0) -> bool:
    """Wait until something is so; False if it is not within the time."""
    deadline = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
