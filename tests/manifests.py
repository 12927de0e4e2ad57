"""Manifests as a cluster would get them: built by kustomize, and every pod template in them."""

import functools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
K8S = ROOT / "k8s"
STAGES = ("ingest", "synth", "filter", "pack", "train", "export")
OVERLAYS = ("dev", "gpu", "spot")

needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl, which builds the manifests, is not installed"
)


@functools.cache
def build_text(folder: Path) -> str:
    """What `kubectl kustomize` makes of a folder, which must not change within a test run."""
    built = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return built.stdout


def build(folder: Path) -> list[dict[str, Any]]:
    """The resources of a folder."""
    return [resource for resource in yaml.safe_load_all(build_text(folder)) if resource]


def build_run(folder: Path) -> list[dict[str, Any]]:
    """All resources of a rendered folder or an overlay: what is there once, and every stage."""
    stages = [folder / stage for stage in (*STAGES, "monitoring")]
    return [resource for part in (folder, *stages) if part.is_dir() for resource in build(part)]


def pod_templates(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every pod template anywhere in a resource, with the path to it."""
    if isinstance(node, list):
        for number, item in enumerate(node):
            yield from pod_templates(item, f"{path}/{number}")
    elif isinstance(node, dict):
        spec = node.get("spec")
        containers = spec.get("containers") if isinstance(spec, dict) else None
        # Patches of a TrainJob's runtime name a container without an image.
        if isinstance(containers, list) and all("image" in each for each in containers):
            yield path, node
        for key, value in node.items():
            yield from pod_templates(value, f"{path}/{key}")


def only(resources: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    """The one resource of a kind, and of a name if there are several."""
    found = [
        each
        for each in resources
        if each["kind"] == kind and name in ("", each["metadata"]["name"])
    ]
    assert len(found) == 1, [each["metadata"]["name"] for each in found]
    return found[0]
