"""The check of manifests finds what a server would drop or refuse."""

import copy

import pytest

from tests.manifest_schemas import needs_crds, problems, strict
from tests.manifests import K8S, build, needs_kubectl, only

pytestmark = [needs_kubectl, needs_crds]


@pytest.fixture
def ray_job():
    """The RayJob of synthesis, free to be changed."""
    resources = build(K8S / "overlays" / "gpu" / "synth")
    return copy.deepcopy(only(resources, "RayJob"))


def worker(ray_job):
    """The pod of its workers."""
    return ray_job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]


def test_the_unchanged_one_passes(ray_job) -> None:
    assert problems(ray_job) == []


def test_an_unknown_field_deep_in_a_pod_template_is_refused(ray_job) -> None:
    worker(ray_job)["containers"][0]["securityContext"]["readOnlyRootFileSystem"] = True
    (problem,) = problems(ray_job)
    assert "readOnlyRootFileSystem" in problem
    assert problem.startswith("spec/rayClusterSpec/workerGroupSpecs/0/template/spec/containers/0/")


@pytest.mark.parametrize(
    ("field", "value"),
    [("terminationGracePeriodSeconds", "90"), ("containers", []), ("tolerations", {})],
)
def test_a_wrong_type_is_refused(ray_job, field: str, value) -> None:
    worker(ray_job)[field] = value
    assert bool(problems(ray_job)) == (value != [])  # an empty list is well-formed to a schema


def test_a_missing_field_is_refused(ray_job) -> None:
    del worker(ray_job)["containers"][0]["name"]
    assert any("'name' is a required property" in problem for problem in problems(ray_job))


def test_a_value_that_is_not_among_the_choices_is_refused(ray_job) -> None:
    ray_job["spec"]["rayClusterSpec"]["authOptions"]["mode"] = "off"
    assert any("'off' is not one of" in problem for problem in problems(ray_job))


@pytest.mark.parametrize(
    ("stage", "kind", "path"),
    [
        ("train", "JobSet", ("failurePolicy", "rules", 0)),
        ("ingest", "Job", ("template", "spec", "containers", 0)),
        ("monitoring", "PodMonitor", ("podMetricsEndpoints", 0)),
    ],
)
def test_other_kinds_are_checked_as_strictly(stage: str, kind: str, path: tuple) -> None:
    resource = copy.deepcopy(only(build(K8S / "overlays" / "gpu" / stage), kind))
    assert problems(resource) == []
    node = resource["spec"]
    for step in path:
        node = node[step]
    node["unheardOf"] = 1
    assert any("unheardOf" in problem for problem in problems(resource))


def test_strictness_ends_where_a_crd_says_so() -> None:
    schema = {
        "type": "object",
        "properties": {
            "closed": {"type": "object", "properties": {"a": {"type": "string"}}},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
            "either": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}]},
            "none": {"type": "string", "nullable": True},
        },
    }
    properties = strict(schema)["properties"]
    assert properties["closed"]["additionalProperties"] is False
    assert properties["open"]["additionalProperties"] is True
    assert properties["map"]["additionalProperties"] == {"type": "string"}
    assert properties["either"] == {"type": ["integer", "string"]}
    assert properties["none"] == {"anyOf": [{"type": "null"}, {"type": "string"}]}
