"""Every manifest, in every combination of options: valid to the letter, and restricted."""

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from launch.kubernetes.folder import render
from launch.kubernetes.request import MOUNT, Request
from launch.references import invocation_of
from tests.manifest_schemas import core_problems, needs_crds, problems
from tests.manifests import (
    K8S,
    OVERLAYS,
    build,
    build_run,
    needs_kubectl,
    only,
    pod_templates,
)

COMBINATIONS = [
    (overlay, storage, training, queue)
    for overlay, (storage, training), queue in itertools.product(
        OVERLAYS,
        [("volume", "jobset"), ("volume", "kubeflow"), ("secret", "none"), ("identity", "none")],
        ["", "team-a"],
    )
]
ADMIN = [K8S / "queues", K8S / "kubeflow"]
_SECRET_NAMES = re.compile(r"TOKEN|KEY|PASSWORD|SECRET", re.IGNORECASE)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory):
    """Resources of a rendered folder by the options, each rendered once."""
    cache: dict[tuple[str, ...], list[dict[str, Any]]] = {}

    def of(overlay: str, storage: str, training: str, queue: str) -> list[dict[str, Any]]:
        key = (overlay, storage, training, queue)
        if key not in cache:
            folder = tmp_path_factory.mktemp("deploy")
            root = f"{MOUNT}/a" if storage == "volume" else "s3://bucket/a"
            request = Request(
                folder, overlay=overlay, storage=storage, training=training, queue=queue
            )
            render(invocation_of("quickstart", [f"run.dir={root}"]), request, dry_run=False)
            cache[key] = build_run(folder)
        return cache[key]

    return of


def admin_resources() -> list[dict[str, Any]]:
    """What a cluster's administrator applies once."""
    return [resource for folder in ADMIN for resource in build(folder)]


@needs_kubectl
@needs_crds
@pytest.mark.parametrize("combination", COMBINATIONS, ids="-".join)
def test_every_field_is_one_that_the_server_knows(combination, rendered) -> None:
    resources = rendered(*combination)
    assert len(resources) > 15
    found = {
        f"{resource['kind']} {resource['metadata']['name']}: {problem}"
        for resource in resources
        for problem in problems(resource)
    }
    assert found == set()


@needs_kubectl
@needs_crds
def test_what_an_administrator_applies_is_valid() -> None:
    found = [problem for resource in admin_resources() for problem in problems(resource)]
    assert found == []


@needs_kubectl
@pytest.mark.parametrize("combination", COMBINATIONS, ids="-".join)
def test_every_pod_is_restricted(combination, rendered) -> None:
    resources = [*rendered(*combination), *admin_resources()]
    templates = [
        (f"{resource['kind']} {resource['metadata']['name']}{path}", template)
        for resource in resources
        for path, template in pod_templates(resource)
    ]
    # Jobs, heads, workers, submitters, and a runtime's pod.
    assert len(templates) >= 9
    for where, template in templates:
        check_pod(where, template)
        pod = {"apiVersion": "v1", "kind": "Pod", **template}
        pod["metadata"] = {"name": "a", **template.get("metadata", {})}
        assert core_problems(pod) == [], where


def check_pod(where: str, template: dict[str, Any]) -> None:
    """The rules of Pod Security's level `restricted`, and ours beyond it."""
    spec = template["spec"]
    security = spec["securityContext"]
    assert security["runAsNonRoot"] is True, where
    assert security["runAsUser"] == 10001, where
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}, where
    assert spec["automountServiceAccountToken"] is False, where
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), where
    allowed = {"name", "configMap", "emptyDir", "persistentVolumeClaim", "projected"}
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert all(volume.keys() <= allowed for volume in volumes.values()), where
    assert spec["priorityClassName"].startswith("instruct-pretrain-"), where
    labels = template["metadata"]["labels"]
    assert labels["app.kubernetes.io/part-of"] == "instruct-pretrain", where
    assert labels["app.kubernetes.io/component"], where
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        check_container(where, container)
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert "emptyDir" in volumes[mounts["/tmp"]], where


def check_container(where: str, container: dict[str, Any]) -> None:
    """One container's rules."""
    check_container_security(where, container["securityContext"])
    resources = container["resources"]
    assert {"cpu", "memory"} <= resources["requests"].keys(), where
    assert "memory" in resources["limits"], where
    # A GPU cannot be asked for and not limited.
    gpus = [resources[kind].get("nvidia.com/gpu") for kind in ("requests", "limits")]
    assert gpus[0] == gpus[1], where
    for variable in container.get("env", []):
        assert not (_SECRET_NAMES.search(variable["name"]) and "value" in variable), where
    # KubeRay adds its own to Ray's pods; a batch job has nothing to be asked.
    assert not {"livenessProbe", "readinessProbe", "startupProbe"} & container.keys(), where


def check_container_security(where: str, security: dict[str, Any]) -> None:
    """What a container may do."""
    assert security == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }, where


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_autoscaler_alone_gets_a_token(overlay: str, rendered) -> None:
    resources = rendered(overlay, "volume", "jobset", "")
    clusters = {
        resource["metadata"]["name"]: resource["spec"]["rayClusterSpec"]
        for resource in resources
        if resource["kind"] == "RayJob"
    }
    assert set(clusters) == {"synth", "pack"}
    for cluster in clusters.values():
        assert cluster["enableInTreeAutoscaling"] == ("autoscalerOptions" in cluster)
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
            for container in group["template"]["spec"]["containers"]:
                mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
                assert not any("serviceaccount" in mount for mount in mounts)
    assert clusters["synth"]["enableInTreeAutoscaling"] == (overlay != "dev")
    if overlay != "dev":
        options = clusters["synth"]["autoscalerOptions"]
        check_container_security("autoscaler", options["securityContext"])
        names = [mount["name"] for mount in options["volumeMounts"]]
        assert names == ["tmp", "autoscaler-token"]


@needs_kubectl
@pytest.mark.parametrize("combination", COMBINATIONS, ids="-".join)
def test_nothing_is_open_and_nothing_secret(combination, rendered) -> None:
    resources = rendered(*combination)
    kinds = {resource["kind"] for resource in resources}
    assert not kinds & {"Secret", "Service", "Ingress", "Role", "ClusterRole", "ClusterRoleBinding"}
    for resource in resources:
        text = str(resource)
        assert "NodePort" not in text
        assert "LoadBalancer" not in text
        if resource["kind"] == "RayJob":
            cluster = resource["spec"]["rayClusterSpec"]
            assert cluster["authOptions"] == {"mode": "token"}
            assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
            assert cluster["headGroupSpec"]["enableIngress"] is False


@needs_kubectl
@pytest.mark.parametrize("combination", COMBINATIONS, ids="-".join)
def test_one_image_runs_everything(combination, rendered) -> None:
    resources = rendered(*combination)
    images = {
        container["image"]
        for resource in resources
        for _, template in pod_templates(resource)
        for container in template["spec"]["containers"]
    } | {job["spec"]["trainer"]["image"] for job in resources if job["kind"] == "TrainJob"}
    kind = "cpu" if combination[0] == "dev" else "gpu"
    assert images == {f"instruct-pretrain:0.1.0-{kind}"}
    # The tags are those that the Dockerfile says to build.
    assert f" {images.pop()} " in (K8S.parent / "Dockerfile").read_text("utf-8")


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_names_that_manifests_refer_to_exist(overlay: str, rendered) -> None:
    resources = rendered(overlay, "volume", "jobset", "")
    there = {(resource["kind"], resource["metadata"]["name"]) for resource in resources}
    for resource in resources:
        for where, template in pod_templates(resource):
            spec = template["spec"]
            assert ("ServiceAccount", spec["serviceAccountName"]) in there, where
            assert ("PriorityClass", spec["priorityClassName"]) in there, where
            for volume in spec["volumes"]:
                if "configMap" in volume:
                    assert ("ConfigMap", volume["configMap"]["name"]) in there, where
                if claim := volume.get("persistentVolumeClaim"):
                    assert ("PersistentVolumeClaim", claim["claimName"]) in there, where


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_queue_has_a_quota_for_all_that_pods_ask_for(overlay: str, rendered) -> None:
    queue = only(build(K8S / "queues"), "ClusterQueue")
    [group] = queue["spec"]["resourceGroups"]
    asked = {
        name
        for resource in rendered(overlay, "volume", "jobset", "team-a")
        for _, template in pod_templates(resource)
        for container in template["spec"]["containers"]
        for name in container["resources"]["requests"]
    }
    assert asked <= set(group["coveredResources"]), "Kueue admits nothing that asks for more"
    for flavor in group["flavors"]:
        assert [each["name"] for each in flavor["resources"]] == group["coveredResources"]


def test_no_manifest_is_left_out_of_its_kustomization() -> None:
    skipped = {"kustomization.yaml"}
    for path in K8S.rglob("*.yaml"):
        if path.name in skipped or "profile" in path.parts:
            continue
        listed = (path.parent / "kustomization.yaml").read_text("utf-8")
        assert path.name in listed, Path(path).relative_to(K8S)
