"""vLLM's in-process async engine."""

import functools
import os
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pipeline.pretrained import resolve_model
from synth.config import EngineConfig, SynthConfig
from synth.engines.protocol import (
    EngineDiedError,
    EngineLimits,
    Generation,
    Prompt,
    RequestFailedError,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


_FEW_CORES = 4


class VllmEngine:
    """vLLM's in-process async engine; the model itself runs in processes of vLLM's own."""

    def __init__(self, config: SynthConfig, tokenizer: "PreTrainedTokenizerBase") -> None:
        """Load the model; takes half a minute and more."""
        set_vllm_environment(config.engine)
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams
        from vllm.v1.engine.async_llm import AsyncLLM
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        self._death, self._failure = EngineDeadError, EngineGenerateError
        self.last_sign_of_life_s = time.monotonic()
        self._tokenizer = tokenizer
        self._engine = AsyncLLM.from_engine_args(
            engine_arguments(config), stat_loggers=[self._make_pulse()]
        )
        self.dtype = str(self._engine.model_config.dtype).removeprefix("torch.")
        cache = self._engine.vllm_config.cache_config
        self.limits = EngineLimits(config.engine.max_num_seqs, cache.kv_cache_size_tokens)
        # No per-request seed: it ends the CPU engine, and batching varies the output all the same.
        self._sampling = functools.partial(
            SamplingParams,
            max_tokens=config.max_new_tokens,
            temperature=config.temperature,
            top_p=config.top_p,
            repetition_penalty=config.repetition_penalty,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        self._constraint = functools.partial(StructuredOutputsParams, disable_any_whitespace=True)

    async def generate(self, prompt: Prompt, schema: dict[str, Any] | None = None) -> Generation:
        """Continue one prompt; a schema is compiled to a grammar that masks each step's tokens."""
        constraint = None if schema is None else self._constraint(json=schema)
        request = self._engine.generate(
            {"prompt_token_ids": prompt.token_ids},
            self._sampling(structured_outputs=constraint),
            request_id=uuid.uuid4().hex,
        )
        try:
            async for output in request:
                final = output
        except self._death:
            raise EngineDiedError("vLLM's engine process ended; see the worker's log") from None
        except (self._failure, ValueError) as error:
            raise RequestFailedError(f"vLLM refuses the request: {error}") from error
        ids = final.outputs[0].token_ids
        text = str(self._tokenizer.decode(ids, skip_special_tokens=True))
        return Generation(text, len(ids), final.num_cached_tokens or 0)

    def shutdown(self) -> None:
        """End the engine's processes."""
        self._engine.shutdown()

    def _make_pulse(self) -> Callable[..., Any]:
        """What vLLM calls after each step of its scheduler: the sign of life."""
        from vllm.v1.metrics.loggers import StatLoggerBase

        engine = self

        class _Pulse(StatLoggerBase):  # type: ignore[misc]
            def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
                del vllm_config, engine_index

            def record(self, *args: Any, **kwargs: Any) -> None:
                engine.last_sign_of_life_s = time.monotonic()

            def log_engine_initialized(self) -> None:
                pass

        return _Pulse


def engine_arguments(config: SynthConfig) -> Any:
    """VLLM's `AsyncEngineArgs` for a synthesizer, on the hardware of this machine."""
    import torch
    from vllm.engine.arg_utils import AsyncEngineArgs

    engine = config.engine
    options: dict[str, Any] = {}
    if torch.cuda.is_available():
        share = min(1.0, config.workers.gpus or 1.0)
        options["gpu_memory_utilization"] = engine.gpu_memory_utilization or 0.9 * share
    if engine.speculative_tokens:
        options["speculative_config"] = {
            "method": "ngram",
            "num_speculative_tokens": engine.speculative_tokens,
            "prompt_lookup_min": 2,
            "prompt_lookup_max": 4,
        }
    if engine.num_accelerators > 1:
        options["distributed_executor_backend"] = "mp"
    return AsyncEngineArgs(
        model=resolve_model(config.model),
        revision=config.revision or None,
        dtype=choose_dtype(engine.dtype),
        max_model_len=config.max_model_len,
        max_num_seqs=engine.max_num_seqs,
        tensor_parallel_size=engine.tensor_parallel_size,
        pipeline_parallel_size=engine.pipeline_parallel_size,
        enforce_eager=engine.enforce_eager or not torch.cuda.is_available(),
        enable_prefix_caching=True,
        disable_log_stats=True,
        trust_remote_code=config.trust_remote_code,
        **options,
    )


def choose_dtype(wanted: str) -> str:
    """The `dtype` for vLLM: what is wanted, where that is `auto` by what the hardware does fast."""
    import torch

    if wanted != "auto" or torch.cuda.is_available():
        return wanted
    is_slow_in_bfloat16 = torch.backends.cpu.get_cpu_capability() == "AVX2"
    return "float32" if is_slow_in_bfloat16 else wanted


def set_vllm_environment(config: EngineConfig) -> None:
    """Set what vLLM reads from the environment, before it is imported."""
    os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(config.kv_cache_gib)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    _set_cpu_threads(config.cpu_threads)
    # A fork would carry this process's threads along; and only what is executed anew can be found
    # by the mark in its environment (pipeline.process.ProcessFamily).
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"


def _set_cpu_threads(wanted: int | None) -> None:
    # Ray's default of one thread in all would halve an engine on two cores.
    os.environ.pop("OMP_NUM_THREADS", None)
    if wanted is not None:
        os.environ["OMP_NUM_THREADS"] = str(wanted)
        # The scheduler of vLLM waits for the model's process by spinning, which takes a core that
        # was to be left free; so one process does both: beside Ray 7% faster on two cores.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    elif (os.cpu_count() or 1) <= _FEW_CORES:
        # It keeps one core free by default, which here is half of them or a quarter.
        os.environ.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")
        # Then a thread that waits for the others had better not spin on its core for long: 6%
        # faster on two cores.
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
