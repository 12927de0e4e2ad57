"""Processes that must not be left behind, and requests to stop."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import guardian
from pipeline.process import ProcessFamily, stop_requests
from tests.processes import wait_for

# A process that starts another one, as engines do, and waits.
PARENT = """
import os, subprocess, sys, time
from pipeline.process import ProcessFamily
family = ProcessFamily()
child = "import subprocess, sys, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"
subprocess.Popen([sys.executable, "-c", child])
while len(family.members()) < 2:
    time.sleep(0.05)
print(os.environ["IPT_PROCESS_FAMILY"], flush=True)
time.sleep(60)
"""


def test_the_family_of_a_killed_process_goes_with_it() -> None:
    root = str(Path(guardian.__file__).parents[1])
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ, PYTHONPATH=root),
    )
    assert parent.stdout is not None
    mark = parent.stdout.readline().strip()
    assert len(guardian.find_marked(mark)) == 2
    parent.kill()
    parent.wait()
    assert wait_for(lambda: not guardian.find_marked(mark))


def test_a_family_can_be_killed_and_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(guardian.MARK, "")
    family = ProcessFamily()
    for _ in range(2):
        child = subprocess.Popen(["sleep", "60"])
        # A process has the mark from a moment after `Popen` returns: the kernel lays its
        # environment out last.
        assert wait_for(family.members)
        assert family.members() == [child.pid]
        family.kill()
        assert child.wait() == -signal.SIGKILL
    stranger = subprocess.Popen(["sleep", "60"], env={})
    family.close()
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_the_first_signal_is_noted_the_second_interrupts() -> None:
    def interrupt_twice() -> None:
        with stop_requests() as request:
            assert not request
            os.kill(os.getpid(), signal.SIGTERM)
            assert request.signal == "SIGTERM"
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        interrupt_twice()
    assert signal.getsignal(signal.SIGTERM) is before
