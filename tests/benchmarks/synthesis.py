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
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from synth.engines.protocol import Generation, Prompt
from synth.engines.vllm_engine import VllmEngine, engine_arguments
from synth.protocols import load_synthesizer_tokenizer
from synth.tasks import Task
from tests.benchmarks.bars import conclude, figure
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

# --- ipt -------------------------------------------------------------------------------------


def run_ipt_synth(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Ingest and synthesize with the real command line."""
    ipt = str(Path(sys.executable).with_name("ipt"))
    arguments = ["quickstart", *settings(folder, options)]
    subprocess.run([ipt, "ingest", *arguments], check=True)
    started = datetime.now()
    subprocess.run([ipt, "synth", *arguments], check=True)
    return figures_of_ipt(folder, started)


# --- bare ------------------------------------------------------------------------------------


def run_bare(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All prompts at once into vLLM's async engine."""
    config = load(folder, options)
    prompts = asked_prompts(folder, config)
    engine = VllmEngine(config, load_synthesizer_tokenizer(config))
    result = asyncio.run(ask_at_once(engine, prompts))
    engine.shutdown()
    return result


def run_ngram(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The same with tokens guessed ahead from the prompt's n-grams."""
    options.overrides.append("synth.engine.speculative_tokens=4")
    return run_bare(folder, options)


# --- barrier ---------------------------------------------------------------------------------


def run_barrier(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Round by round through the synchronous engine, parsing and checks between rounds."""
    import torch

    from synth.engines.vllm_engine import set_vllm_environment

    config = load(folder, options)
    set_vllm_environment(config.engine)
    if config.engine.cpu_threads:  # the model may run in this process, whose OpenMP began before
        torch.set_num_threads(config.engine.cpu_threads)
    from vllm import LLM, SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    def sampling(task: Task) -> SamplingParams:
        return SamplingParams(
            max_tokens=config.max_new_tokens,
            temperature=config.temperature,
            top_p=config.top_p,
            structured_outputs=StructuredOutputsParams(
                json=task.schema(), disable_any_whitespace=True
            ),
        )

    def ask(llm: LLM, prompts: Sequence[tuple[Prompt, Task]]) -> list[Generation]:
        outputs = llm.generate(
            [{"prompt_token_ids": prompt.token_ids} for prompt, _ in prompts],
            [sampling(task) for _, task in prompts],
            use_tqdm=False,
        )
        return [
            Generation(reply.text, len(reply.token_ids), output.num_cached_tokens or 0)
            for output in outputs
            for reply in output.outputs
        ]

    with synchronous_engine(engine_arguments(config)) as llm:
        return ask_in_rounds(functools.partial(ask, llm), folder, config)


PHASES = {"ipt": run_ipt_synth, "bare": run_bare, "barrier": run_barrier, "ngram": run_ngram}


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
        write_passages(folder, options)
        phases = [phase for phase in PHASES if phase != "ngram" or options.ngram]
        results = {phase: run_phase(__file__, phase, folder, sys.argv[1:]) for phase in phases}
    bars = compare(results)
    if options.ngram:
        seconds = [results[phase]["seconds"] for phase in ("bare", "ngram")]
        bars["ngram_vs_bare_engine"] = figure(seconds[0] / seconds[1])
    return conclude("synthesis", bars)


if __name__ == "__main__":
    sys.exit(main())
