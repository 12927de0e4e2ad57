"""Pods by the config: GPUs of an engine, engines of a pod, pods of a pool."""

from pathlib import Path

import pytest

from launch.kubernetes.request import Request
from launch.kubernetes.sizes import size_synthesis, size_training
from launch.references import invocation_of


def config_of(*overrides: str):
    return invocation_of("quickstart", ["run.dir=/mnt/runs/a", *overrides]).config


def request(overlay: str = "gpu", **options) -> Request:
    return Request(Path("deploy"), overlay=overlay, **options)


@pytest.mark.parametrize(
    ("overrides", "gpus", "engines", "smallest", "largest"),
    [
        ([], 1, 1, 1, 4),
        (["synth.engine.tensor_parallel_size=4"], 4, 1, 1, 4),
        (
            ["synth.engine.tensor_parallel_size=2", "synth.engine.pipeline_parallel_size=2"],
            4,
            1,
            1,
            4,
        ),
        (["synth.workers.gpus=0.5"], 1, 2, 1, 4),
        (["synth.workers.gpus=0.5", "synth.workers.max=7"], 1, 2, 1, 4),
        (["synth.workers.gpus=0.25", "synth.workers.min=5", "synth.workers.max=16"], 1, 4, 2, 4),
        (["synth.workers.min=6", "synth.workers.max=16"], 1, 1, 6, 16),
        (["synth.workers.min=8"], 1, 1, 8, 8),
        (["synth.protocol=rules"], 0, 4, 1, 4),
        (["synth.protocol=rules", "synth.workers.cpus=2", "synth.workers.max=32"], 0, 2, 1, 16),
        (["synth.engine.kind=openai"], 0, 4, 1, 4),
        (["synth.workers.gpus=0"], 0, 1, 1, 4),
    ],
)
def test_workers_of_synthesis(overrides, gpus, engines, smallest, largest) -> None:
    size = size_synthesis(config_of(*overrides), request())
    assert size.worker.gpus == gpus
    assert size.engines_per_worker == engines
    assert (size.min_workers, size.max_workers) == (smallest, largest)
    assert (largest - 1) * engines < size.settings()["max"] <= largest * engines
    assert bool(size.settings()["gpus"]) == bool(gpus), "not what nodes happen to be there first"


def test_settings_keep_to_what_synthesis_accepts() -> None:
    for overrides in (["synth.workers.min=8"], ["synth.workers.gpus=0.5", "synth.workers.min=3"]):
        settings = size_synthesis(config_of(*overrides), request()).settings()
        assert 1 <= settings["min"] <= settings["max"]


def test_an_engine_on_cpus_has_its_pod_for_itself() -> None:
    size = size_synthesis(config_of("synth.workers.gpus=0"), request())
    assert size.settings()["cpus"] == size.worker.cores
    assert size_synthesis(config_of(), request()).settings()["cpus"] == 1


def test_the_numbers_of_engines_are_those_of_the_config() -> None:
    size = size_synthesis(
        config_of("synth.workers.min=3", "synth.workers.max=5", "synth.workers.gpus=0.5"), request()
    )
    assert (size.min_workers, size.max_workers) == (2, 3)
    assert (size.settings()["min"], size.settings()["max"]) == (3, 5)


def test_one_node_has_one_worker_whatever_the_config_says() -> None:
    size = size_synthesis(config_of("synth.workers.min=3", "synth.workers.max=9"), request("dev"))
    assert (size.min_workers, size.max_workers, size.worker.gpus) == (1, 1, 0)
    assert size.settings() == {"min": 1, "max": 1, "cpus": 2, "gpus": 0}


@pytest.mark.parametrize(("grace_s", "stop_s", "pod_s"), [(60, 60, 90), (0, 0, 30), (12.5, 13, 43)])
def test_pods_outlive_the_grace_of_the_driver(grace_s: float, stop_s: int, pod_s: int) -> None:
    size = size_synthesis(config_of(f"synth.stop_grace_s={grace_s}"), request())
    assert (size.stop_grace_s, size.termination_grace_s) == (stop_s, pod_s)


def test_a_rank_has_a_gpu_or_a_core() -> None:
    config = config_of("train.num_ranks=8")
    assert size_training(config, request()).gpus == 8
    on_cpus = size_training(config, request("dev"))
    assert (on_cpus.gpus, on_cpus.cores) == (0, 8)


def test_resources_are_asked_for_and_limited() -> None:
    with_gpus = size_training(config_of("train.num_ranks=2"), request()).as_resources()
    assert with_gpus["requests"]["nvidia.com/gpu"] == with_gpus["limits"]["nvidia.com/gpu"] == 2
    assert with_gpus["requests"]["memory"] == with_gpus["limits"]["memory"] == "128Gi"
    on_cpus = size_training(config_of(), request("dev")).as_resources()
    assert "nvidia.com/gpu" not in on_cpus["requests"]
    assert on_cpus["limits"]["cpu"] == on_cpus["requests"]["cpu"]
