"""What each protocol's pairs are worth: `python tests/benchmarks/pairs.py`.

Takes the same 500 passages of the State of the Union speeches through `ipt ingest`, `synth` and
`filter`, prompting a model of 135M parameters (`chat`) or mining by rules, and measures the pairs
before the checks (all that could be read) and after the filters. `plain` is the usual way: the
model asked once in the same words, without constrained decoding; `once` is `chat` with one attempt,
so that what constraint and repetition each bring can be told apart. Then: throughput of rule mining
and of rendering on one core. What the tuned synthesizer is worth: `synthesizer.py`. Ends in one
JSON line; exit code 1 if a bar is missed.
"""

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.summary import counts_below
from pipeline.contracts import Chain, Pair, decode_chain
from pipeline.ingest.splitting import split_text
from pipeline.shards import read_lines
from pipeline.stage import read_manifest
from synth.quality.collapse import CorpusMetrics
from synth.rules.config import RulesConfig
from synth.rules.mining import mine_pairs
from synth.templates.render import render_chain
from tests.benchmarks.bars import at_least, conclude, figure
from tests.benchmarks.corpus import PROMPTED, read_speeches

PASSAGE_CHARS, MIN_PASSAGE_CHARS = 700, 200
_ONCE = "synth.attempts=1"
PROTOCOLS = {
    "chat": PROMPTED,
    "once": [*PROMPTED, _ONCE],
    "plain": [*PROMPTED, "synth.constrained=false", _ONCE],
    "rules": ["synth.protocol=rules", _ONCE],
}
BARS = {
    "chat_texts_with_pair": 0.90,
    "chat_unique_questions": 1.0,
    "chat_grounded": 0.80,
    "rules_mb_per_s": 3.0,
}
COLUMNS = {
    "texts with pair": lambda m: m["documents_with_pair"] / m["documents"],
    "pairs": lambda m: m["pairs"],
    "unique": lambda m: m["unique_question_share"],
    "grounded": lambda m: m["grounded_share"],
    "categories": lambda m: m["num_categories"],
    "distinct-2": lambda m: m["distinct_2"],
    "self-BLEU": lambda m: m["self_bleu"],
    "top opening": lambda m: m["top_opening_share"],
}


@dataclass(frozen=True)
class Outcome:
    """One protocol's figures; `before` the checks and `after` the filters."""

    parsable: float
    before: dict[str, Any]
    after: dict[str, Any]
    wall_s: float


def read_passages() -> list[str]:
    """All passages of the embedded corpus that are long enough to ask about."""
    passages = [part for speech in read_speeches() for part in split_text(speech, PASSAGE_CHARS)]
    return [passage for passage in passages if len(passage) >= MIN_PASSAGE_CHARS]


def run_protocol(folder: Path, corpus: Path, settings: list[str]) -> Outcome:
    """Ingest, synthesise and filter the passages; measure what comes of it."""
    ipt = str(Path(sys.executable).with_name("ipt"))
    source = f'ingest.sources={{passages={{inputs=["{corpus}"]}}}}'
    started = time.monotonic()
    for stage in ("ingest", "synth", "filter"):
        overrides = [f"run.dir={folder}", source, "mixture.weights={}", *settings]
        subprocess.run([ipt, stage, "quickstart", *overrides], check=True)
    wall_s = time.monotonic() - started
    before = measure(folder / "augmented", with_dropped=True)
    unreadable = counts_below(read_manifest(str(folder / "augmented")), "fragments_dropped")
    pieces = before["pairs"] + unreadable.total()
    after = measure(folder / "filtered", with_dropped=False)
    return Outcome(before["pairs"] / max(1, pieces), before, after, wall_s)


def read_chains(stage: Path) -> Iterator[Chain]:
    """All chains of a stage's folder."""
    for shard in sorted(stage.glob("passages/*.jsonl.zst")):
        yield from map(decode_chain, read_lines(str(shard)))


def measure(stage: Path, *, with_dropped: bool) -> dict[str, Any]:
    """Metrics of a stage's pairs, with those that the checks dropped or without."""
    dropped: dict[str, list[Pair]] = {}
    if with_dropped:
        for shard in stage.glob("dropped/passages/*.jsonl.zst"):
            for record in map(json.loads, read_lines(str(shard))):
                dropped.setdefault(record["doc_id"], []).append(Pair(**record["pair"]))
    metrics = CorpusMetrics()
    for chain in read_chains(stage):
        for shot in chain.shots:
            metrics.add(shot.text, [*shot.pairs, *dropped.get(shot.doc_id, [])])
    return metrics.result()


def rules_mb_per_s(passages: list[str], num_rounds: int = 5) -> list[float]:
    """Text mined in a second of one core's time, in MB of UTF-8, round by round."""
    config = RulesConfig()
    num_bytes = sum(len(passage.encode()) for passage in passages)
    rates = []
    for _ in range(num_rounds):
        started = time.process_time()
        for number, passage in enumerate(passages):
            mine_pairs(passage, str(number), config)
        rates.append(num_bytes / 1e6 / (time.process_time() - started))
    return rates


def rendered_per_s(chains: list[Chain], num_rounds: int = 20) -> float:
    """Chains rendered in a second of one core's time, each round with another seed."""
    started = time.process_time()
    for seed in range(num_rounds):
        for chain in chains:
            render_chain(chain, seed)
    return len(chains) * num_rounds / (time.process_time() - started)


def print_table(outcomes: dict[str, Outcome]) -> None:
    """One line for each protocol before the checks, one after the filters."""
    print(f"{'':<16}{'parsable':>10}" + "".join(f"{name:>17}" for name in COLUMNS) + f"{'s':>7}")
    for name, outcome in outcomes.items():
        for state, figures in (("before", outcome.before), ("after", outcome.after)):
            is_before = state == "before"
            cells = [column(figures) for column in COLUMNS.values()]
            shown = [
                f"{cell:>17.3f}" if isinstance(cell, float) else f"{cell:>17}" for cell in cells
            ]
            parsable = f"{outcome.parsable:>10.3f}" if is_before else f"{'':>10}"
            wall_s = f"{outcome.wall_s:>7.0f}" if is_before else ""
            print(f"{name:<8}{state:<8}{parsable}{''.join(shown)}{wall_s}")


def main() -> int:
    """Measure every protocol."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--texts", type=int, default=500)
    parser.add_argument("--protocols", nargs="+", choices=PROTOCOLS, default=list(PROTOCOLS))
    parser.add_argument("--keep", type=Path, help="folder for the runs, kept afterwards")
    arguments = parser.parse_args()
    root = arguments.keep or Path(tempfile.mkdtemp(prefix="ipt-pairs-"))
    root.mkdir(parents=True, exist_ok=True)
    passages = read_passages()
    corpus = root / "passages.jsonl"
    chosen = random.Random(0).sample(passages, arguments.texts)
    corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in chosen))
    outcomes = {
        name: run_protocol(root / name, corpus, PROTOCOLS[name]) for name in arguments.protocols
    }
    mined = sorted(rules_mb_per_s(passages))
    figures = {"rules_mb_per_s": statistics.median(mined)}
    for name in outcomes.keys() & {"chat"}:
        after = outcomes[name].after
        figures["chat_texts_with_pair"] = after["documents_with_pair"] / after["documents"]
        figures["chat_unique_questions"] = after["unique_question_share"]
        figures["chat_grounded"] = after["grounded_share"]
    per_s = rendered_per_s(list(read_chains(root / next(iter(outcomes)) / "filtered")))
    print_table(outcomes)
    print(f"rules: {mined[0]:.2f} to {mined[-1]:.2f} MB/s a core in {len(mined)} rounds")
    print(f"rendering: {per_s:,.0f} chains/s a core")
    if arguments.keep is None:
        shutil.rmtree(root)
    bars = {name: at_least(value, BARS[name]) for name, value in sorted(figures.items())}
    return conclude("pairs", bars | {"rendered_per_s": figure(per_s)})


if __name__ == "__main__":
    sys.exit(main())
