"""Does the synthesizer's engine fit: weights, and keys and values of at least one whole prompt?"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from launch.preflight.findings import Check, Finding, ok, problem, shown_bytes, warning
from launch.preflight.memory import cache_bytes_per_token
from launch.preflight.models import bytes_of_weights, locate
from launch.preflight.shapes import Shape, size_by_name
from launch.preflight.subject import GIB, Subject
from launch.preflight.versions import find_gpus
from synth.config import SynthConfig

_LIMIT_S = 60.0
_HALF, _SINGLE = 2, 4
_SHARE = 0.9
"""Of an accelerator's memory, what the engine takes by default."""


def engine_checks(subject: Subject, hub: str) -> Iterator[Check]:
    """The check of the engine's memory, where an engine of ours is to run.

    Args:
        subject: the run.
        hub: why the hub is out of reach; empty if it is not.
    """
    synth = subject.synth
    if synth is not None and synth.protocol != "rules" and synth.engine.kind == "vllm":
        yield Check("engine", lambda: _look(synth, subject.where.gpu_gib, hub), _LIMIT_S)


def _look(config: SynthConfig, gpu_gib: float, hub: str) -> Iterator[Finding]:
    gpus = find_gpus()
    gpu_bytes = round(gpu_gib * GIB) or min((mib for _, mib in gpus), default=0) * 2**20
    folder = locate(config.model, config.revision, hub).folder
    if folder is None:
        number = size_by_name(config.model)
        known = f"; by its name, {shown_bytes(_HALF * number)} in 16 bits" if number else ""
        yield ok("engine", f"{config.model} is looked at once it is here{known}")
        return
    from transformers import AutoConfig

    hf_config = AutoConfig.from_pretrained(folder, trust_remote_code=config.trust_remote_code)
    shape = Shape.of(hf_config)
    width, num_bytes = _weights(config, folder, hf_config)
    of_token = cache_bytes_per_token(shape, width)
    if gpu_bytes:
        share = config.engine.gpu_memory_utilization
        share = share or _SHARE * min(1.0, config.workers.gpus or 1.0)
        room = gpu_bytes * share * config.engine.num_accelerators - num_bytes
        remedy = (
            "lower synth.max_model_len, raise synth.engine.tensor_parallel_size, or use GPUs with "
            "more memory"
        )
    else:
        room = config.engine.kv_cache_gib * GIB
        remedy = "raise synth.engine.kv_cache_gib, or lower synth.max_model_len"
    found = (
        f"weights {shown_bytes(num_bytes)}; {shown_bytes(max(0, room))} for keys and values hold "
        f"{max(0.0, room) / (of_token * config.max_model_len):,.1f} texts of synth.max_model_len "
        f"({config.max_model_len}) at {shown_bytes(of_token)} a token"
    )
    if room < of_token * config.max_model_len:
        yield problem("engine", found, remedy)
        return
    yield ok("engine", found)
    if not gpu_bytes:
        yield _in_host_memory(num_bytes + room)


def _in_host_memory(needed: float) -> Finding:
    memory = psutil.virtual_memory()
    found = (
        f"on a CPU an engine takes {shown_bytes(needed)} and more; "
        f"{shown_bytes(memory.available)} of {shown_bytes(memory.total)} are free here"
    )
    if needed > memory.available:
        state = problem if needed > memory.total else warning
        return state("engine", found, "lower synth.engine.kv_cache_gib, or free memory")
    return ok("engine", found)


def _weights(config: SynthConfig, folder: Path, hf_config: Any) -> tuple[int, int]:
    """Bytes of an element and of all weights, in the type that the engine computes in."""
    from synth.engines.vllm_engine import choose_dtype

    stored = str(getattr(hf_config, "dtype", None) or "float32").removeprefix("torch.")
    chosen = choose_dtype(config.engine.dtype)
    if chosen == "auto":  # vLLM halves what is stored in fp32
        chosen = "bfloat16" if stored == "float32" else stored
    stored_width = _SINGLE if stored == "float32" else _HALF
    width = _SINGLE if chosen == "float32" else _HALF
    return width, bytes_of_weights(folder) * width // stored_width
