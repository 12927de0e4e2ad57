"""Training through the `deepspeed` launcher: the same command a person would type."""

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

import psutil

from pipeline.errors import InputError
from pipeline.process import EXIT_STOPPED, WATCHED_PROCESS
from pipeline.run_folder import RunFolder
from train.config import TrainConfig

_SCRIPT = Path(__file__).resolve().parent.parent / "train" / "pretrain.py"
_ERROR = "error: "
_SHOWN = ("step ", "resumed ", "stopped ", "left out ", "passed over ", _ERROR)
_LOCAL_RANK = "--local_rank="
_TAIL_LINES = 15
_WATCH_S = 0.05
_BY_SIGNAL, _BY_ITSELF = "by a signal", "by itself"


class TrainingStoppedError(Exception):
    """The ranks ended early; `exit_code` is theirs."""

    def __init__(self, exit_code: int, message: str) -> None:
        """Keep the exit code to pass on."""
        super().__init__(message)
        self.exit_code = exit_code


def build_command(config: TrainConfig, config_path: str, overrides: Sequence[str]) -> list[str]:
    """The launcher's command line for this machine."""
    launcher = Path(sys.executable).with_name("deepspeed")
    if not launcher.exists():
        raise InputError(f"{launcher}: the deepspeed launcher is missing; install deepspeed")
    return [
        str(launcher),
        f"--num_accelerators={config.num_ranks}",
        f"--master_port={_free_port()}",
        str(_SCRIPT),
        config_path,
        *overrides,
    ]


def run_training(
    config: TrainConfig, folder: RunFolder, config_path: str, overrides: Sequence[str]
) -> None:
    """Run the launcher to its end; its output goes to `logs/train.log`, its steps to the screen.

    Raises:
        TrainingStoppedError: it ended with another exit code than 0.
    """
    command = build_command(config, config_path, overrides)
    log_path = Path(folder.logs) / "train.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    print(f"train   {shlex.join(command)}", flush=True)
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    shown_errors: set[str] = set()
    with log_path.open("a", encoding="utf-8") as log:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=_environment(config.num_ranks),
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches us alone, and we ask the ranks to save
        )
        assert process.stdout is not None
        watch = _RankWatch(process.pid)
        with _stops_ranks_of(process.pid), watch:
            for line in process.stdout:
                log.write(line)
                log.flush()
                tail.append(line)
                if line.startswith(_SHOWN) and line not in shown_errors:
                    print(f"train   {line}", end="", flush=True)
                    if line.startswith(_ERROR):  # every rank meets and says the same one
                        shown_errors.add(line)
            exit_code = process.wait()
    if exit_code == EXIT_STOPPED:
        raise TrainingStoppedError(exit_code, "training saved and stopped; run again to go on")
    if exit_code:
        shown = "".join(tail) if exit_code != 2 else ""  # 2: its one error line is on the screen
        raise TrainingStoppedError(
            exit_code,
            f"{shown}training ended with {_in_words(exit_code)}{watch.blame()}; "
            f"all output: {log_path}",
        )


class _RankWatch:
    """Notes which rank ends first; the launcher then ends the others, and says of all the same."""

    def __init__(self, launcher: int) -> None:
        self._launcher = launcher
        self._first: int | None = None
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="ipt-ranks", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._has_ended.set()
        self._thread.join()

    def blame(self) -> str:
        """Who it was, in words."""
        return "" if self._first is None else f" after rank {self._first} ended"

    def _watch(self) -> None:
        ranks: dict[int, psutil.Process] = {}
        while not self._has_ended.wait(_WATCH_S):
            if not ranks:
                ranks = _ranks_of(self._launcher)
            if ended := {number: _ending(rank) for number, rank in ranks.items() if _ending(rank)}:
                # Those that lose another one follow within moments, by an error of their own.
                self._first = min(ended, key=lambda number: (ended[number] != _BY_SIGNAL, number))
                return


def _ending(process: psutil.Process) -> str:
    """How a process has ended, if it has."""
    try:
        if process.status() != psutil.STATUS_ZOMBIE:
            return ""
        # The last field is the exit status, as for waitpid: its low bits are a signal's number.
        status = Path(f"/proc/{process.pid}/stat").read_text().split()[-1]
    except (psutil.NoSuchProcess, OSError):
        return _BY_ITSELF
    return _BY_SIGNAL if int(status) & 0x7F else _BY_ITSELF


def _ranks_of(launcher: int) -> dict[int, psutil.Process]:
    """The launcher's ranks that are running, by their number on this machine."""
    found = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(launcher).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                for part in child.cmdline():
                    if part.startswith(_LOCAL_RANK):
                        found[int(part.removeprefix(_LOCAL_RANK))] = child
    return found


def _in_words(exit_code: int) -> str:
    """An exit code, by the signal's name if the launcher made it of one."""
    number = 256 - exit_code
    if number in set(signal.Signals):
        return f"{signal.Signals(number).name} (exit code {exit_code})"
    return f"exit code {exit_code}"


@contextlib.contextmanager
def _stops_ranks_of(launcher: int) -> Iterator[None]:
    """Turn SIGTERM, SIGUSR1 and Ctrl-C to us into a request to the ranks to save and stop."""

    def ask(_number: int, _frame: FrameType | None) -> None:
        for rank in _ranks_of(launcher).values():
            with contextlib.suppress(psutil.Error):
                rank.terminate()

    asked_by = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    before = {number: signal.signal(number, ask) for number in asked_by}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _environment(num_ranks: int) -> dict[str, str]:
    environment = dict(os.environ, PYTHONUNBUFFERED="1", TRANSFORMERS_VERBOSITY="error")
    environment[WATCHED_PROCESS] = str(os.getpid())
    if not Path("/proc/driver/nvidia").exists():
        environment.setdefault("DS_ACCELERATOR", "cpu")
        threads = max(1, (os.cpu_count() or 1) // num_ranks)
        environment.setdefault("OMP_NUM_THREADS", str(threads))
    return environment


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
