"""Strict validation of manifests: core kinds by Kubernetes' own schemas, others by their CRDs.

The CRDs are third-party data that is not committed: they are read from `IPT_CRDS`, else from
`../shared/crds` beside the checkout.
"""

import functools
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.manifests import ROOT

KUBERNETES_VERSION = "1.32"
_CRDS = Path(os.environ.get("IPT_CRDS", ROOT.parent / "shared" / "crds"))

needs_crds = pytest.mark.skipif(
    not any(_CRDS.glob("*.yaml")),
    reason=f"no CRDs in {_CRDS}: set IPT_CRDS to a folder with those of KubeRay, JobSet, Kueue and "
    "Kubeflow Trainer",
)

# The few fields of the Prometheus operator's public API that we use.
_POD_MONITOR = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": "monitoring.coreos.com/v1"},
        "kind": {"const": "PodMonitor"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "required": ["selector", "podMetricsEndpoints"],
            "additionalProperties": False,
            "properties": {
                "selector": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"matchLabels": {"additionalProperties": {"type": "string"}}},
                },
                "podTargetLabels": {"type": "array", "items": {"type": "string"}},
                "podMetricsEndpoints": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            "port": {"type": "string"},
                            "path": {"type": "string", "pattern": "^/"},
                            "interval": {"type": "string", "pattern": "^[0-9]+s$"},
                            "relabelings": {
                                "type": "array",
                                "items": {
                                    "type": "object",
                                    "additionalProperties": False,
                                    "properties": {
                                        "sourceLabels": {"items": {"type": "string"}},
                                        "regex": {"type": "string"},
                                        "action": {"enum": ["keep", "drop", "replace"]},
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}


def problems(resource: dict[str, Any]) -> list[str]:
    """What is wrong with a resource, a line each: unknown fields, wrong types, missing fields."""
    group = resource["apiVersion"].rpartition("/")[0]
    if resource["kind"] == "PodMonitor":
        return _errors(_POD_MONITOR, resource)
    if "." not in group or (group.endswith(".k8s.io") and "x-k8s" not in group):
        return core_problems(resource)
    return _errors(crd_schema(resource["apiVersion"], resource["kind"]), resource)


def core_problems(resource: dict[str, Any]) -> list[str]:
    """The same for a kind of Kubernetes itself."""
    import kubernetes_validate

    try:
        kubernetes_validate.validate(resource, KUBERNETES_VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'/'.join(map(str, error.path))}: {error.message}"]
    return []


def _errors(schema: dict[str, Any], resource: dict[str, Any]) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema)
    return [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}"
        for error in validator.iter_errors(resource)
    ]


@functools.cache
def crd_schema(api_version: str, kind: str) -> dict[str, Any]:
    """The JSON schema of a custom resource, which lets nothing pass that a server would drop."""
    group, _, version = api_version.partition("/")
    for path in sorted(_CRDS.glob(f"{group}_*.yaml")):
        definition = yaml.load(
            path.read_text("utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        )
        if definition["spec"]["names"]["kind"] != kind:
            continue
        for served in definition["spec"]["versions"]:
            if served["name"] == version and served["served"]:
                schema = strict(served["schema"]["openAPIV3Schema"])
                schema["properties"]["metadata"] = {"type": "object"}  # the server's own schema
                return schema
    raise AssertionError(f"no CRD of {api_version} {kind} in {_CRDS}")


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """OpenAPI as CRDs have it, as JSON schema that refuses unknown fields."""
    result = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes-")}
    for key in ("description", "default", "format", "nullable"):
        result.pop(key, None)
    if "properties" in schema:
        result["properties"] = {key: strict(value) for key, value in schema["properties"].items()}
    if isinstance(schema.get("items"), dict):
        result["items"] = strict(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        result["additionalProperties"] = strict(schema["additionalProperties"])
    elif schema.get("type") == "object" and "additionalProperties" not in schema:
        keeps = schema.get("x-kubernetes-preserve-unknown-fields", False)
        result["additionalProperties"] = bool(keeps)
    if schema.get("x-kubernetes-int-or-string"):
        result.pop("anyOf", None)
        result["type"] = ["integer", "string"]
    if schema.get("nullable"):
        return {"anyOf": [{"type": "null"}, result]}
    return result
