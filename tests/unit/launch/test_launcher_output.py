"""A launcher whose ranks wait for those of a lost host is ended."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from launch import launcher_output
from launch.launcher_output import LauncherOutput
from launch.over_ssh import OverSsh

LAUNCHER = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN if sys.argv[1] == "deaf" else signal.SIG_DFL)
waits = subprocess.Popen(["sleep", "60"])  # holds the pipe, as an ssh session does
print("a: error: no room", "b: error: no room", "a: DeepSpeed is loading", sep="\\n")
print("pdsh@head: b: ssh exited with exit code 255", flush=True)
print("pdsh@head: a: ssh exited with exit code 70", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("hearing", ["deaf", "hears"])
def test_ranks_that_wait_for_a_lost_host(
    hearing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(launcher_output, "_LEFT_ALONE_S", 0.5)
    monkeypatch.setattr(launcher_output, "_LAST_S", 0.5)
    hostfile = tmp_path / "hosts"
    hostfile.write_text("a slots=1\nb slots=1\n")
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, hearing],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    log = io.StringIO()
    output = LauncherOutput(process, OverSsh(hostfile), log)
    assert output.follow() == (-9 if hearing == "deaf" else -15)
    shown = capsys.readouterr().out.splitlines()
    assert shown == [
        "train   error: no room",
        "train   lost b (out of reach); ranks of other hosts have a minute to end",
    ]
    assert log.getvalue().count("\n") == 5
    assert output.last_lines() == log.getvalue()
