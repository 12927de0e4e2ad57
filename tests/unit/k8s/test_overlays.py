"""The overlays that ship are what `ipt k8s render` writes for presets, and build."""

import tomllib
from pathlib import Path

import pytest

from launch.kubernetes.folder import files_of
from launch.kubernetes.manifests import SHIPPED
from launch.kubernetes.request import Request
from launch.references import find_config, invocation_of
from pipeline.config import flatten
from tests.manifests import K8S, OVERLAYS, STAGES, build, build_run, needs_kubectl, only

PRESETS = {"dev": "quickstart", "gpu": "scratch-500m", "spot": "scratch-500m"}
NODES = {"dev": 1, "gpu": 1, "spot": 2}


def overlay_files(overlay: str) -> dict[str, str]:
    """What an overlay's folder has to hold."""
    preset = PRESETS[overlay]
    invocation = invocation_of(preset, [f"run.dir=/mnt/runs/{preset}"])
    request = Request(Path("unused"), overlay=overlay, num_nodes=NODES[overlay])
    return files_of(invocation, request, manifests="../..")


def written(folder: Path) -> dict[str, str]:
    """Files below a folder by their path in it."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text("utf-8") for path in paths}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_what_render_writes(overlay: str, update_golden: bool) -> None:
    files, folder = overlay_files(overlay), K8S / "overlays" / overlay
    if update_golden:
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(content, "utf-8")
    assert written(folder) == files


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_its_config_loads_and_is_the_presets_but_for_the_cluster(overlay: str) -> None:
    path = K8S / "overlays" / overlay / "run.toml"
    config = flatten(invocation_of(str(path), []).config.model_dump())
    preset = flatten(invocation_of(PRESETS[overlay], []).config.model_dump())
    changed = {key for key in config | preset if config.get(key) != preset.get(key)}
    expected = {
        "run.dir",
        "synth.workers.max",
        "synth.workers.gpus",
        "train.logging.prometheus_port",
        "train.logging.prometheus_host",
    }
    of_overlay = {
        "dev": {"synth.workers.cpus"},
        "gpu": set(),
        "spot": {"synth.journal"},
    }
    assert changed == expected | of_overlay[overlay]


def test_presets_named_here_ship() -> None:
    for preset in PRESETS.values():
        tomllib.loads(Path(find_config(preset)).read_text("utf-8"))


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_builds_every_stage(overlay: str) -> None:
    folder = K8S / "overlays" / overlay
    jobs = {resource["metadata"]["name"] for stage in STAGES for resource in build(folder / stage)}
    assert jobs == set(STAGES)
    # What is there once runs nothing, and no stage brings what would go with it when it is deleted.
    assert {resource["kind"] for resource in build(folder)} == {
        "ConfigMap",
        "Namespace",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "PriorityClass",
        "ServiceAccount",
    }
    assert all(len(build(folder / stage)) == 1 for stage in STAGES)


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_config_map_holds_the_config_that_jobs_name(overlay: str) -> None:
    folder = K8S / "overlays" / overlay
    config_map = only(build(folder), "ConfigMap")
    assert config_map["metadata"]["name"] == "run-config"
    assert set(config_map["data"]) == {"run.toml"}
    assert config_map["data"]["run.toml"] == (folder / "run.toml").read_text("utf-8")
    text = "".join(str(resource) for resource in build_run(folder))
    assert "/etc/ipt/run.toml" in text


def test_the_manifests_are_found_beside_the_package() -> None:
    assert SHIPPED == K8S
    assert (SHIPPED / "base" / "kustomization.yaml").is_file()
