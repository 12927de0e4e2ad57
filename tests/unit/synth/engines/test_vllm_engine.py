"""What an engine is asked for by the hardware it finds."""

import os

import pytest
import torch

from synth.config import EngineConfig
from synth.engines.vllm_engine import choose_dtype, set_vllm_environment


@pytest.mark.parametrize(
    ("has_gpu", "capability", "wanted", "chosen"),
    [
        (False, "AVX2", "auto", "float32"),
        (False, "AVX512", "auto", "auto"),
        (True, "AVX2", "auto", "auto"),
        (False, "AVX2", "bfloat16", "bfloat16"),
    ],
)
def test_dtype_follows_the_hardware_unless_it_is_given(
    monkeypatch: pytest.MonkeyPatch, *, has_gpu: bool, capability: str, wanted: str, chosen: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert choose_dtype(wanted) == chosen


@pytest.mark.parametrize(
    ("cores", "cpu_threads", "expected"),
    [
        (2, None, {"VLLM_CPU_NUM_OF_RESERVED_CPU": "0", "GOMP_SPINCOUNT": "10000"}),
        (64, None, {}),
        (2, 1, {"OMP_NUM_THREADS": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}),
        (64, 48, {"OMP_NUM_THREADS": "48", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}),
    ],
)
def test_cpu_engine_takes_all_of_few_cores_or_the_threads_it_is_given(
    monkeypatch: pytest.MonkeyPatch, cores: int, cpu_threads: int | None, expected: dict[str, str]
) -> None:
    environment = {"OMP_NUM_THREADS": "1"}  # as Ray sets it
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    set_vllm_environment(EngineConfig(cpu_threads=cpu_threads))
    decided = (
        "OMP_NUM_THREADS",
        "GOMP_SPINCOUNT",
        "VLLM_CPU_NUM_OF_RESERVED_CPU",
        "VLLM_ENABLE_V1_MULTIPROCESSING",
    )
    assert {name: environment[name] for name in decided if name in environment} == expected


def test_threads_are_not_shared_out_among_the_processes_of_an_engine() -> None:
    with pytest.raises(ValueError, match="VLLM_CPU_OMP_THREADS_BIND"):
        EngineConfig(cpu_threads=4, tensor_parallel_size=2)
