"""What asks a rank to save and stop."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.process import STARTER_FILE, WATCHED_PROCESS
from train.stopping import SaveRequest


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal(number: signal.Signals) -> None:
    stop = SaveRequest()
    assert not stop
    os.kill(os.getpid(), number)
    assert stop


def test_the_end_of_the_process_that_started_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    starter = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    monkeypatch.setenv(WATCHED_PROCESS, str(starter.pid))
    stop = SaveRequest()
    assert not stop
    starter.kill()
    starter.wait()
    assert stop


def test_a_start_that_took_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "logs" / "own.env"
    file.parent.mkdir()
    file.touch()
    monkeypatch.setenv(STARTER_FILE, str(file))
    monkeypatch.setenv("RANK", "1")
    other = SaveRequest()
    monkeypatch.setenv("RANK", "0")
    first = SaveRequest()
    assert not first
    file.unlink()
    assert first
    assert not other, "rank 0 asks for all of them"


def test_storage_that_is_away_asks_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "own.env"
    file.symlink_to(file)  # opening it fails, and not as one that is gone
    monkeypatch.setenv(STARTER_FILE, str(file))
    monkeypatch.setenv("RANK", "0")
    assert not SaveRequest()
