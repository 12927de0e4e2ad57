"""Jobs of a Ray cluster, through its job server: submitted, followed, listed, stopped."""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from launch.submission import RUN, STAGE, Submission
from pipeline.errors import InputError, JobFailedError

_TOKEN_FILE = Path("~/.ray/auth_token")
_POLL_INTERVAL_S = 1.0
_SIGNALLED, _INTERRUPTED = 128, 130
_LISTED = 20
_LONGEST_AWAY_S = 600.0
"""How long a cluster may be out of reach before a job in it counts as lost."""
_MEANT = {
    "AuthenticationError": "it asks for a token: set RAY_AUTH_TOKEN_PATH to a copy of the cluster's"
}


def submit(submission: Submission, address: str, *, wait: bool) -> int:
    """Hand a job to a cluster; follow it to its end if `wait`.

    A job that already does the same in the same run is followed in place of a new one.

    Returns:
        The exit code of the job's command; 0 if it is not waited for, 130 after Ctrl-C, which
        leaves the job alone.

    Raises:
        InputError: no cluster answers at the address.
        JobFailedError: the job ended without an exit code, as with its node, or the cluster's head.
    """
    entrypoint, environment = submission.entrypoint(), submission.full_runtime_env()
    client = connect(address)
    with _explained(address):
        under_way = _job_under_way(client, submission)
    if under_way is not None:
        job = str(under_way.submission_id)
        print(f"submit  {job} does this already, as {under_way.entrypoint}; it is followed")
    else:
        with _explained(address, "the job server refuses the job"):
            job = client.submit_job(
                entrypoint=entrypoint, runtime_env=environment, metadata=submission.metadata()
            )
        print(f"submit  {job}: {entrypoint}", flush=True)
    if not wait:
        print(f"submit  how it stands: ipt submit status {job}; end it: ipt submit stop {job}")
        return 0
    try:
        asyncio.run(_follow_logs(client, job))
    except KeyboardInterrupt:
        print(
            f"\nsubmit  no longer followed; {job} goes on: submit again to follow it, "
            f"ipt submit stop {job}",
            flush=True,
        )
        return _INTERRUPTED
    except _connection_errors() as error:  # not the job's
        print(f"submit  the log is out of reach ({error}); waiting for {job} to end", flush=True)
    return _exit_code(client, job)


def status_lines(address: str, job: str = "") -> list[str]:
    """How a job stands, with the end of its log; without one, the newest jobs, one a line.

    Raises:
        InputError: no cluster answers, or it has no such job.
    """
    client = connect(address)
    if job:
        details = _details(client, address, job)
        log = client.get_job_logs(job).splitlines()[-_LISTED:]
        return [_line(details), *(f"  {line}" for line in log)]
    with _explained(address):
        jobs = [details for details in client.list_jobs() if details.submission_id]
    newest = sorted(jobs, key=lambda details: details.start_time or 0)[-_LISTED:]
    return [_line(details) for details in newest] or [f"no job at {address}"]


def stop(address: str, job: str) -> str:
    """Have a job end in order, and wait until it has; returns its line.

    Raises:
        InputError: no cluster answers, or it has no such job.
    """
    client = connect(address)
    details = _details(client, address, job)
    if not details.status.is_terminal():
        client.stop_job(job)
        details = _at_its_end(client, job)
    return _line(details)


def _line(details: Any) -> str:
    known = details.metadata or {}
    started = datetime.fromtimestamp((details.start_time or 0) / 1000, UTC)
    columns = [
        details.submission_id,
        f"{details.status.value:<9}",
        f"{started:%Y-%m-%d %H:%M:%SZ}",
        f"{known.get(STAGE, '-'):<7}",
        known.get(RUN, details.entrypoint),
    ]
    if details.driver_exit_code is not None:
        columns.append(f"exit code {details.driver_exit_code}")
    return "  ".join(columns)


def _job_under_way(client: Any, submission: Submission) -> Any:
    """The job that does the same in the same run, if there is one."""
    for details in client.list_jobs():
        same = (details.metadata or {}).items() >= submission.metadata().items()
        if same and not details.status.is_terminal():
            return details
    return None


def _details(client: Any, address: str, job: str) -> Any:
    with _explained(address):
        try:
            return client.get_job_info(job)
        except RuntimeError as error:
            if not _is_unknown(error):
                raise
            raise InputError(
                f"job {job}: the cluster at {address} has none of that name; ipt submit status "
                f"lists them"
            ) from error


def connect(address: str) -> Any:
    """A client of a cluster's job server, with this user's token if there is one.

    Raises:
        InputError: no job server answers at the address.
    """
    if "RAY_AUTH_MODE" not in os.environ and _TOKEN_FILE.expanduser().exists():
        os.environ["RAY_AUTH_MODE"] = "token"  # `ray start --head` turns it on by itself
    from ray.job_submission import JobSubmissionClient

    with _explained(address):
        client = JobSubmissionClient(address)
    for name in ("ray", "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
        logging.getLogger(name).setLevel(logging.WARNING)  # packaging and closing are no news
    return client


@contextlib.contextmanager
def _explained(address: str, what: str = "no Ray job server answers") -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except _connection_errors(ValueError, TypeError) as error:
        name = type(error).__name__
        *_, last_line = str(error).strip().splitlines() or [name]
        raise InputError(
            f"--address {address}: {what} ({_MEANT.get(name, last_line)}); "
            f"it is the address of the cluster's dashboard, such as http://head:8265"
        ) from error


def _connection_errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """What Ray's client raises where a request does not come through, or is refused."""
    from aiohttp import ClientError
    from ray.exceptions import RayError

    return RuntimeError, OSError, ClientError, RayError, *others


async def _follow_logs(client: Any, job: str) -> None:
    async for lines in client.tail_job_logs(job):
        print(lines, end="", flush=True)


def _at_its_end(client: Any, job: str) -> Any:
    """Wait for the end of a job, however often the connection breaks.

    Raises:
        JobFailedError: the cluster stays away, or its head has been started anew and knows of no
            job before.
    """
    deadline = time.monotonic() + _LONGEST_AWAY_S
    while True:
        try:
            details = client.get_job_info(job)
        except _connection_errors() as error:
            if _is_unknown(error):
                raise JobFailedError(
                    f"job {job}: the cluster does not know it any more, as after a new start of "
                    f"its head; submit again to go on"
                ) from error
            if time.monotonic() > deadline:
                raise JobFailedError(
                    f"job {job}: the cluster has been out of reach for {_LONGEST_AWAY_S:g} s "
                    f"({error}); once it is back, submit again to follow the job or to go on"
                ) from error
        else:
            deadline = time.monotonic() + _LONGEST_AWAY_S
            if details.status.is_terminal():
                return details
        time.sleep(_POLL_INTERVAL_S)


def _is_unknown(error: Exception) -> bool:
    """Whether the job server answered that it has no such job."""
    return "status code 404" in str(error)


def _exit_code(client: Any, job: str) -> int:
    details = _at_its_end(client, job)
    code = details.driver_exit_code
    if code is None:
        if details.status == "SUCCEEDED":
            return 0
        raise JobFailedError(f"job {job} ended as {details.status}: {details.message}")
    return int(code) if code >= 0 else _SIGNALLED - int(code)  # as a shell says it
