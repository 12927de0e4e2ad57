"""What an engine is asked for by the hardware it finds."""

import pytest
import torch

from synth.engines.vllm_engine import choose_dtype


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
