"""One way into Ray for all stages: join the cluster that the environment names, else start one here."""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

_OBJECT_STORE_BYTES = 256 * 2**20


@contextlib.contextmanager
def ray_session(log_folder: str | None = None) -> Iterator[None]:
    """Connect to Ray for the length of a block.

    With `RAY_ADDRESS` set (as inside `ray job submit`) that cluster is used and outlives the block.
    Otherwise Ray starts on this machine, bound to loopback, without dashboard, and ends with it.

    Args:
        log_folder: local folder in which a link `ray` to the workers' logs is left.
    """
    # Set before the import: Ray reads them once.
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray.data import DataContext

    runtime_env = {"env_vars": {"PYTHONPATH": _python_path()}}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(runtime_env=runtime_env, log_to_driver=False, logging_level=logging.ERROR)
    else:
        ray.init(
            address="local",
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            runtime_env=runtime_env,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address="127.0.0.1",
        )
        if log_folder is not None:
            _link_logs(log_folder)
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def _python_path() -> str:
    """Let workers on this machine import our packages from where the driver did."""
    root = str(Path(__file__).resolve().parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    return f"{root}{os.pathsep}{inherited}" if inherited else root


def _link_logs(log_folder: str) -> None:
    import ray

    session = ray._private.worker.global_worker.node.get_logs_dir_path()  # type: ignore[union-attr]
    link = Path(log_folder) / "ray"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(session)
