"""Inference engines behind one small protocol."""

import asyncio
import functools
import hashlib
import json
import os
import random
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.contracts import Pair
from pipeline.pretrained import resolve_model
from synth.config import EngineConfig, SynthConfig
from synth.wire import format_pairs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Generation:
    """What an engine wrote: new token ids, and whether it stopped by itself."""

    token_ids: list[int]
    is_finished: bool


class Engine(Protocol):
    """Turns prompts into continuations, many at a time."""

    dtype: str
    """Type that weights and activations have on this hardware; empty if there are none."""

    async def generate(
        self, token_ids: list[int], schema: dict[str, Any] | None = None
    ) -> Generation:
        """Continue one prompt, with the sampling of the stage's config.

        Args:
            token_ids: the prompt.
            schema: JSON schema that the continuation has to follow; None: any text.
        """
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
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams
        from vllm.v1.engine.async_llm import AsyncLLM

        options: dict[str, Any] = {}
        if torch.cuda.is_available():
            options["gpu_memory_utilization"] = config.engine.gpu_memory_utilization
        self._engine = AsyncLLM.from_engine_args(
            AsyncEngineArgs(
                model=resolve_model(config.model),
                revision=config.revision or None,
                dtype=choose_dtype(config.engine.dtype),
                max_model_len=config.max_model_len,
                max_num_seqs=config.engine.max_num_seqs,
                enforce_eager=config.engine.enforce_eager or not torch.cuda.is_available(),
                enable_prefix_caching=True,
                disable_log_stats=True,
                trust_remote_code=config.trust_remote_code,
                **options,
            )
        )
        self.dtype = str(self._engine.model_config.dtype).removeprefix("torch.")
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

    async def generate(
        self, token_ids: list[int], schema: dict[str, Any] | None = None
    ) -> Generation:
        """Continue one prompt; a schema is compiled to a grammar that masks each step's tokens."""
        constraint = None if schema is None else self._constraint(json=schema)
        request = self._engine.generate(
            {"prompt_token_ids": token_ids},
            self._sampling(structured_outputs=constraint),
            request_id=uuid.uuid4().hex,
        )
        async for output in request:
            final = output.outputs[0]
        return Generation(list(final.token_ids), final.finish_reason == "stop")

    def shutdown(self) -> None:
        """End the engine's process."""
        self._engine.shutdown()


class FakeEngine:
    """Writes pairs about words of the prompt; the same prompt gets the same reply. For drills."""

    def __init__(self, config: SynthConfig, tokenizer: "PreTrainedTokenizerBase") -> None:
        """Reply in the wire format, or as a schema demands."""
        self.dtype = ""
        self._tokenizer = tokenizer
        self._delay_s = config.engine.fake_delay_s

    async def generate(
        self, token_ids: list[int], schema: dict[str, Any] | None = None
    ) -> Generation:
        """Pick words of the last text of the prompt; about one reply in twenty holds no pair."""
        await asyncio.sleep(self._delay_s)
        prompt = self._tokenizer.decode(token_ids)
        seed = hashlib.blake2b(prompt.encode(), digest_size=8).digest()
        choice = random.Random(seed)
        words = re.findall(r"[A-Za-z]{4,}", prompt[-1000:]) or ["nothing"]
        if schema is not None:
            reply = json.dumps(_fill(schema, choice, words))
        else:
            num_pairs = choice.choice([0, *[1, 2, 3, 4] * 5])
            picked = [choice.choice(words) for _ in range(num_pairs)]
            reply = format_pairs(
                [Pair(f"Does the text speak of {word.lower()}?", word) for word in picked]
            )
        ids = self._tokenizer(reply, add_special_tokens=False)["input_ids"]
        return Generation(list(ids), is_finished=True)

    def shutdown(self) -> None:
        """Nothing to release."""


def _fill(schema: dict[str, Any], choice: random.Random, words: list[str]) -> Any:
    """An instance of a JSON schema of `synth.styles.reply`, its strings made of `words`."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return choice.choice(schema["enum"])
    if schema["type"] == "object":
        return {name: _fill(part, choice, words) for name, part in schema["properties"].items()}
    if schema["type"] == "array":
        items = schema.get("prefixItems") or [schema["items"]] * schema["maxItems"]
        return [_fill(item, choice, words) for item in items]
    return " ".join(choice.choices(words, k=4)) + "?"


def make_engine(config: SynthConfig, tokenizer: "PreTrainedTokenizerBase") -> Engine:
    """The engine that a config names."""
    if config.engine.kind == "fake":
        return FakeEngine(config, tokenizer)
    return VllmEngine(config)


def choose_dtype(wanted: str) -> str:
    """The `dtype` for vLLM: what is wanted, where that is `auto` by what the hardware does fast."""
    import torch

    if wanted != "auto" or torch.cuda.is_available():
        return wanted
    is_slow_in_bfloat16 = torch.backends.cpu.get_cpu_capability() == "AVX2"
    return "float32" if is_slow_in_bfloat16 else wanted


def _set_vllm_environment(config: EngineConfig) -> None:
    os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(config.kv_cache_gib)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    # It keeps one core free by default, which on a laptop is half of them.
    os.environ.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")
    # One thread a core is vLLM's own choice; Ray's default of one thread in all would halve it.
    os.environ.pop("OMP_NUM_THREADS", None)
