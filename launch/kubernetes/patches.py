"""Changes to the shipped manifests that follow from a config, as JSON patches by target."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from launch.config import PipelineConfig
from launch.kubernetes.request import NAMESPACE, Request
from launch.kubernetes.sizes import PodSize, SynthSize, size_synthesis, size_training

_CLUSTER = "/spec/rayClusterSpec"
_HEAD = f"{_CLUSTER}/headGroupSpec/template/spec"
_WORKERS = f"{_CLUSTER}/workerGroupSpecs/0"
_WORKER = f"{_WORKERS}/template/spec"
_RANKS = "/spec/replicatedJobs/0/template/spec"
_SPOT = {
    "key": "instruct-pretrain/capacity",
    "operator": "Equal",
    "value": "spot",
    "effect": "NoSchedule",
}
_HTTPS = 443

Operation = dict[str, Any]


@dataclass(frozen=True)
class Patch:
    """Operations on the resources that a selector finds."""

    name: str
    target: dict[str, str]
    operations: tuple[Operation, ...]


def all_patches(config: PipelineConfig, request: Request) -> list[Patch]:
    """What the config and the options change, in a fixed order; none that changes nothing."""
    synth, rank_pod = size_synthesis(config, request), size_training(config, request)
    patches = [
        Patch("synth", _target("RayJob", "synth"), tuple(_synth(config, request, synth))),
        Patch("train", _target("JobSet", "train"), tuple(_job_set(request, rank_pod))),
        Patch("train-job", _target("TrainJob", "train"), tuple(_train_job(request, rank_pod))),
        Patch("service-accounts", {"kind": "ServiceAccount"}, tuple(_accounts(request))),
        Patch("namespace", {"kind": "Namespace"}, tuple(_namespace(request))),
        Patch("queue", {"kind": "(Job|RayJob|JobSet|TrainJob)"}, tuple(_queue(request))),
    ]
    return [patch for patch in patches if patch.operations]


def engine_policy(config: PipelineConfig) -> dict[str, Any] | None:
    """A NetworkPolicy that opens the way to an engine which is a server; None: none needed."""
    if config.synth.engine.kind != "openai" or config.synth.protocol == "rules":
        return None
    url = urlsplit(config.synth.engine.openai.base_url)
    port = url.port or (_HTTPS if url.scheme == "https" else 80)
    if port == _HTTPS:  # open already
        return None
    synth_pods = {
        "app.kubernetes.io/part-of": "instruct-pretrain",
        "app.kubernetes.io/component": "synth",
    }
    anywhere = {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}
    rule = {"to": [{"ipBlock": anywhere}], "ports": [{"protocol": "TCP", "port": port}]}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "engine"},
        "spec": {
            "podSelector": {"matchLabels": synth_pods},
            "policyTypes": ["Egress"],
            "egress": [rule],
        },
    }


def _synth(config: PipelineConfig, request: Request, size: SynthSize) -> list[Operation]:
    replicas = size.min_workers if request.scales else size.max_workers
    operations = [
        _replace(f"{_WORKERS}/replicas", replicas),
        _replace(f"{_WORKERS}/minReplicas", replicas),
        _replace(f"{_WORKERS}/maxReplicas", size.max_workers),
        _replace(f"{_WORKER}/containers/0/resources", size.worker.as_resources()),
    ]
    for pod in (_HEAD, _WORKER):
        operations += [
            _replace(f"{pod}/containers/0/env/0/value", str(size.stop_grace_s)),
            _replace(f"{pod}/terminationGracePeriodSeconds", size.termination_grace_s),
        ]
        if config.synth.engine.kind == "openai":
            key = {"secretRef": {"name": "engine", "optional": True}}
            operations.append(_add(f"{pod}/containers/0/envFrom/-", key))
    if request.overlay != "dev" and not size.worker.gpus:  # no place on nodes with GPUs
        tolerations = [_SPOT] if request.overlay == "spot" else []
        operations.append(_replace(f"{_WORKER}/tolerations", tolerations))
    return operations


def _job_set(request: Request, pod: PodSize) -> list[Operation]:
    container = f"{_RANKS}/template/spec/containers/0"
    return [
        _replace(f"{_RANKS}/completions", request.num_nodes),
        _replace(f"{_RANKS}/parallelism", request.num_nodes),
        _replace(f"{container}/args/0", f"--num_nodes={request.num_nodes}"),
        _replace(f"{container}/resources", pod.as_resources()),
    ]


def _train_job(request: Request, pod: PodSize) -> list[Operation]:
    return [
        _replace("/spec/trainer/image", str(request.parsed_image())),
        _replace("/spec/trainer/numNodes", request.num_nodes),
        _replace("/spec/trainer/resourcesPerNode", pod.as_resources()),
    ]


def _accounts(request: Request) -> list[Operation]:
    annotations = request.annotations()
    return [_add("/metadata/annotations", annotations)] if annotations else []


def _namespace(request: Request) -> list[Operation]:
    if request.namespace == NAMESPACE:
        return []
    return [_replace("/metadata/name", request.namespace)]


def _queue(request: Request) -> list[Operation]:
    if not request.queue:
        return []
    return [_replace("/metadata/labels/kueue.x-k8s.io~1queue-name", request.queue)]


def _target(kind: str, name: str) -> dict[str, str]:
    return {"kind": kind, "name": name}


def _replace(path: str, value: Any) -> Operation:
    return {"op": "replace", "path": path, "value": value}


def _add(path: str, value: Any) -> Operation:
    return {"op": "add", "path": path, "value": value}
