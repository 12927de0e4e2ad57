"""How large pods are and how many, by the config: what an engine takes, what a rank takes."""

import math
from dataclasses import dataclass
from typing import Any

from launch.config import PipelineConfig
from launch.kubernetes.request import Request

_GPU = "nvidia.com/gpu"
_CORES_PER_GPU, _MEMORY_GIB_PER_GPU = 8, 64
_LARGEST_POOL = 4
"""Worker pods that synthesis may grow to where the config leaves it open."""
_RAY_GRACE_S = 30
"""What Ray takes to end after the driver has."""


@dataclass(frozen=True)
class PodSize:
    """What one pod asks for; it gets no more memory, and cores that are free beyond its own."""

    cores: int
    memory_gib: int
    gpus: int = 0

    def as_resources(self) -> dict[str, Any]:
        """The `resources` of its container."""
        requests: dict[str, Any] = {
            "cpu": str(self.cores),
            "memory": f"{self.memory_gib}Gi",
            "ephemeral-storage": "1Gi",
        }
        limits: dict[str, Any] = {"memory": f"{self.memory_gib}Gi"}
        if self.gpus:
            requests[_GPU] = limits[_GPU] = self.gpus
        else:
            # Engines and ranks on CPUs take all cores they see, and slow each other beyond these.
            limits["cpu"] = str(self.cores)
        return {"requests": requests, "limits": limits}

    def describe(self) -> str:
        """For people."""
        if self.gpus:
            return f"{self.gpus} GPU{'s' if self.gpus > 1 else ''}, {self.memory_gib} GiB"
        return f"{self.cores} cores, {self.memory_gib} GiB"


@dataclass(frozen=True)
class SynthSize:
    """The Ray cluster of synthesis: worker pods, each with room for so many engines."""

    worker: PodSize
    engines_per_worker: int
    cpus_per_engine: float
    gpus_per_engine: float
    min_workers: int
    max_workers: int
    min_engines: int
    max_engines: int
    stop_grace_s: int

    @property
    def termination_grace_s(self) -> int:
        """What a pod gets from the request to end to its kill."""
        return self.stop_grace_s + _RAY_GRACE_S

    def settings(self) -> dict[str, float]:
        """`synth.workers` as the cluster has it: Ray asks for workers up to a stated number."""
        return {
            "min": self.min_engines,
            "max": self.max_engines,
            "cpus": self.cpus_per_engine,
            "gpus": self.gpus_per_engine,  # or a node of CPUs that is there first decides
        }


def size_synthesis(config: PipelineConfig, request: Request) -> SynthSize:
    """Workers of synthesis: their size, how many engines each holds, how many there may be."""
    workers = config.synth.workers
    cpus_per_engine, gpus_of_engine = workers.cpus, 0.0
    is_vllm = config.synth.protocol != "rules" and config.synth.engine.kind == "vllm"
    if is_vllm and request.overlay != "dev":
        wanted = workers.gpus
        gpus_of_engine = float(config.synth.engine.num_accelerators) if wanted is None else wanted
    if gpus_of_engine:
        num_gpus = math.ceil(gpus_of_engine)
        per_worker = max(1, math.floor(num_gpus / gpus_of_engine))
        cores = max(_CORES_PER_GPU * num_gpus, math.ceil(workers.cpus * per_worker))
        pod = PodSize(cores, _MEMORY_GIB_PER_GPU * num_gpus, num_gpus)
    else:
        cores = max(2 if request.overlay == "dev" else 4, math.ceil(workers.cpus))
        pod = PodSize(cores, 4 * cores)
        if is_vllm:  # an engine on CPUs takes all of its pod
            cpus_per_engine = cores
        per_worker = math.floor(cores / cpus_per_engine)
    if request.overlay == "dev":
        per_worker = fewest = most = 1
    else:
        fewest = workers.min
        most = workers.max or max(fewest, _LARGEST_POOL * per_worker)
    return SynthSize(
        pod,
        per_worker,
        cpus_per_engine,
        gpus_of_engine,
        math.ceil(fewest / per_worker),
        math.ceil(most / per_worker),
        fewest,
        most,
        math.ceil(config.synth.stop_grace_s),
    )


def size_training(config: PipelineConfig, request: Request) -> PodSize:
    """One pod of a training: `train.num_ranks` ranks, each with an accelerator or a core."""
    ranks = config.train.num_ranks
    if request.overlay == "dev":
        return PodSize(max(2, ranks), max(8, 4 * ranks))
    return PodSize(_CORES_PER_GPU * ranks, _MEMORY_GIB_PER_GPU * ranks, ranks)
