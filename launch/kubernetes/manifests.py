"""Where the shipped manifests lie, and which of them make up what."""

from pathlib import Path

from launch.kubernetes.request import Request

SHIPPED = Path(__file__).resolve().parent.parent.parent / "k8s"
PARTS = ("base", "components", "kubeflow", "monitoring", "queues", "stages", "storage")
"""Folders of `k8s/` that a rendered folder has a copy of."""
_STAGES = ("ingest", "synth", "filter", "pack")


def setup_parts(request: Request) -> list[str]:
    """What is there before any job: folders of resources."""
    extra = {"volume": ["storage/claim"], "secret": [], "identity": ["storage/identity"]}
    return ["base", *extra[request.storage]]


def components(request: Request) -> list[str]:
    """What changes the resources: components, in the order in which they apply."""
    storage = {"volume": ["storage-volume"], "secret": ["storage-secret"], "identity": []}
    names = [request.overlay, *storage[request.storage]]
    if not request.scales:
        names.append("fixed-workers")
    if request.queue:
        names.append("queued")
    return [f"components/{name}" for name in names]


def stage_parts(request: Request) -> dict[str, str]:
    """Folders of resources by the stage that they run, in the order of a run."""
    stages = {name: f"stages/{name}" for name in _STAGES}
    if request.training != "none":
        stages |= {"train": f"stages/train-{request.training}", "export": "stages/export"}
    return stages
