"""Inference engines behind one small protocol."""

import asyncio
import hashlib
import os
import random
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.contracts import Pair
from pipeline.pretrained import resolve_model
from synth.config import EngineConfig, SynthConfig
from synth.protocols import WireProtocol

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Generation:
    """What an engine wrote: new token ids, and whether it stopped by itself."""

    token_ids: list[int]
    is_finished: bool


class Engine(Protocol):
    """Turns prompts into continuations, many at a time."""

    async def generate(self, token_ids: list[int]) -> Generation:
        """Continue one prompt, with the sampling of the stage's config."""
        ...

    def shutdown(self) -> None:
        """Release the accelerator and end all processes of the engine."""
        ...


class VllmEngine:
    """vLLM's in-process async engine."""

    def __init__(self, config: SynthConfig) -> None:
        """Load the model; takes half a minute and more."""
        _set_vllm_environment(config.engine)
        import torch
        from vllm import SamplingParams
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.async_llm import AsyncLLM

        options: dict[str, Any] = {}
        if torch.cuda.is_available():
            options["gpu_memory_utilization"] = config.engine.gpu_memory_utilization
        self._engine = AsyncLLM.from_engine_args(
            AsyncEngineArgs(
                model=resolve_model(config.model),
                revision=config.revision or None,
                dtype=config.engine.dtype,
                max_model_len=config.max_model_len,
                max_num_seqs=config.engine.max_num_seqs,
                enforce_eager=config.engine.enforce_eager or not torch.cuda.is_available(),
                enable_prefix_caching=True,
                disable_log_stats=True,
                trust_remote_code=config.trust_remote_code,
                **options,
            )
        )
        # No per-request seed: it ends the CPU engine, and batching varies the output all the same.
        self._sampling = SamplingParams(
            max_tokens=config.max_new_tokens,
            temperature=config.temperature,
            top_p=config.top_p,
            repetition_penalty=config.repetition_penalty,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    async def generate(self, token_ids: list[int]) -> Generation:
        """Continue one prompt."""
        request = self._engine.generate(
            {"prompt_token_ids": token_ids}, self._sampling, request_id=uuid.uuid4().hex
        )
        async for output in request:
            final = output.outputs[0]
        return Generation(list(final.token_ids), final.finish_reason == "stop")

    def shutdown(self) -> None:
        """End the engine's process."""
        self._engine.shutdown()


class FakeEngine:
    """Writes pairs about words of the prompt; the same prompt gets the same reply. For drills."""

    def __init__(
        self, config: SynthConfig, tokenizer: "PreTrainedTokenizerBase", protocol: WireProtocol
    ) -> None:
        """Reply in the form that `protocol` understands."""
        self._tokenizer, self._protocol = tokenizer, protocol
        self._delay_s = config.engine.fake_delay_s

    async def generate(self, token_ids: list[int]) -> Generation:
        """Pick words of the last text of the prompt; about one reply in twenty holds no pair."""
        await asyncio.sleep(self._delay_s)
        prompt = self._tokenizer.decode(token_ids)
        seed = hashlib.blake2b(prompt.encode(), digest_size=8).digest()
        choice = random.Random(seed)
        words = re.findall(r"[A-Za-z]{4,}", prompt[-1000:]) or ["nothing"]
        num_pairs = choice.choice([0, *[1, 2, 3, 4] * 5])
        picked = [choice.choice(words) for _ in range(num_pairs)]
        pairs = [Pair(f"Does the text speak of {word.lower()}?", word) for word in picked]
        reply = self._protocol.format_pairs(pairs)
        ids = self._tokenizer(reply, add_special_tokens=False)["input_ids"]
        return Generation(list(ids), is_finished=True)

    def shutdown(self) -> None:
        """Nothing to release."""


def make_engine(
    config: SynthConfig, tokenizer: "PreTrainedTokenizerBase", protocol: WireProtocol
) -> Engine:
    """The engine that a config names."""
    if config.engine.kind == "fake":
        return FakeEngine(config, tokenizer, protocol)
    return VllmEngine(config)


def _set_vllm_environment(config: EngineConfig) -> None:
    os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(config.kv_cache_gib)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    # It keeps one core free by default, which on a laptop is half of them.
    os.environ.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")
    # One thread a core is vLLM's own choice; Ray's default of one thread in all would halve it.
    os.environ.pop("OMP_NUM_THREADS", None)
