"""Patches say what a config changes, and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from launch.kubernetes.patches import all_patches, engine_policy
from launch.kubernetes.request import Request
from launch.references import invocation_of


def patches(*overrides: str, **options) -> dict[str, dict[str, Any]]:
    """Values by path, of each patch by name."""
    config = invocation_of("quickstart", ["run.dir=/mnt/runs/a", *overrides]).config
    return {
        patch.name: {each["path"]: each["value"] for each in patch.operations}
        for patch in all_patches(config, Request(Path("deploy"), **options))
    }


def ending(values: dict[str, Any], path: str) -> list[Any]:
    found = [value for key, value in values.items() if key.endswith(path)]
    assert found, path
    return found


def test_only_what_is_asked_for_is_patched() -> None:
    assert set(patches()) == {"synth", "train", "train-job"}
    asked = patches(namespace="a", queue="b", storage="identity", identity=("c=d",))
    assert set(asked) == {"synth", "train", "train-job", "service-accounts", "namespace", "queue"}
    assert asked["service-accounts"] == {"/metadata/annotations": {"c": "d"}}
    assert asked["namespace"] == {"/metadata/name": "a"}
    assert list(asked["queue"].values()) == ["b"]


def test_the_pool_starts_small_or_whole() -> None:
    scaling = patches("synth.workers.max=8")["synth"]
    assert ending(scaling, "0/replicas") == [1]
    assert ending(scaling, "maxReplicas") == [8]
    queued = patches("synth.workers.max=8", queue="a")["synth"]
    assert ending(queued, "0/replicas") == ending(queued, "minReplicas") == [8]


def test_grace_reaches_head_and_workers() -> None:
    values = patches("synth.stop_grace_s=200")["synth"]
    assert ending(values, "env/0/value") == ["200", "200"]
    assert ending(values, "terminationGracePeriodSeconds") == [230, 230]


def test_nodes_and_ranks_reach_both_kinds_of_training() -> None:
    found = patches("train.num_ranks=4", num_nodes=3, image="registry.example/ipt:2")
    assert ending(found["train"], "parallelism") == ending(found["train"], "completions") == [3]
    assert ending(found["train"], "args/0") == ["--num_nodes=3"]
    assert ending(found["train-job"], "numNodes") == [3]
    assert ending(found["train-job"], "image") == ["registry.example/ipt:2"]
    for name, path in (("train", "resources"), ("train-job", "resourcesPerNode")):
        (resources,) = ending(found[name], path)
        assert resources["limits"]["nvidia.com/gpu"] == 4


@pytest.mark.parametrize(
    ("overlay", "tolerated"), [("gpu", []), ("spot", ["instruct-pretrain/capacity"])]
)
def test_workers_without_gpus_keep_off_nodes_with_them(overlay: str, tolerated: list[str]) -> None:
    values = patches("synth.protocol=rules", overlay=overlay)["synth"]
    (tolerations,) = ending(values, "tolerations")
    assert [each["key"] for each in tolerations] == tolerated
    assert not any("tolerations" in path for path in patches(overlay=overlay)["synth"])


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("http://engine:8000/v1", 8000),
        ("http://engine/v1", 80),
        ("https://engine.example/v1", None),
        ("https://engine.example:8443/v1", 8443),
    ],
)
def test_a_server_that_is_the_engine_can_be_reached(url: str, port: int | None) -> None:
    overrides = ["synth.engine.kind=openai", f"synth.engine.openai.base_url={url}"]
    policy = engine_policy(invocation_of("quickstart", overrides).config)
    if port is None:
        assert policy is None
    else:
        assert policy is not None
        (rule,) = policy["spec"]["egress"]
        assert [each["port"] for each in rule["ports"]] == [port]
    keys = ending(patches(*overrides)["synth"], "envFrom/-")
    assert keys == [{"secretRef": {"name": "engine", "optional": True}}] * 2


def test_no_server_no_opening() -> None:
    assert engine_policy(invocation_of("quickstart", []).config) is None
