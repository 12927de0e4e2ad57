"""Kills marked processes once the process they serve has ended: `guardian.py PID MARK`.

Run as a script by `pipeline.process.ProcessFamily`; it imports nothing beyond the standard library.
"""

import contextlib
import os
import select
import signal
import sys
import time

MARK = "IPT_PROCESS_FAMILY"
_POLL_S = 0.05


def find_marked(mark: str) -> list[int]:
    """Ids of live processes of ours that were started with `mark` in their environment."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if wanted in file.read().split(b"\0"):
                    found.append(int(name))
        except OSError:  # it ended, or is somebody else's
            continue
    return found  # a zombie's environment is empty, so it does not count


def kill_marked(mark: str, wait_s: float = 10.0) -> None:
    """SIGKILL all marked processes until none is left, or until `wait_s` seconds have passed."""
    deadline = time.monotonic() + wait_s
    while found := find_marked(mark):
        for process in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        if time.monotonic() > deadline:
            return
        time.sleep(_POLL_S)


def main() -> None:
    """Wait for the end of a process, then kill.

    The waiting is done by a grandchild of that process, as some frameworks kill their workers'
    children at the end of their work. Its id goes to standard output.
    """
    process, mark = int(sys.argv[1]), sys.argv[2]
    if os.fork():
        os._exit(0)
    os.setsid()  # what is sent to the worker's group, such as Ctrl-C, is not for it
    print(os.getpid(), flush=True)
    os.close(1)
    with contextlib.suppress(ProcessLookupError):
        select.select([os.pidfd_open(process)], [], [])
    kill_marked(mark)


if __name__ == "__main__":
    main()
