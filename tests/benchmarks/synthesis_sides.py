"""What the benchmarks of synthesis share: texts, the prompts of a job, the sides to compare."""

import argparse
import asyncio
import contextlib
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

from launch.config import PipelineConfig
from launch.references import find_config
from pipeline.config import load_config
from pipeline.contracts import Document, decode_chain, decode_document
from pipeline.ingest.splitting import split_text
from pipeline.shards import read_lines
from pipeline.stage import read_commits, read_manifest
from synth.config import SynthConfig
from synth.engines.protocol import Engine, Generation, Prompt
from synth.protocols import fit_prompt, load_synthesizer_tokenizer, make_protocol
from synth.quality.checks import PairChecker
from synth.quality.config import ChecksConfig
from synth.tasks import Task, Turn
from tests.benchmarks.bars import Bars, at_least, figure
from tests.benchmarks.corpus import PROMPTED, read_speeches
from train.metrics import read_metrics

SHOTS = 3
BARS = {"ratio_vs_bare_engine": 0.97, "ratio_vs_barrier_rounds": 1.3}
_FROM_LOG = re.compile(r"^(\d\d:\d\d:\d\d\.\d+) \S+/part-\d+ (begun|committed)")


def passages(num_texts: int, shortest: int, longest: int) -> Iterator[str]:
    """Passages of so many characters, as mixed as the documents of a crawl."""
    choice = random.Random(0)
    speeches = read_speeches()
    choice.shuffle(speeches)
    count = 0
    for speech in speeches:
        text = speech
        while len(text) > longest + 200 and count < num_texts:
            size = choice.randint(shortest, longest)
            piece = next(iter(split_text(text[: size + 200], size)))
            text = text[len(piece) :]
            if len(piece) >= 150:
                count += 1
                yield piece.strip()


def write_passages(folder: Path, options: argparse.Namespace) -> None:
    """The texts of a benchmark, as what ingest reads."""
    with (folder / "texts.jsonl").open("w") as file:
        for text in passages(options.texts, *options.chars):
            file.write(json.dumps({"text": text}) + "\n")


def settings(folder: Path, options: argparse.Namespace) -> list[str]:
    """Overrides over the quickstart preset."""
    return [
        f"run.dir={folder / 'run'}",
        f'ingest.sources.sotu.inputs=["{folder / "texts.jsonl"}"]',
        "ingest.sources.sotu.split_chars=0",
        "ingest.sources.sotu.convert_fraction=1.0",
        f"ingest.docs_per_part={options.docs_per_part}",
        "mixture.weights={}",
        *PROMPTED,
        f"synth.shots_per_chain={SHOTS}",
        "synth.attempts=1",
        "synth.temperature=0.0",
        f"synth.engine.max_num_seqs={options.max_num_seqs}",
        "synth.engine.kv_cache_gib=1",
        *([f"synth.engine.cpu_threads={options.cpu_threads}"] if options.cpu_threads else []),
        *(
            f"synth.checks.{name}.enabled=false"
            for name in ChecksConfig.model_fields
            if name != "scorer"
        ),
        *options.overrides,
    ]


def load(folder: Path, options: argparse.Namespace) -> SynthConfig:
    """The synthesis section of that config."""
    return load_config(PipelineConfig, find_config("quickstart"), settings(folder, options)).synth


def figures_of_ipt(folder: Path, started: datetime) -> dict[str, Any]:
    """How a complete synthesis stage went, from its workers' logs, its counts and its metrics."""
    begun: list[str] = []
    committed: list[str] = []
    for log in (folder / "run/logs/ray").glob("worker-*.out"):
        for line in log.read_text().splitlines():
            if found := _FROM_LOG.match(line):
                (begun if found[2] == "begun" else committed).append(found[1])
    first, last = (datetime.strptime(at, "%H:%M:%S.%f") for at in (min(begun), max(committed)))
    counts = read_manifest(str(folder / "run/augmented")).counts
    lines = read_metrics(str(folder / "run/augmented/metrics.jsonl"))
    noted = [(line["elapsed_s"], line.get("output_tokens", 0)) for line in lines]
    samples = [(at_s, after - before) for (_, before), (at_s, after) in pairwise(noted)]
    startup = datetime.combine(started.date(), first.time()) - started
    return {
        "texts": counts["documents"],
        "output_tokens": counts["output_tokens"],
        "requests": counts["requests"],
        "seconds": (last - first).total_seconds(),
        "busy_tokens_per_s": busy_rate(samples),
        "prefix_hit_rate": counts["cached_tokens"] / counts["prompt_tokens"],
        "startup_s": startup.total_seconds(),
    }


def asked_prompts(folder: Path, config: SynthConfig) -> list[tuple[Prompt, Task]]:
    """The prompts that `ipt synth` asked, from what it wrote.

    In an order that a job could ask them in: a prompt holds the replies to its chain's earlier
    ones, so it does not run beside them.
    """
    protocol = make_protocol(config, load_synthesizer_tokenizer(config))
    augmented, chains = folder / "run/augmented", []
    for commit in read_commits(str(augmented)).values():
        lines = read_lines(str(augmented / commit.shard))
        shots = [shot for line in lines for shot in decode_chain(line).shots]
        for start in range(0, len(shots), SHOTS):
            history: list[Turn] = []
            prompts = []
            for shot in shots[start : start + SHOTS]:
                task = protocol.plan(shot.doc_id, shot.text, 0)
                if not task.is_impossible:
                    budget = config.max_model_len - config.max_new_tokens
                    fitted = fit_prompt(protocol, history, shot.text, task, budget)
                    prompts.append((fitted.prompt, task))
                turn = Turn(shot.text, task, shot.pairs)
                history = [*history, turn] if shot.pairs else []
            chains.append(prompts)
    at_once = config.engine.max_num_seqs
    return [
        prompt
        for first in range(0, len(chains), at_once)
        for asked_together in zip_longest(*chains[first : first + at_once])
        for prompt in asked_together
        if prompt is not None
    ]


async def ask_at_once(engine: Engine, prompts: Sequence[tuple[Prompt, Task]]) -> dict[str, Any]:
    """Feed an engine all prompts, in their order."""
    ended: list[tuple[float, int]] = []
    num_cached = 0
    started = time.monotonic()

    async def ask(prompt: Prompt, task: Task) -> None:
        nonlocal num_cached
        reply = await engine.generate(prompt, task.schema())
        num_cached += reply.num_cached_tokens
        ended.append((time.monotonic() - started, reply.num_tokens))

    await asyncio.gather(*(ask(prompt, task) for prompt, task in prompts))
    return {
        "requests": len(prompts),
        "output_tokens": sum(tokens for _, tokens in ended),
        "seconds": ended[-1][0],
        "busy_tokens_per_s": busy_rate(ended),
        "prefix_hit_rate": num_cached / sum(len(prompt) for prompt, _ in prompts),
    }


def busy_rate(ended: list[tuple[float, int]]) -> float:
    """Output tokens a second while there is work for the whole engine.

    Args:
        ended: (time in s, tokens) of each request or sample, in order of time.

    Returns:
        The rate between a tenth and four fifths of all tokens.
    """
    total, done = sum(tokens for _, tokens in ended), 0
    marks = []
    for at_s, tokens in ended:
        done += tokens
        if 0.1 * total <= done <= 0.8 * total:
            marks.append((at_s, done))
    (first_s, first), (last_s, last) = marks[0], marks[-1]
    return (last - first) / (last_s - first_s)


@contextlib.contextmanager
def synchronous_engine(arguments: Any) -> Iterator[Any]:
    """VLLM's `LLM` with what an async engine's arguments say, for the length of a block."""
    import vllm

    llm = vllm.LLM(
        model=arguments.model,
        dtype=arguments.dtype,
        load_format=arguments.load_format,
        max_model_len=arguments.max_model_len,
        max_num_seqs=arguments.max_num_seqs,
        max_num_batched_tokens=arguments.max_num_batched_tokens,
        enforce_eager=arguments.enforce_eager,
        gpu_memory_utilization=arguments.gpu_memory_utilization,
    )
    try:
        yield llm
    finally:
        llm.llm_engine.engine_core.shutdown()  # else its process may keep this one from ending


def ask_in_rounds(
    ask: Callable[[Sequence[tuple[Prompt, Task]]], list[Generation]],
    folder: Path,
    config: SynthConfig,
) -> dict[str, Any]:
    """All first texts of the chains, then all second, and so on."""
    protocol = make_protocol(config, load_synthesizer_tokenizer(config))
    checker = PairChecker(config.checks)
    budget = config.max_model_len - config.max_new_tokens
    documents = [
        document
        for commit in read_commits(str(folder / "run/documents")).values()
        for line in read_lines(str(folder / "run/documents" / commit.shard))
        if (document := decode_document(line)).is_converted
    ]
    chains: list[list[Document]] = [
        documents[start : start + SHOTS] for start in range(0, len(documents), SHOTS)
    ]
    histories: list[list[Turn]] = [[] for _ in chains]
    tokens, num_cached, num_prompt, num_asked = 0, 0, 0, 0
    started = time.monotonic()
    for number in range(SHOTS):
        asked: list[tuple[int, Document, Task]] = []
        prompts: list[tuple[Prompt, Task]] = []
        for chain, group in enumerate(chains):
            if number >= len(group):
                continue
            document = group[number]
            task = protocol.plan(document.id, document.text, 0)
            if task.is_impossible:
                histories[chain] = []
                continue
            fitted = fit_prompt(protocol, histories[chain], document.text, task, budget)
            asked.append((chain, document, task))
            prompts.append((fitted.prompt, task))
        for (chain, document, task), reply in zip(asked, ask(prompts), strict=True):
            tokens += reply.num_tokens
            num_cached += reply.num_cached_tokens
            parsed = protocol.parse(reply.text, task)
            kept = checker.check(document.text, parsed.pairs, task.expectations()).kept
            turn = Turn(document.text, task, tuple(kept))
            histories[chain] = [*histories[chain], turn] if kept else []
        num_asked += len(prompts)
        num_prompt += sum(len(prompt) for prompt, _ in prompts)
    return {
        "texts": len(documents),
        "requests": num_asked,
        "output_tokens": tokens,
        "seconds": time.monotonic() - started,
        "prefix_hit_rate": num_cached / num_prompt,
    }


def run_phase(script: str, name: str, folder: Path, arguments: list[str]) -> dict[str, Any]:
    """One phase in a process of its own, so that nothing of it is left for the next."""
    command = [sys.executable, script, *arguments, "--phase", name, "--folder", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    result: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    print(f"{name}: {result}", flush=True)
    return result


def compare(results: dict[str, dict[str, Any]]) -> Bars:
    """Print all phases side by side, and hold them against the bars."""
    ipt, bare, barrier = results["ipt"], results["bare"], results["barrier"]
    print(f"\n{'':<10}{'seconds':>10}{'output tokens':>15}{'tokens/s':>10}")
    for phase, result in results.items():
        rate = result["output_tokens"] / result["seconds"]
        print(f"{phase:<10}{result['seconds']:>10.1f}{result['output_tokens']:>15,}{rate:>10.1f}")
    texts_per_s, barrier_per_s = (r["texts"] / r["seconds"] for r in (ipt, barrier))
    ipt_rate, bare_rate = (r["output_tokens"] / r["seconds"] for r in (ipt, bare))
    return {
        "ratio_vs_bare_engine": at_least(ipt_rate / bare_rate, BARS["ratio_vs_bare_engine"]),
        "ratio_vs_barrier_rounds": at_least(
            texts_per_s / barrier_per_s, BARS["ratio_vs_barrier_rounds"]
        ),
        "ratio_vs_bare_engine_while_busy": figure(
            ipt["busy_tokens_per_s"] / bare["busy_tokens_per_s"]
        ),
        "prefix_hit_rate": figure(ipt["prefix_hit_rate"]),
        "prefix_hit_rate_bare": figure(bare["prefix_hit_rate"]),
        "prefix_hit_rate_barrier": figure(barrier["prefix_hit_rate"]),
        "startup_s": figure(ipt["startup_s"]),
    }
