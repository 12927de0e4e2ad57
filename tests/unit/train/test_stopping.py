"""What asks a rank to save and stop."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.process import EXIT_STOPPED, STARTER_FILE, WATCHED_PROCESS
from train import stopping
from train.stopping import SaveRequest, Starter


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal(number: signal.Signals) -> None:
    stop = SaveRequest(Starter())
    assert not stop
    os.kill(os.getpid(), number)
    assert stop


def test_the_end_of_the_process_that_started_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    starter = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    monkeypatch.setenv(WATCHED_PROCESS, str(starter.pid))
    stop = SaveRequest(Starter())
    assert not stop
    starter.kill()
    starter.wait()
    assert stop


def test_until_the_first_step_a_rank_ends_with_the_starter(tmp_path: Path) -> None:
    starter = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    waits = "from train.stopping import Preparation; import time; p = Preparation(); time.sleep(60)"
    environment = {**os.environ, WATCHED_PROCESS: str(starter.pid)}
    rank = subprocess.Popen([sys.executable, "-c", waits], env=environment)
    with pytest.raises(subprocess.TimeoutExpired):
        rank.wait(timeout=3)
    starter.kill()
    starter.wait()
    assert rank.wait(timeout=20) == EXIT_STOPPED


def test_a_rank_that_an_ssh_session_started_and_that_has_none_is_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.env").touch()
    monkeypatch.setenv(STARTER_FILE, str(tmp_path / "own.env"))
    assert SaveRequest(Starter())


def test_a_start_that_took_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "logs" / "own.env"
    file.parent.mkdir()
    file.touch()
    monkeypatch.setenv(STARTER_FILE, str(file))
    monkeypatch.setattr(stopping, "_starting_process", os.getpid)
    monkeypatch.setenv("RANK", "1")
    other = SaveRequest(Starter())
    monkeypatch.setenv("RANK", "0")
    first = SaveRequest(Starter())
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
    monkeypatch.setattr(stopping, "_starting_process", os.getpid)
    monkeypatch.setenv("RANK", "0")
    assert not SaveRequest(Starter())
