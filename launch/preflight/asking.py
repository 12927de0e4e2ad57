"""What each node says of itself: over ssh, as tasks of a Ray cluster, or by a job on one.

`python -m launch.preflight.asking [FILE]` is that job: it prints the answers as one line of JSON.
"""

import contextlib
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import JobFailedError

_ROOT = Path(__file__).resolve().parents[2]
NODE_LIMIT_S = 30.0
_CONNECT_S, _POLL_S = 5, 0.5
_VERSIONS, _THIS = "launch.preflight.versions", "launch.preflight.asking"


@dataclass(frozen=True)
class Node:
    """What a node says of itself, or why it says nothing."""

    name: str
    versions: Mapping[str, str] = field(default_factory=dict)
    gpus: tuple[tuple[str, int], ...] = ()
    """Name and MiB of each accelerator."""
    sees_probe: bool = False
    """Whether it sees a file that this host has put into the run's folder."""
    failure: str = ""

    @classmethod
    def of(cls, facts: Mapping[str, Any], name: str) -> "Node":
        """From what `versions.node_facts` gives, which may have come as JSON."""
        gpus = tuple((str(gpu), int(mib)) for gpu, mib in facts["gpus"])
        return cls(name, facts["versions"], gpus, bool(facts["sees_probe"]))


def ssh_command(host: str, probe: str) -> list[str]:
    """What asks a host, as it can be typed by hand."""
    ask = [sys.executable, "-m", _VERSIONS, *([probe] if probe else [])]
    there = shlex.join(["env", f"PYTHONPATH={_ROOT}", *ask])
    options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_S}"]
    return ["ssh", *options, "--", host, there]


def ask_over_ssh(host: str, probe: str) -> Node:
    """What a host says of itself, over ssh.

    Args:
        host: name or address.
        probe: path of a file that the host sees if it shares the run's folder; may be empty.
    """
    command = ssh_command(host, probe)
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=NODE_LIMIT_S,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        return Node(host, failure="ssh is not installed here")
    except subprocess.TimeoutExpired:
        words = f"no answer within {NODE_LIMIT_S:g} s to: {shlex.join(command)}"
        return Node(host, failure=words)
    for line in reversed(done.stdout.splitlines()):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return Node.of(json.loads(line), host)
    said = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
    return Node(host, failure=f"{said[-1]} (exit code {done.returncode}): {shlex.join(command)}")


def ask_over_ray(probe: str, pretend: Mapping[str, Mapping[str, str]] | None = None) -> list[Node]:
    """What every node of the cluster that this process is connected to says of itself.

    Args:
        probe: path of a file that a node sees if it shares the run's folder; may be empty.
        pretend: for drills: versions that a node, by its address, is to claim for its own.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from launch.preflight import versions

    # By value, so that a node without our package can say so.
    ray.cloudpickle.register_pickle_by_value(versions)
    try:
        ask = ray.remote(num_cpus=0, max_retries=0)(versions.node_facts)
        asked = []
        for node in (each for each in ray.nodes() if each["Alive"]):
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            reference = ask.options(scheduling_strategy=there).remote(probe)
            asked.append((node["NodeManagerAddress"], reference))
    finally:
        ray.cloudpickle.unregister_pickle_by_value(versions)
    ray.wait([each for _, each in asked], num_returns=len(asked), timeout=NODE_LIMIT_S)
    return [_answer(address, each, (pretend or {}).get(address, {})) for address, each in asked]


def _answer(address: str, reference: Any, pretend: Mapping[str, str]) -> Node:
    import ray

    try:
        facts = ray.get(reference, timeout=0.1)
    except ray.exceptions.RayError as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return Node(address, failure=f"a task there failed: {lines[-1]}")
    facts["versions"] = {**facts["versions"], **pretend}
    return Node.of(facts, f"{facts['node']} ({address})")


def ask_by_job(address: str, probe: str) -> list[Node]:
    """What every node behind a Ray job server says of itself.

    Args:
        address: of the job server.
        probe: path of a file that a node sees if it shares the run's folder; may be empty.

    Raises:
        InputError: no job server answers.
        JobFailedError: it takes no job.
    """
    from launch.ray_jobs import connect

    command = shlex.join(["python", "-m", _THIS, *([probe] if probe else [])])
    client = connect(address)
    deadline = time.monotonic() + 2 * NODE_LIMIT_S
    job = _submit(client, command)
    try:
        while not client.get_job_status(job).is_terminal() and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        logs = client.get_job_logs(job)
    finally:
        with contextlib.suppress(RuntimeError):
            client.stop_job(job)
    for line in reversed(logs.splitlines()):
        with contextlib.suppress(ValueError, TypeError):
            return [Node(**each) for each in json.loads(line)]
    said = (logs.strip().splitlines() or ["nothing"])[-1]
    return [Node(address, failure=f"the job `{command}` on its head said: {said}")]


def _submit(client: Any, command: str) -> str:
    """Hand in a job; a head that has just started takes some seconds before it accepts any."""
    deadline = time.monotonic() + NODE_LIMIT_S
    while True:
        try:
            return str(client.submit_job(entrypoint=command))
        except RuntimeError as error:
            if time.monotonic() > deadline:
                lines = str(error).strip().splitlines() or ["no reason given"]
                raise JobFailedError(
                    f"the job server takes no job: {lines[-1]}; look at the head's dashboard"
                ) from error
        time.sleep(_POLL_S)


def main() -> None:
    """Ask all nodes of the cluster that this host is part of."""
    from pipeline.cluster import ray_session

    with ray_session():
        answers = ask_over_ray("".join(sys.argv[1:2]))
    print(json.dumps([asdict(each) for each in answers]))


if __name__ == "__main__":
    main()
