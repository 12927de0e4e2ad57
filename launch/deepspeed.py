"""Training through the `deepspeed` launcher: the same command a person would type."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from launch.launcher_output import LauncherOutput
from launch.over_ssh import OF_SSH, take_over
from launch.placement import Placement
from launch.ranks import Ranks
from pipeline import storage
from pipeline.errors import InputError
from pipeline.process import (
    EXIT_BAD_INPUT,
    EXIT_STOPPED,
    WATCHED_PROCESS,
    die_with_parent,
    has_nvidia_driver,
)
from pipeline.run_folder import RunFolder
from train.stopping import LONGEST_STOP_S

_SCRIPT = Path(__file__).resolve().parent.parent / "train" / "pretrain.py"


class TrainingStoppedError(Exception):
    """The ranks ended early; `exit_code` is theirs."""

    def __init__(self, exit_code: int, message: str) -> None:
        """Keep the exit code to pass on."""
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Launch:
    """The launcher's command line, and the variables that it is started with."""

    command: list[str]
    variables: dict[str, str]

    def typed(self) -> str:
        """As a person would type it, without the variables that are set here already."""
        here = os.environ
        new = {name: text for name, text in self.variables.items() if here.get(name) != text}
        settings = [f"{name}={shlex.quote(text)}" for name, text in new.items()]
        return " ".join([*settings, shlex.join(self.command)])


def plan_launch(
    placement: Placement, log_folder: str, config_path: str, overrides: Sequence[str]
) -> Launch:
    """How to start the ranks; files that it names are the placement's to write.

    Raises:
        InputError: there is no launcher.
    """
    launcher = Path(sys.executable).with_name("deepspeed")
    if not launcher.exists():
        raise InputError(f"{launcher}: the deepspeed launcher is missing; install deepspeed")
    options = placement.options(log_folder)
    variables = {"PYTHONUNBUFFERED": "1", "TRANSFORMERS_VERBOSITY": "error"}
    # Of this machine's ranks: those of other hosts look at their own.
    if placement.num_local_ranks and not has_nvidia_driver():
        threads = max(1, (os.cpu_count() or 1) // placement.num_local_ranks)
        wanted = {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": str(threads)}
        variables |= {name: os.environ.get(name, value) for name, value in wanted.items()}
    return Launch(
        [str(launcher), *options, str(_SCRIPT), config_path, *overrides],
        variables | placement.launcher_variables(log_folder),
    )


def run_training(
    placement: Placement, folder: RunFolder, config_path: str, overrides: Sequence[str]
) -> None:
    """Run the launcher to its end; its output goes to `logs/`, its steps to the screen.

    Raises:
        InputError: there is no launcher, or a host cannot be used.
        JobFailedError: a host is away.
        TrainingStoppedError: it ended with another exit code than 0.
    """
    placement.check([config_path, *overrides])
    log_path = Path(folder.logs) / placement.log_name
    log_path.parent.mkdir(parents=True, exist_ok=True)
    launch = plan_launch(placement, folder.logs, config_path, overrides)
    environment = {**os.environ, **launch.variables}
    if placement.first_rank == 0:
        take_over(folder.logs)
        _await_earlier_ranks(folder)
    environment |= placement.prepare(environment, folder.logs)
    ranks = Ranks(
        placement.num_local_ranks, lambda: placement.ask_to_stop(str(_SCRIPT), config_path)
    )
    with open(log_path, "a", encoding="utf-8", opener=storage.no_link) as log, ranks:
        print(f"train   {launch.typed()}", flush=True)
        process = subprocess.Popen(
            launch.command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment | {WATCHED_PROCESS: str(os.getpid())},
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches us alone, and we ask the ranks to save
            # Ranks here watch this process; those elsewhere hear of its end from the launcher.
            preexec_fn=None if placement.num_local_ranks else die_with_parent,
        )
        ranks.watch(process.pid)
        output = LauncherOutput(process, placement, log)
        exit_code = output.follow()
    if exit_code == EXIT_STOPPED:
        raise TrainingStoppedError(exit_code, "training saved and stopped; run again to go on")
    if ranks.are_to_stop and exit_code == 256 - signal.SIGTERM:
        words = "training stopped before its first step; run again to go on"
        raise TrainingStoppedError(EXIT_STOPPED, words)
    if exit_code:
        # After bad input its one error line is on the screen.
        shown = output.last_lines() if exit_code != EXIT_BAD_INPUT else ""
        raise TrainingStoppedError(
            exit_code,
            f"{shown}training ended with {_in_words(exit_code)}{_blame(ranks, placement)}; "
            f"all output: {log_path}",
        )


def _await_earlier_ranks(folder: RunFolder) -> None:
    """Wait until ranks that an earlier start left have saved, or this start would meet them.

    Raises:
        BusyError: the folder is held all the same, as by a launcher that was started by hand.
    """
    with storage.exclusive(folder.train, wait_s=LONGEST_STOP_S):
        pass


def _blame(ranks: Ranks, placement: Placement) -> str:
    """Which rank ended first, in words; the launcher then ends the others."""
    first = ranks.ended_first()
    return "" if first is None else f" after rank {placement.first_rank + first} ended"


def _in_words(exit_code: int) -> str:
    """An exit code, by the signal's name if the launcher made it of one."""
    if exit_code == OF_SSH:
        return f"a host that is out of reach (exit code {exit_code}, as ssh says it)"
    number = 256 - exit_code
    if number in set(signal.Signals):
        return f"{signal.Signals(number).name} (exit code {exit_code})"
    return f"exit code {exit_code}"
