"""How a command ends: one message for people, and an exit code that README documents."""

import contextlib
import functools
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import typer

from pipeline.errors import InputError, JobFailedError, StoppedError
from pipeline.process import EXIT_BAD_INPUT, EXIT_FAILED, EXIT_STOPPED
from pipeline.redaction import printable

EXIT_INTERRUPTED = 130


def reports_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Turn errors into one message and a documented exit code."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        from launch.deepspeed import TrainingStoppedError

        try:
            with _sigterm_interrupts():
                command(*args, **kwargs)
        except InputError as error:
            _fail(f"error: {error}", EXIT_BAD_INPUT)
        except TrainingStoppedError as error:
            _fail(str(error), error.exit_code)
        except StoppedError as error:
            _fail(str(error), EXIT_STOPPED)
        except JobFailedError as error:
            _fail(f"error: {error}", EXIT_FAILED)
        except OSError as error:
            _fail(f"error: {error}; what was committed stays, run again to go on", EXIT_FAILED)
        except KeyboardInterrupt:
            _fail("interrupted; run the same command again to go on", EXIT_INTERRUPTED)

    return wrapped


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does.

    Without a handler the first process of a container would not hear it at all. Synthesis and
    training have handlers of their own while they work.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _fail(message: str, code: int) -> None:
    print(printable(message), file=sys.stderr, flush=True)
    raise typer.Exit(code)
