"""The folder that `ipt k8s render` writes: nothing in it depends on where or when.

DIR/kustomization.yaml   namespace, accounts, policies, volume, the run's TOML; runs nothing
DIR/run.toml             the config, as pods read it
DIR/profile/             what is the same for all of it: overlay, storage, image, patches
DIR/<stage>/             one job each, to be applied in order
DIR/monitoring/          PodMonitor and dashboard
DIR/manifests/           the shipped manifests, unchanged
"""

import shutil
from pathlib import Path
from typing import Any

import yaml

from launch.config import PipelineConfig
from launch.experiment.toml_text import toml_text
from launch.kubernetes.checks import check_config
from launch.kubernetes.manifests import PARTS, SHIPPED, components, setup_parts, stage_parts
from launch.kubernetes.patches import all_patches, engine_policy
from launch.kubernetes.request import METRICS_PORT, Request
from launch.kubernetes.sizes import size_synthesis, size_training
from launch.stages import Invocation
from pipeline.config import read_toml
from pipeline.errors import InputError

_MARK = "# Written by `ipt k8s render`; render again rather than edit.\n"
_KUSTOMIZATION = "kustomization.yaml"


def render(invocation: Invocation[PipelineConfig], request: Request, *, dry_run: bool) -> list[str]:
    """Write the folder.

    Args:
        invocation: the run.
        request: overlay, image and the like.
        dry_run: check everything, write nothing.

    Returns:
        Lines on what was written and what to do next.

    Raises:
        InputError: the config cannot work in a cluster, or the folder is not one of ours.
    """
    request.check()
    check_config(invocation.config, request)
    _require_ours(request.output)
    if not dry_run:
        _clear(request)
        for path, content in files_of(invocation, request).items():
            target = request.output / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content, encoding="utf-8")
        for part in PARTS:
            shutil.copytree(SHIPPED / part, request.output / "manifests" / part)
    return _summary(invocation.config, request, dry_run=dry_run)


def _require_ours(folder: Path) -> None:
    """Refuse a folder with content of somebody else's.

    Raises:
        InputError: it is a file, or holds something that was not rendered.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"--output {folder} is a file; give a folder")
    root = folder / _KUSTOMIZATION
    is_ours = root.is_file() and root.read_text(encoding="utf-8").startswith(_MARK)
    if any(folder.iterdir()) and not is_ours:
        raise InputError(
            f"--output {folder} holds files that `ipt k8s render` did not write; give a new folder"
        )


def _clear(request: Request) -> None:
    """Remove what an earlier call wrote, and no file beside it."""
    every_stage = {"ingest", "synth", "filter", "pack", "train", "export"}
    for name in sorted(every_stage | {"profile", "monitoring", "manifests"}):
        shutil.rmtree(request.output / name, ignore_errors=True)


def files_of(
    invocation: Invocation[PipelineConfig], request: Request, manifests: str = "manifests"
) -> dict[str, str]:
    """Contents by path, but for the copies of what ships.

    Args:
        invocation: the run.
        request: overlay, image and the like.
        manifests: where the shipped manifests lie, seen from the folder.
    """
    config = invocation.config
    resources = [f"{manifests}/{part}" for part in setup_parts(request)]
    files = {"run.toml": toml_text(_run_settings(invocation, request))}
    if policy := engine_policy(config):
        files["engine-policy.yaml"] = _dump(policy)
        resources.append("engine-policy.yaml")
    generator = {
        "name": "run-config",
        "files": ["run.toml"],
        "options": {
            "disableNameSuffixHash": True,
            "labels": {"app.kubernetes.io/part-of": "instruct-pretrain"},
        },
    }
    files[_KUSTOMIZATION] = _kustomization(
        resources=resources, configMapGenerator=[generator], components=["profile"]
    )
    for stage, part in (stage_parts(request) | {"monitoring": "monitoring"}).items():
        files[f"{stage}/{_KUSTOMIZATION}"] = _kustomization(
            resources=[f"../{manifests}/{part}"], components=["../profile"]
        )
    patches = all_patches(config, request)
    files |= {f"profile/{patch.name}.yaml": _dump(list(patch.operations)) for patch in patches}
    files[f"profile/{_KUSTOMIZATION}"] = _kustomization(
        kind="Component",
        namespace=request.namespace,
        images=[request.parsed_image().as_kustomize()],
        components=[f"../{manifests}/{name}" for name in components(request)],
        patches=[{"path": f"{patch.name}.yaml", "target": patch.target} for patch in patches],
    )
    return files


def _run_settings(invocation: Invocation[PipelineConfig], request: Request) -> dict[str, Any]:
    """The config's own settings, and those that follow from the cluster."""
    settings = read_toml(invocation.config_path, invocation.overrides)
    synth = settings["synth"]
    size = size_synthesis(invocation.config, request)
    synth.setdefault("workers", {}).update(size.settings())
    if request.overlay == "spot":
        synth["journal"] = True
    # Prometheus asks from another pod, and by the NetworkPolicies nobody else does.
    logging = settings["train"].setdefault("logging", {})
    logging |= {"prometheus_port": METRICS_PORT, "prometheus_host": "0.0.0.0"}
    return settings


def _kustomization(kind: str = "Kustomization", **fields: Any) -> str:
    version = "v1alpha1" if kind == "Component" else "v1beta1"
    return _dump({"apiVersion": f"kustomize.config.k8s.io/{version}", "kind": kind, **fields})


def _dump(content: Any) -> str:
    text: str = yaml.safe_dump(content, sort_keys=False, default_flow_style=False, width=100)
    return _MARK + text


def _summary(config: PipelineConfig, request: Request, *, dry_run: bool) -> list[str]:
    synth, rank_pod = size_synthesis(config, request), size_training(config, request)
    workers = f"{synth.max_workers} worker{'s' if synth.max_workers > 1 else ''}"
    if request.scales and synth.min_workers < synth.max_workers:
        workers = f"{synth.min_workers} to {workers}"
    lines = [
        f"k8s     {'would write' if dry_run else 'wrote'} {request.output}: {request.overlay}, "
        f"image {request.parsed_image()}, namespace {request.namespace}, run.dir {config.run.dir}",
        f"synth   {workers}, each {synth.worker.describe()}; stops within {synth.stop_grace_s} s",
    ]
    if request.training != "none":
        nodes = f"{request.num_nodes} pod{'s' if request.num_nodes > 1 else ''}"
        lines.append(
            f"train   {request.training}: {nodes}, each {config.train.num_ranks} ranks on "
            f"{rank_pod.describe()}"
        )
    if not dry_run:
        stages = ", ".join(f"{request.output}/{stage}" for stage in stage_parts(request))
        lines += [
            f"next    kubectl apply -k {request.output}   # runs nothing yet",
            f"then    kubectl apply -k of each, when the one before is complete: {stages}",
        ]
    return lines
