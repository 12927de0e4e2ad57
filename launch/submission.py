"""`ipt submit`: a stage as a job of a Ray cluster, its log followed, its exit code passed on."""

import asyncio
import logging
import os
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import InputError, JobFailedError

_TOKEN_FILE = Path("~/.ray/auth_token")
_POLL_INTERVAL_S = 1.0
_SIGNALLED, _INTERRUPTED = 128, 130


@dataclass(frozen=True)
class Submission:
    """What is to run where."""

    stage: str
    config: str
    """A TOML, or the name of a preset."""
    overrides: Sequence[str]
    address: str
    working_dir: str
    environment: Sequence[str]
    """`NAME=VALUE`, or `NAME` for the value it has here."""

    def entrypoint(self) -> str:
        """The command line that the cluster runs, below the working directory.

        Raises:
            InputError: the config does not lie in the working directory.
        """
        config = self.config
        if Path(config).is_file():
            root, path = Path(self.working_dir).resolve(), Path(config).resolve()
            if not path.is_relative_to(root):
                raise InputError(
                    f"config {path} does not lie below the working directory {root}, which is what "
                    f"the cluster gets; give --working-dir"
                )
            config = str(path.relative_to(root))
        return shlex.join(["ipt", self.stage, config, *self.overrides])

    def runtime_env(self) -> dict[str, Any]:
        """Ray's runtime environment: the working directory, and variables.

        Raises:
            InputError: a variable that is not set here.
        """
        variables = {}
        for entry in self.environment:
            name, equals, value = entry.partition("=")
            if not equals and name not in os.environ:
                raise InputError(f"--env {name}: not set here; give {name}=VALUE")
            variables[name] = value if equals else os.environ[name]
        return {"working_dir": self.working_dir, "env_vars": variables}


def submit(submission: Submission, *, wait: bool) -> int:
    """Hand a job to a cluster; follow it to its end if `wait`.

    Returns:
        The exit code of the job's command; 0 if it is not waited for, 130 after Ctrl-C, which
        leaves the job alone.

    Raises:
        InputError: no cluster answers at the address.
        JobFailedError: the job ended without an exit code, as with its node.
    """
    entrypoint, environment = submission.entrypoint(), submission.runtime_env()
    client = connect(submission.address)
    job = client.submit_job(entrypoint=entrypoint, runtime_env=environment)
    print(f"submit  {job}: {entrypoint}", flush=True)
    if not wait:
        print(f"submit  follow it: ray job logs {job} --follow; end it: ray job stop {job}")
        return 0
    try:
        asyncio.run(_follow_logs(client, job))
    except KeyboardInterrupt:
        print(
            f"\nsubmit  no longer followed; {job} goes on: ray job logs {job} --follow, "
            f"ray job stop {job}",
            flush=True,
        )
        return _INTERRUPTED
    except (RuntimeError, OSError) as error:  # the connection, not the job
        print(f"submit  the log is out of reach ({error}); waiting for {job} to end", flush=True)
    return _exit_code(client, job)


def connect(address: str) -> Any:
    """A client of a cluster's job server, with this user's token if there is one.

    Raises:
        InputError: no job server answers at the address.
    """
    if "RAY_AUTH_MODE" not in os.environ and _TOKEN_FILE.expanduser().exists():
        os.environ["RAY_AUTH_MODE"] = "token"  # `ray start --head` turns it on by itself
    from ray.job_submission import JobSubmissionClient

    try:
        client = JobSubmissionClient(address)
    except (ConnectionError, RuntimeError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise InputError(
            f"--address {address}: no Ray job server answers ({first_line}); it is the address of "
            f"the cluster's dashboard, such as http://head:8265"
        ) from error
    for name in ("ray", "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
        logging.getLogger(name).setLevel(logging.WARNING)  # packaging and closing are no news
    return client


async def _follow_logs(client: Any, job: str) -> None:
    async for lines in client.tail_job_logs(job):
        print(lines, end="", flush=True)


def _exit_code(client: Any, job: str) -> int:
    """Wait for the end of a job, however often the connection breaks."""
    while True:
        try:
            details = client.get_job_info(job)
        except (RuntimeError, OSError):
            details = None
        if details is not None and details.status.is_terminal():
            break
        time.sleep(_POLL_INTERVAL_S)
    code = details.driver_exit_code
    if code is None:
        if details.status == "SUCCEEDED":
            return 0
        raise JobFailedError(f"job {job} ended as {details.status}: {details.message}")
    return int(code) if code >= 0 else _SIGNALLED - int(code)  # as a shell says it
