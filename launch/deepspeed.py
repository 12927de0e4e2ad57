"""Training through the `deepspeed` launcher: the same command a person would type."""

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from launch.ranks import Ranks
from pipeline.errors import InputError
from pipeline.process import EXIT_STOPPED, WATCHED_PROCESS
from pipeline.run_folder import RunFolder
from train.config import TrainConfig

_SCRIPT = Path(__file__).resolve().parent.parent / "train" / "pretrain.py"
_ERROR = "error: "
_SHOWN = ("step ", "resumed ", "stopped ", "left out ", "passed over ", _ERROR)
_TAIL_LINES = 15


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
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    shown_errors: set[str] = set()
    with log_path.open("a", encoding="utf-8") as log, Ranks(config.num_ranks) as ranks:
        print(f"train   {shlex.join(command)}", flush=True)
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
        ranks.watch(process.pid)
        for line in process.stdout:
            with contextlib.suppress(OSError):  # a full disk must not end what still trains
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
    if ranks.are_to_stop and exit_code == 256 - signal.SIGTERM:
        words = "training stopped before its first step; run again to go on"
        raise TrainingStoppedError(EXIT_STOPPED, words)
    if exit_code:
        shown = "".join(tail) if exit_code != 2 else ""  # 2: its one error line is on the screen
        raise TrainingStoppedError(
            exit_code,
            f"{shown}training ended with {_in_words(exit_code)}{ranks.blame()}; "
            f"all output: {log_path}",
        )


def _in_words(exit_code: int) -> str:
    """An exit code, by the signal's name if the launcher made it of one."""
    number = 256 - exit_code
    if number in set(signal.Signals):
        return f"{signal.Signals(number).name} (exit code {exit_code})"
    return f"exit code {exit_code}"


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
