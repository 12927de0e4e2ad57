"""An engine in this process, without its talk on the terminal."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from pipeline.storage import no_link


@contextlib.contextmanager
def libraries_write_to(path: str) -> Iterator[None]:
    """Append what libraries and the processes they start say to a file, for the length of a block.

    They write to descriptors 1 and 2, which lead to the file. Only what Python prints to its
    standard output, such as progress, still goes where it went before.

    Args:
        path: local file; made, with its folder, if it is not there.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    # vLLM's logger in this process; it would take the standard output.
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    sys.stdout.flush()
    sys.stderr.flush()
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(path, "ab", buffering=0, opener=no_link))
        shown, errors = os.dup(1), os.dup(2)
        stack.callback(os.close, errors)
        own = stack.enter_context(open(shown, "w", buffering=1, encoding="utf-8"))
        if sys.stdout is sys.__stdout__:
            stack.enter_context(contextlib.redirect_stdout(own))
        stack.callback(os.dup2, errors, 2)
        stack.callback(sys.stderr.flush)
        stack.callback(os.dup2, shown, 1)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        yield
