"""One way into Ray for all stages: join the cluster the environment names, else start one."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import InputError, JobFailedError

_OBJECT_STORE_BYTES = 256 * 2**20
_SHOWN_LINES = 2
# The first two cost an engine its time on a machine of few cores: workers started before any is
# asked for, and metrics for an endpoint that nobody knows.
_OWN_RAY_OFF = (
    "RAY_prestart_worker_first_driver",
    "RAY_enable_metrics_collection",
    # Of a cluster, which Ray by this name turns off on systems of one machine: then all it starts
    # listens on the loopback address, where nobody else reaches it.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER",
)


def is_ray_job_copy(folder: Path) -> bool:
    """Whether `folder` is where Ray unpacked a job's working directory, which it removes later."""
    return "working_dir_files" in folder.parts


@contextlib.contextmanager
def ray_session(log_folder: str | None = None) -> Iterator[None]:
    """Connect to Ray for the length of a block; see `_connected`.

    What Ray's native code writes to standard error goes to `ray-driver.log` in `log_folder`, so
    that only our own lines are on the screen.

    Args:
        log_folder: local folder for that log and for a link `ray` to the workers' logs.
    """
    with contextlib.ExitStack() as stack:
        if log_folder is not None:
            Path(log_folder).mkdir(parents=True, exist_ok=True)
            stack.enter_context(_native_stderr_to(Path(log_folder) / "ray-driver.log"))
        stack.enter_context(_connected(log_folder))
        yield


@contextlib.contextmanager
def explained_errors(stage: str, log_folder: str | None) -> Iterator[None]:
    """Turn what Ray raises for a failed worker into the error that the worker met.

    Raises:
        InputError: a worker met one.
        JobFailedError: a worker failed otherwise; names the error and the logs.
    """
    import ray

    try:
        yield
    except ray.exceptions.RayError as error:
        causes = list(_causes(error))
        for cause in reversed(causes):  # the innermost says what happened, without a traceback
            if isinstance(cause, InputError):
                raise InputError(str(cause)) from error
        last = next((cause for cause in reversed(causes) if str(cause).strip()), error)
        # Of a traceback, what was raised: the frames are in the logs.
        lines = [line for line in str(last).splitlines() if line[:1].strip()]
        reason = "\n".join(lines[-_SHOWN_LINES:])
        where = f"; workers' logs: {log_folder}/ray" if log_folder else ""
        raise JobFailedError(
            f"{stage}: a worker failed: {type(last).__name__}: {reason}\n"
            f"what was committed stays, run again to go on{where}"
        ) from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what led to it, as Ray nests it, outermost first."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = getattr(current, "cause", None) or current.__cause__ or current.__context__


@contextlib.contextmanager
def _native_stderr_to(path: Path) -> Iterator[None]:
    """Send file descriptor 2 to a file while Python's own `sys.stderr` stays where it was."""
    sys.stderr.flush()
    kept, python_stderr = os.dup(2), sys.stderr
    with path.open("ab") as log, os.fdopen(os.dup(kept), "w", buffering=1) as screen:
        os.dup2(log.fileno(), 2)
        sys.stderr = screen
        try:
            yield
        finally:
            sys.stderr = python_stderr
            os.dup2(kept, 2)
            os.close(kept)


@contextlib.contextmanager
def _connected(log_folder: str | None = None) -> Iterator[None]:
    """Join or start Ray.

    With `RAY_ADDRESS` set (as inside `ray job submit`) that cluster is used and outlives the block.
    Otherwise Ray starts on this machine, without dashboard and heard on 127.0.0.1 alone, and ends
    with the block.
    """
    is_own = not os.environ.get("RAY_ADDRESS")
    switched_off = [name for name in _OWN_RAY_OFF if is_own and name not in os.environ]
    os.environ.update(dict.fromkeys(switched_off, "0"))
    # Set before the import: Ray reads them once.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if not is_own:  # its nodes have our packages by their own means
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    else:
        ray.init(
            address="local",
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            runtime_env={"env_vars": {"PYTHONPATH": _python_path()}},
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        if log_folder is not None:
            _link_logs(log_folder)
    # What happened to which node and worker is in Ray's logs; the job's own lines say what counts.
    ray._private.worker._worker_logs_enabled = False
    try:
        yield
    finally:
        ray.shutdown()
        for name in switched_off:  # another Ray that this process starts is not ours to decide on
            os.environ.pop(name, None)


def _python_path() -> str:
    """Let workers on this machine import our packages from where the driver did."""
    root = str(Path(__file__).resolve().parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    return f"{root}{os.pathsep}{inherited}" if inherited else root


def _link_logs(log_folder: str) -> None:
    import ray

    session = ray._private.worker.global_worker.node.get_logs_dir_path()
    link = Path(log_folder) / "ray"
    if link.is_dir() and not link.is_symlink():
        return  # of a run that was copied with what its links lead to
    link.unlink(missing_ok=True)
    link.symlink_to(session)
