"""Dashboard and PodMonitor name what is exported."""

import json
import re

from launch.kubernetes.request import METRICS_PORT
from synth.board import JobBoard
from tests.manifests import K8S, build, needs_kubectl, only, pod_templates
from train.prometheus import PrometheusWriter

DASHBOARD = K8S / "monitoring" / "dashboard.json"
FROM_SYNTHESIS = {"documents", "output_tokens", "prompt_tokens", "cached_tokens", "pairs"}
"""Counts of texts and engine, which workers report by these names."""
STEP = {
    "loss": 1.0,
    "lr": 1e-3,
    "grad_norm": 1.0,
    "perf/tokens_per_s": 1.0,
    "perf/mfu": 0.4,
    "time/data_wait_share": 0.0,
    "memory_gib": 1.0,
    "loss/web-raw": 1.0,
    "heldout/web-raw/loss": 1.0,
}
"""What a step of training measures, by the names of `metrics.jsonl`."""


def exported_by_training() -> set[str]:
    """The names under which that is served."""
    from prometheus_client import generate_latest

    writer = PrometheusWriter("127.0.0.1", 0, num_steps=10)
    try:
        writer.write(1, STEP)
        text = generate_latest(writer._registry).decode()
    finally:
        writer.close()
    return set(re.findall(r"^ipt_train_\w+", text, re.MULTILINE))


def expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def test_the_dashboard_shows_both_stages_and_only_what_there_is(tmp_path) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "augmented").mkdir()
    board = JobBoard(str(tmp_path / "documents"), str(tmp_path / "augmented"))
    known = {f"ray_ipt_synth_{name}" for name in FROM_SYNTHESIS | board.news().figures.keys()}
    known |= exported_by_training()
    named = {name for text in expressions() for name in re.findall(r"\w*ipt_\w+", text)}
    assert named <= known
    assert {"ray_ipt_synth_parts_done", "ipt_train_loss"} <= named


def test_every_panel_keeps_to_the_namespace_that_was_chosen() -> None:
    assert len(expressions()) > 15
    for text in expressions():
        assert text.count("{") == text.count('{namespace="$namespace"}'), text


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not taken & cells, panel["title"]
        taken |= cells


@needs_kubectl
def test_grafana_finds_the_dashboard_by_its_label() -> None:
    config_map = only(build(K8S / "overlays" / "gpu" / "monitoring"), "ConfigMap")
    assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
    (text,) = config_map["data"].values()
    assert json.loads(text) == json.loads(DASHBOARD.read_text("utf-8"))


@needs_kubectl
def test_the_port_of_training_is_the_one_that_its_config_gets() -> None:
    for folder in (K8S / "overlays" / "gpu" / "train", K8S / "kubeflow"):
        ((_, template),) = pod_templates(build(folder)[0])
        ports = {
            each["name"]: each["containerPort"]
            for each in template["spec"]["containers"][0]["ports"]
        }
        assert ports["metrics"] == METRICS_PORT


@needs_kubectl
def test_every_stage_with_metrics_has_the_port_that_is_asked() -> None:
    folder = K8S / "overlays" / "gpu"
    monitor = only(build(folder / "monitoring"), "PodMonitor")["spec"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    for stage in ("synth", "pack", "train"):
        (resource,) = build(folder / stage)
        ports = [
            port["name"]
            for _, template in pod_templates(resource)
            if monitor["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
            for container in template["spec"]["containers"]
            for port in container.get("ports", [])
        ]
        assert endpoint["port"] in ports, stage
