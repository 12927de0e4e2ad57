"""How many workers on what, by config and cluster."""

from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.errors import InputError, JobFailedError
from synth.config import SynthConfig
from synth.pool import Pool, await_nodes, plan_pool

GPU_NODE = {"CPU": 16.0, "GPU": 8.0, "accelerator_type:H100": 1.0}
OLD_GPU_NODE = {"CPU": 16.0, "GPU": 2.0, "accelerator_type:T4": 1.0}
CPU_NODE = {"CPU": 4.0, "memory": 1e9}
HEAD = {"memory": 1e9, "node:__internal_head__": 1.0}


def have_nodes(monkeypatch: pytest.MonkeyPatch, *looks: list[dict[str, float]]) -> None:
    """What a cluster shows at one look after the other; the last one stays."""
    import ray

    left = list(looks)

    def nodes() -> list[dict[str, Any]]:
        shown = left.pop(0) if len(left) > 1 else left[0]
        dead = {"Alive": False, "Resources": {"GPU": 100.0, "CPU": 100.0}}
        return [*({"Alive": True, "Resources": node} for node in shown), dead]

    monkeypatch.setattr(ray, "nodes", nodes)


def plan(
    monkeypatch: pytest.MonkeyPatch,
    nodes: list[dict[str, float]],
    documents_per_part: float = 4096,
    **settings: Any,
) -> Pool:
    have_nodes(monkeypatch, nodes)
    config = SynthConfig.model_validate({"model": "m", "protocol": "chat", **settings})
    return plan_pool(config, documents_per_part)


def test_an_engine_for_each_accelerator(monkeypatch) -> None:
    pool = plan(monkeypatch, [GPU_NODE, OLD_GPU_NODE, CPU_NODE])
    assert (pool.min_workers, pool.max_workers, pool.gpus) == (1, 10, 1)


def test_an_engine_for_each_group_of_accelerators(monkeypatch) -> None:
    engine = {"tensor_parallel_size": 2, "pipeline_parallel_size": 2}
    pool = plan(monkeypatch, [GPU_NODE, OLD_GPU_NODE], engine=engine)
    assert (pool.max_workers, pool.gpus) == (2, 4), "two of four fit on the first node, none beside"


def test_two_engines_on_an_accelerator(monkeypatch) -> None:
    pool = plan(monkeypatch, [OLD_GPU_NODE], workers={"gpus": 0.5})
    assert (pool.max_workers, pool.gpus) == (4, 0.5)


def test_only_on_nodes_of_a_kind(monkeypatch) -> None:
    pool = plan(monkeypatch, [GPU_NODE, OLD_GPU_NODE], workers={"accelerator_type": "T4"})
    assert pool.max_workers == 2
    assert pool.ray_options["accelerator_type"] == "T4"


def test_without_accelerators_an_engine_fills_a_node(monkeypatch) -> None:
    assert plan(monkeypatch, [CPU_NODE, CPU_NODE]).max_workers == 2


def test_rules_take_every_core(monkeypatch) -> None:
    pool = plan(monkeypatch, [CPU_NODE, GPU_NODE], protocol="rules")
    assert (pool.max_workers, pool.gpus, pool.parts_in_flight) == (20, 0, 1)


def test_parts_in_flight_fill_the_engine(monkeypatch) -> None:
    small = plan(monkeypatch, [GPU_NODE], documents_per_part=64, shots_per_chain=2)
    assert small.parts_in_flight == 9 + 1, "288 chains at once, 32 of them in a part"
    assert plan(monkeypatch, [GPU_NODE]).parts_in_flight == 1 + 1
    assert plan(monkeypatch, [GPU_NODE], workers={"parts_in_flight": 7}).parts_in_flight == 7


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": {"gpus": 1}}, "no node of the cluster has CPU 1, GPU 1 for a worker"),
        ({"workers": {"cpus": 32}}, "no node of the cluster has CPU 32"),
    ],
)
def test_what_can_never_run_is_refused(monkeypatch, settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan(monkeypatch, [CPU_NODE], **settings)


def test_a_share_of_what_an_engine_takes_is_refused() -> None:
    settings = {"workers": {"gpus": 1}, "engine": {"tensor_parallel_size": 4}}
    with pytest.raises(ValidationError, match=r"workers.gpus \(1\) must be at least 4"):
        SynthConfig.model_validate({"model": "m", "protocol": "chat", **settings})


def test_a_cluster_that_starts_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    have_nodes(monkeypatch, [HEAD], [HEAD], [HEAD, CPU_NODE])
    await_nodes()
    assert capsys.readouterr().out.count("waiting for nodes") == 1
    await_nodes()
    assert capsys.readouterr().out == ""


def test_nodes_that_do_not_come_are_no_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    have_nodes(monkeypatch, [HEAD])
    with pytest.raises(JobFailedError, match="nothing but its head"):
        await_nodes(wait_s=0)


def test_the_pool_grows_with_the_cluster_unless_the_config_says_how_far(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = plan(monkeypatch, [HEAD, GPU_NODE])
    have_nodes(monkeypatch, [HEAD, GPU_NODE, OLD_GPU_NODE])
    assert pool.room is not None
    assert (pool.max_workers, pool.room.num_workers()) == (8, 10)
    assert plan(monkeypatch, [GPU_NODE], workers={"max": 3}).room is None
