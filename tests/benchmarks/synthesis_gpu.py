"""`ipt synth` on one GPU, at a 7B shape: `python tests/benchmarks/synthesis_gpu.py`.

What `tests/benchmarks/synthesis.py` measures, on the shape of Mistral 7B with random weights, so
that neither a model hub nor a trained model is needed. The same passages three times:

    ipt      `ipt synth`, Ray and all, chains of three texts in the tuned wire format
    bare     the same engine, fed exactly the prompts that `ipt synth` asked, all at once
    barrier  `LLM.generate` on all first texts, then all second, then all third

Random weights write nothing that could be read as pairs. So a script says, by a hash of the
passage, how many tokens the reply to it has (50 to 400, half of them at most 150) and what these
read as: one question and its answer. The engine generates exactly so many tokens, end of text or
not; the script's take their place where vLLM hands them over, and travel on as few-shot examples.
Everything else is real. All sides must have had as many requests and written as many tokens, else
the benchmark fails.

Engine starts are left out. Each side has vLLM's own defaults for its class, as a user of it would:
an async engine takes fewer tokens into a step than `LLM` does, which `--step-tokens` makes equal.
With `--folder` results stay there, and a later start goes on with the phases that are missing.
Ends in one JSON line; exit code 1 if a bar is missed.
"""

import argparse
import asyncio
import functools
import hashlib
import json
import math
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from launch import cli
from pipeline.contracts import Pair
from pipeline.pretrained import load_tokenizer
from synth import actors, wire
from synth.config import SynthConfig
from synth.engines import vllm_engine
from synth.engines.protocol import Engine, Generation, Prompt
from synth.protocols import load_synthesizer_tokenizer
from synth.tasks import Task
from synth.worker import SynthWorker
from synth.writing import PairWriter
from tests.benchmarks.bars import conclude, figure
from tests.benchmarks.corpus import TOKENIZER
from tests.benchmarks.synthesis_sides import (
    ask_at_once,
    ask_in_rounds,
    asked_prompts,
    compare,
    figures_of_ipt,
    load,
    run_phase,
    settings,
    synchronous_engine,
    write_passages,
)

# Mistral 7B but for the vocabulary, which is the tokenizer's.
SHAPE = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 32768,
}
_MEDIAN_TOKENS, _SPREAD, _FEWEST_TOKENS = 150, 0.6, 50  # log-normal, at most max_new_tokens
_ANSWER_WORDS = " the people of these states have made good use of a year of peace and plenty"


class ScriptedReplies:
    """What stands in for what a trained synthesizer would write."""

    def __init__(self, config: SynthConfig) -> None:
        """Prepare for a tokenizer and for the longest reply of a config."""
        tokenizer = load_synthesizer_tokenizer(config)
        self._bos, self._most = tokenizer.bos_token_id, config.max_new_tokens
        self._encode = functools.partial(tokenizer.encode, add_special_tokens=False)
        self._words = self._encode(_ANSWER_WORDS * self._most)

    def reply_to(self, prompt_ids: list[int]) -> list[int]:
        """Token ids of the reply, by the prompt's last passage."""
        start = len(prompt_ids) - 1 - prompt_ids[::-1].index(self._bos)
        passage = ",".join(map(str, prompt_ids[start:]))
        key = hashlib.blake2b(passage.encode(), digest_size=8).hexdigest()
        drawn = random.Random(key).lognormvariate(math.log(_MEDIAN_TOKENS), _SPREAD)
        length = min(max(int(drawn), _FEWEST_TOKENS), self._most)
        pair = Pair(f"What is said in {key}?", "...")
        before, _, after = wire.format_pairs([pair]).partition(" ...")
        question, end = self._encode(before), self._encode(after)
        return [*question, *self._words[: length - len(question) - len(end)], *end]


class ScriptedAsyncEngine:
    """VLLM's `AsyncLLM` with scripted lengths and texts of its replies."""

    def __init__(self, engine: Any, replies: ScriptedReplies) -> None:
        """Stand before an engine."""
        self._engine, self._replies = engine, replies

    async def generate(self, prompt: Any, sampling: Any, request_id: str) -> AsyncIterator[Any]:
        """As the engine's own."""
        reply = self._replies.reply_to(prompt["prompt_token_ids"])
        sampling.max_tokens, sampling.ignore_eos = len(reply), True
        async for output in self._engine.generate(prompt, sampling, request_id):
            assert len(output.outputs[0].token_ids) == len(reply)
            output.outputs[0].token_ids = reply
            yield output

    def shutdown(self) -> None:
        """End the engine."""
        self._engine.shutdown()


class ScriptedVllmEngine(vllm_engine.VllmEngine):
    """The engine of `ipt synth` with random weights and scripted replies."""

    def __init__(self, config: SynthConfig, tokenizer: Any) -> None:
        """Start it."""
        super().__init__(config, tokenizer)
        self._engine = ScriptedAsyncEngine(self._engine, ScriptedReplies(config))


class ScriptedWorker(SynthWorker):
    """A worker on that engine."""

    step_tokens: int | None = None

    def _make_writer(self) -> PairWriter:
        use_random_weights(self.step_tokens)
        vllm_engine.VllmEngine = ScriptedVllmEngine  # type: ignore[misc]
        return super()._make_writer()


def use_random_weights(step_tokens: int | None) -> None:
    """Have engines start without weights, and take so many tokens into a step."""
    arguments_of = vllm_engine.engine_arguments

    def arguments(config: SynthConfig) -> Any:
        found = arguments_of(config)
        found.load_format = "dummy"
        found.max_num_batched_tokens = step_tokens
        return found

    vllm_engine.engine_arguments = arguments


def save_shape(folder: Path, options: argparse.Namespace) -> None:
    """A model folder with everything but weights."""
    from transformers import MistralConfig

    tokenizer = load_tokenizer(options.tokenizer)
    tokenizer.save_pretrained(folder)
    MistralConfig(
        **SHAPE | dict(options.shape),
        architectures=["MistralForCausalLM"],
        vocab_size=len(tokenizer),
        sliding_window=None,
        dtype="bfloat16",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    ).save_pretrained(folder)


def run_ipt_synth(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Ingest, then the command line's synthesis with workers of ours."""
    arguments = ["quickstart", *settings(folder, options)]
    cli.app(["ingest", *arguments], standalone_mode=False)
    ScriptedWorker.step_tokens = options.step_tokens
    actors.SynthWorker = ScriptedWorker  # type: ignore[attr-defined]
    started = datetime.now()
    cli.app(["synth", *arguments], standalone_mode=False)
    return figures_of_ipt(folder, started)


def run_bare(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All prompts at once into vLLM's async engine."""
    config = load(folder, options)
    prompts = asked_prompts(folder, config)
    use_random_weights(options.step_tokens)
    engine: Engine = ScriptedVllmEngine(config, load_synthesizer_tokenizer(config))
    result = asyncio.run(ask_at_once(engine, prompts))
    engine.shutdown()
    return result


def run_barrier(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Round by round through the synchronous engine."""
    config = load(folder, options)
    vllm_engine.set_vllm_environment(config.engine)
    from vllm import LLM, SamplingParams

    use_random_weights(options.step_tokens)
    tokenizer, replies = load_synthesizer_tokenizer(config), ScriptedReplies(config)

    def ask(llm: LLM, prompts: Sequence[tuple[Prompt, Task]]) -> list[Generation]:
        scripted = [replies.reply_to(prompt.token_ids) for prompt, _ in prompts]
        outputs = llm.generate(
            [{"prompt_token_ids": prompt.token_ids} for prompt, _ in prompts],
            [
                SamplingParams(max_tokens=len(reply), ignore_eos=True, temperature=0.0)
                for reply in scripted
            ],
            use_tqdm=False,
        )
        lengths = [len(output.outputs[0].token_ids) for output in outputs]
        assert lengths == [len(reply) for reply in scripted]
        return [
            Generation(str(tokenizer.decode(reply)), len(reply), output.num_cached_tokens or 0)
            for reply, output in zip(scripted, outputs, strict=True)
        ]

    with synchronous_engine(vllm_engine.engine_arguments(config)) as llm:
        return ask_in_rounds(functools.partial(ask, llm), folder, config)


Phase = Callable[[Path, argparse.Namespace], dict[str, Any]]
PHASES: dict[str, Phase] = {"ipt": run_ipt_synth, "bare": run_bare, "barrier": run_barrier}


def parse_options() -> argparse.Namespace:
    """The command line."""

    def of_shape(text: str) -> tuple[str, int]:
        name, _, value = text.partition("=")
        return name, int(value)

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=int, default=3000)
    parser.add_argument(
        "--chars", type=int, nargs=2, default=(400, 4000), help="lengths of the texts"
    )
    parser.add_argument("--docs-per-part", type=int, default=96)
    parser.add_argument("--max-num-seqs", type=int, default=256)
    parser.add_argument("--step-tokens", type=int, help="of a step; vLLM's choice if not said")
    parser.add_argument("--tokenizer", default=TOKENIZER, help="any with BOS and EOS")
    parser.add_argument(
        "--shape", type=of_shape, nargs="*", default=[], help="NAME=N over Mistral 7B's, for a try"
    )
    parser.add_argument("--phases", nargs="*", choices=PHASES, default=list(PHASES))
    parser.add_argument("--folder", type=Path, help="for results that stay")
    parser.add_argument("--phase", choices=PHASES, help=argparse.SUPPRESS)
    parser.add_argument("--overrides", nargs="*", default=[], help="section.key=value")
    return parser.parse_args()


def main() -> int:
    """Run the phases whose results are missing, and compare when all are there."""
    options = parse_options()
    with tempfile.TemporaryDirectory(prefix="ipt-benchmark-") as name:
        folder = (options.folder or Path(name)).resolve()
        options.cpu_threads = 0
        options.overrides = [
            "synth.protocol=tuned",
            "synth.max_new_tokens=400",
            f"synth.model={folder / 'model'}",
            *options.overrides,
        ]
        if options.phase:
            result = PHASES[options.phase](folder, options)
            (folder / f"{options.phase}.json").write_text(json.dumps(result))
            return 0
        if not (folder / "model").is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            write_passages(folder, options)
            save_shape(folder / "model", options)
        for phase in options.phases:
            if not (folder / f"{phase}.json").is_file():
                run_phase(__file__, phase, folder, sys.argv[1:])
        results = {
            phase: json.loads((folder / f"{phase}.json").read_text())
            for phase in PHASES
            if (folder / f"{phase}.json").is_file()
        }
    if missing := PHASES.keys() - results.keys():
        print(f"not measured yet: {', '.join(sorted(missing))}")
        return 1
    work = {(result["requests"], result["output_tokens"]) for result in results.values()}
    if len(work) > 1:
        raise SystemExit(f"requests and output tokens must be the same on all sides: {work}")
    ipt = results["ipt"]
    texts_per_s = {"texts_per_s": figure(ipt["texts"] / ipt["seconds"])}
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return conclude("synthesis_gpu", compare(results) | texts_per_s, accelerator=gpu)


if __name__ == "__main__":
    sys.exit(main())
