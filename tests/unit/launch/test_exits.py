"""How a command ends, by what it met."""

import os
import signal
import time
from collections.abc import Callable
from functools import partial

import pytest
import typer

from launch.exits import reports_errors
from pipeline.errors import BusyError, InputError, JobFailedError, StoppedError


def fail(error: BaseException) -> None:
    raise error


def ends_with(command: Callable[[], None]) -> int:
    with pytest.raises(typer.Exit) as ended:
        reports_errors(command)()
    return ended.value.exit_code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("mend it"), 2),
        (JobFailedError("again"), 1),
        (BusyError("another run is working in this folder"), 1),
        (OSError(28, "No space left on device"), 1),
        (StoppedError("stopped"), 75),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_error_has_its_code(error: BaseException, code: int, capsys) -> None:
    assert ends_with(partial(fail, error)) == code
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert str(error) in said


def test_sigterm_interrupts_and_is_as_before_afterwards(capsys) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def work() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    assert ends_with(work) == 130
    assert "run the same command again" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before
