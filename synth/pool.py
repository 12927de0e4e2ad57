"""The size of the actor pool: how many workers on what, by config and cluster."""

import math
import time
from dataclasses import dataclass
from typing import Any

from pipeline.errors import InputError, JobFailedError
from synth.config import SynthConfig
from synth.slots import chains_at_once

_MAX_PARTS_IN_FLIGHT = 64
_NODES_WAIT_S, _NODES_POLL_S = 180.0, 0.5


@dataclass(frozen=True)
class Pool:
    """Size of the pool, and what each of its actors takes."""

    min_workers: int
    max_workers: int
    parts_in_flight: int
    gpus: float
    ray_options: dict[str, Any]
    room: "Room | None" = None
    """What the pool grows with, where the config names no largest number."""

    def describe(self, config: SynthConfig) -> str:
        """One line for the user, before the wait for the engines."""
        size = "1 worker" if self.max_workers == 1 else f"up to {self.max_workers:,} workers"
        where = f"{self.gpus:g} GPUs" if self.gpus else "CPU"
        if config.protocol == "rules":
            return f"{size} on {where}, {self.parts_in_flight} parts each at a time"
        wait = ", which takes half a minute and more" if config.engine.kind == "vllm" else ""
        return f"starting engines: {size} on {where}{wait}"


@dataclass(frozen=True)
class Room:
    """What a worker takes of a node."""

    wanted: dict[str, float]
    fills_node: bool
    """Whether a node has room for one at most."""

    def num_workers(self) -> int:
        """Workers that the nodes alive at this moment can hold, beside whatever else is there."""
        return sum(self.on_node(node) for node in _nodes())

    def on_node(self, node: dict[str, float]) -> int:
        """Workers that a node with these resources can hold."""
        fitting = min(
            math.floor(node.get(name, 0) / amount) for name, amount in self.wanted.items() if amount
        )
        return min(fitting, 1) if self.fills_node else fitting


def await_nodes(wait_s: float = _NODES_WAIT_S) -> None:
    """Wait for a node with CPUs: a cluster that has just started may be no more than its head.

    Raises:
        JobFailedError: none has joined.
    """
    deadline = time.monotonic() + wait_s
    is_said = False
    while not any(node.get("CPU") or node.get("GPU") for node in _nodes()):
        if time.monotonic() > deadline:
            raise JobFailedError(
                f"synth: the cluster has nothing but its head, and no node with CPUs has joined "
                f"within {wait_s:g} s; start nodes (`ray start --address=...`) and run again"
            )
        if not is_said:
            is_said = True
            print("synth   waiting for nodes: the cluster has only its head", flush=True)
        time.sleep(_NODES_POLL_S)


def plan_pool(config: SynthConfig, documents_per_part: float) -> Pool:
    """Fill in from the cluster what the config leaves out.

    Raises:
        InputError: no node of the cluster could ever hold a worker.
    """
    workers = config.workers
    nodes = _nodes()
    gpus = _gpus_of_a_worker(config, nodes)
    wanted = {"CPU": workers.cpus, "GPU": gpus, **workers.resources}
    if workers.accelerator_type:
        wanted[f"accelerator_type:{workers.accelerator_type}"] = 0.001
    # An engine on CPUs, or a client of a server: one of it fills a node.
    room = Room(wanted, fills_node=not gpus and config.protocol != "rules")
    num_fitting = sum(map(room.on_node, nodes))
    if not num_fitting:
        raise InputError(
            f"synth.workers: no node of the cluster has {_listed(wanted)} for a worker; the nodes "
            f"have {'; '.join(map(_listed, nodes))}"
        )
    options: dict[str, Any] = {"num_cpus": workers.cpus, "num_gpus": gpus}
    if workers.accelerator_type:
        options["accelerator_type"] = workers.accelerator_type
    if workers.resources:
        options["resources"] = workers.resources
    return Pool(
        min_workers=workers.min,
        max_workers=max(workers.max or num_fitting, workers.min),
        parts_in_flight=workers.parts_in_flight
        or _parts_to_fill_an_engine(config, documents_per_part),
        gpus=gpus,
        ray_options=options,
        room=None if workers.max else room,
    )


def _nodes() -> list[dict[str, float]]:
    """Resources of each node that is alive."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _gpus_of_a_worker(config: SynthConfig, nodes: list[dict[str, float]]) -> float:
    if config.workers.gpus is not None:
        return config.workers.gpus
    needs_none = config.protocol == "rules" or config.engine.kind != "vllm"
    if needs_none or not any(node.get("GPU") for node in nodes):
        return 0.0
    return float(config.engine.num_accelerators)


def _parts_to_fill_an_engine(config: SynthConfig, documents_per_part: float) -> int:
    """Parts whose chains together fill the engine, and one more for when a part runs out."""
    if config.protocol == "rules":
        return 1
    chains_per_part = max(1.0, documents_per_part / config.shots_per_chain)
    filling = math.ceil(chains_at_once(config.engine.max_num_seqs) / chains_per_part)
    return min(filling + 1, _MAX_PARTS_IN_FLIGHT)


def _listed(resources: dict[str, float]) -> str:
    shown = {
        name: amount
        for name, amount in resources.items()
        if amount and not name.startswith(("node:", "memory", "object_store_memory"))
    }
    return ", ".join(f"{name} {amount:g}" for name, amount in shown.items()) or "nothing"
