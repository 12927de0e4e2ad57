"""Options of `ipt k8s render`: what stands for nothing is refused by name."""

from pathlib import Path
from typing import Any

import pytest

from launch.kubernetes.request import Request, default_image
from pipeline.errors import InputError

DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overlay": "prod"}, "--overlay 'prod': no such one; choose dev, gpu, spot"),
        ({"storage": "nfs"}, "--storage 'nfs': no such one; choose volume, secret, identity"),
        ({"training": "pytorch"}, "--training 'pytorch': no such one"),
        ({"namespace": "Team_A"}, "--namespace 'Team_A' is no name of Kubernetes"),
        ({"namespace": "a" * 64}, "at most 63"),
        ({"namespace": ""}, "--namespace is empty"),
        ({"queue": "-a"}, "--queue '-a' is no name of Kubernetes"),
        ({"num_nodes": 0}, "--nodes (0) must be at least 1"),
        ({"overlay": "dev", "num_nodes": 2}, "must be 1 with --overlay dev"),
        ({"identity": ("a=b",)}, "--identity needs --storage identity, not volume"),
        ({"storage": "identity", "identity": ("role",)}, "must have the form KEY=VALUE"),
        ({"image": "registry.example/ipt"}, "must have a tag that does not move"),
        ({"image": "registry.example:5000/ipt"}, "must have a tag that does not move"),
        ({"image": "ipt:latest"}, "must have a tag that does not move"),
        ({"image": "ipt:1 --privileged"}, "must have a tag that does not move"),
        ({"image": "ipt@sha256:12"}, "must have a tag that does not move"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        Request(Path("deploy"), **options).check()
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("image", "name", "version"),
    [
        ("ipt:1", "ipt", {"newTag": "1"}),
        (
            "registry.example:5000/team/ipt:1.2-gpu",
            "registry.example:5000/team/ipt",
            {"newTag": "1.2-gpu"},
        ),
        (f"registry.example/ipt@{DIGEST}", "registry.example/ipt", {"digest": DIGEST}),
        (f"registry.example/ipt:1@{DIGEST}", "registry.example/ipt", {"digest": DIGEST}),
    ],
)
def test_an_image_is_read_in_its_pieces(image: str, name: str, version: dict[str, str]) -> None:
    parsed = Request(Path("deploy"), image=image).parsed_image()
    assert parsed.as_kustomize() == {"name": "instruct-pretrain", "newName": name, **version}
    assert str(parsed).startswith(name)


def test_the_image_follows_from_the_overlay() -> None:
    assert default_image("dev").endswith("-cpu")
    assert default_image("gpu") == default_image("spot")
    assert default_image("gpu").endswith("-gpu")


def test_workers_scale_but_for_one_node_and_queues() -> None:
    assert Request(Path("deploy")).scales
    assert not Request(Path("deploy"), overlay="dev").scales
    assert not Request(Path("deploy"), queue="team-a").scales
