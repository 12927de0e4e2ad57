"""Who may reach whom: the NetworkPolicies, evaluated as a cluster's network would."""

import ipaddress
from dataclasses import dataclass, field

import pytest

from tests.manifests import K8S, build, needs_kubectl

pytestmark = needs_kubectl
HERE, PART_OF = "instruct-pretrain", "app.kubernetes.io/part-of"
RAY_PORTS = (6379, 8265, 10001, 52365, 10002, 19999)


@dataclass(frozen=True)
class Pod:
    """A pod by its namespace and labels."""

    namespace: str
    labels: dict[str, str] = field(default_factory=dict)


def ours(component: str, **labels: str) -> Pod:
    names = {
        key.replace("_", "/").replace("ray/io", "ray.io"): value for key, value in labels.items()
    }
    return Pod(HERE, {PART_OF: HERE, "app.kubernetes.io/component": component, **names})


SYNTH_HEAD = Pod(HERE, {**ours("synth").labels, "ray.io/node-type": "head"})
PACK_HEAD = Pod(HERE, {**ours("pack").labels, "ray.io/node-type": "head"})
OPERATOR = Pod("kuberay-system", {"app.kubernetes.io/component": "kuberay-operator"})
PROMETHEUS = Pod("monitoring")
STRANGERS = (
    Pod("default"),
    Pod(HERE),
    Pod("default", {**SYNTH_HEAD.labels}),
    Pod("default", OPERATOR.labels),
    Pod("kuberay-system"),
)


@pytest.fixture(scope="module")
def policies():
    folder = K8S / "overlays" / "gpu"
    resources = [*build(folder), *build(folder / "monitoring")]
    return [each["spec"] for each in resources if each["kind"] == "NetworkPolicy"]


def selects(selector, labels) -> bool:
    assert selector.keys() <= {"matchLabels"}, "the evaluation below knows nothing else"
    return selector.get("matchLabels", {}).items() <= labels.items()


def admits(peer, pod: Pod) -> bool:
    if "ipBlock" in peer:
        return False
    namespace = {"kubernetes.io/metadata.name": pod.namespace}
    in_namespace = (
        selects(peer["namespaceSelector"], namespace)
        if "namespaceSelector" in peer
        else pod.namespace == HERE
    )
    return in_namespace and selects(peer.get("podSelector", {}), pod.labels)


def may_enter(policies, source: Pod, target: Pod, port: int | str) -> bool:
    """Whether some policy lets `source` in; that nobody else gets in is a test of its own."""
    return any(
        any(admits(peer, source) for peer in rule["from"])
        and ("ports" not in rule or port in [each["port"] for each in rule["ports"]])
        for policy in policies
        if "Ingress" in policy["policyTypes"] and selects(policy["podSelector"], target.labels)
        for rule in policy.get("ingress", [])
    )


def may_leave(policies, source: Pod, address: str, port: int) -> bool:
    """Whether some policy lets `source` reach an address outside the cluster."""
    return any(
        any(covers(peer["ipBlock"], address) for peer in rule["to"] if "ipBlock" in peer)
        and port in [each["port"] for each in rule.get("ports", [])]
        for policy in policies
        if "Egress" in policy["policyTypes"] and selects(policy["podSelector"], source.labels)
        for rule in policy.get("egress", [])
    )


def covers(block, address: str) -> bool:
    where = ipaddress.ip_address(address)
    return where in ipaddress.ip_network(block["cidr"]) and not any(
        where in ipaddress.ip_network(hole) for hole in block.get("except", [])
    )


def test_everything_is_closed_at_first(policies) -> None:
    closed = [policy for policy in policies if policy["podSelector"] == {}]
    assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in closed
    assert not any(
        rule.get("from", []) == [] for each in policies for rule in each.get("ingress", [])
    )


@pytest.mark.parametrize("port", RAY_PORTS)
@pytest.mark.parametrize("head", [SYNTH_HEAD, PACK_HEAD], ids=["synth", "pack"])
def test_rays_ports_are_for_its_own_cluster(policies, head: Pod, port: int) -> None:
    own, other = ("synth", "pack") if head is SYNTH_HEAD else ("pack", "synth")
    assert may_enter(policies, ours(own), head, port)
    assert may_enter(policies, head, ours(own), port)
    assert not may_enter(policies, ours(other), head, port)
    assert not may_enter(policies, ours("train"), head, port)
    assert not any(may_enter(policies, stranger, head, port) for stranger in STRANGERS)
    assert not any(may_enter(policies, stranger, ours(own), port) for stranger in STRANGERS)


def test_the_job_server_is_for_submitter_and_operator(policies) -> None:
    for peer in (ours("submitter"), OPERATOR):
        assert may_enter(policies, peer, SYNTH_HEAD, 8265)
        assert not may_enter(policies, peer, SYNTH_HEAD, 6379)
        assert not may_enter(policies, peer, ours("synth"), 8265)


def test_ranks_reach_each_other_alone(policies) -> None:
    for port in (29500, 41234):
        assert may_enter(policies, ours("train"), ours("train"), port)
        assert not may_enter(policies, ours("synth"), ours("train"), port)
        assert not any(may_enter(policies, stranger, ours("train"), port) for stranger in STRANGERS)


def test_prometheus_sees_metrics_and_nothing_else(policies) -> None:
    for target in (SYNTH_HEAD, ours("synth"), ours("train")):
        assert may_enter(policies, PROMETHEUS, target, "metrics")
        assert not any(may_enter(policies, PROMETHEUS, target, port) for port in (8265, 29500))
        assert not may_enter(policies, Pod("default"), target, "metrics")


@pytest.mark.parametrize("component", ["ingest", "synth", "train"])
def test_pods_reach_stores_and_not_the_metadata_server(policies, component: str) -> None:
    assert may_leave(policies, ours(component), "52.216.1.1", 443)
    assert not may_leave(policies, ours(component), "52.216.1.1", 80)
    for port in (80, 443, 6443):
        assert not may_leave(policies, SYNTH_HEAD, "169.254.169.254", port)
    assert not may_leave(policies, ours(component), "169.254.170.23", 80)
