"""Tokenise and pack against the bare tokenizer and peers: `python tests/benchmarks/packing.py`.

State of the Union passages of log-normal length (median some 450 tokens, a few beyond a row),
many times in different cuts.

    ipt pack        the real job on all cores: reads parts, tokenises, packs, writes row shards;
                    from when each worker has committed a part to the last commit, so
                    without the start of Ray
    bare            `tokenizers`' encode_batch (and the faster one without offsets) on the same
                    texts and cores, its own threads, nothing done with the tokens
    datatrove       DocumentTokenizer, as many processes as cores, its start included
    plan / trl      packing alone, of documents that are tokens already: ours; TRL's best fit, which
                    drops what does not fit into a row, and the one that splits
    concatenation   one stream cut every 2,048 tokens

Ends in one JSON line; exit code 1 if a bar is missed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import orjson

from pipeline.opening import open_stage
from pipeline.pretrained import load_tokenizer
from pipeline.stage import read_commits, read_manifest
from tests.benchmarks.bars import at_least, at_most, conclude, figure, print_table
from tests.benchmarks.corpus import TOKENIZER, read_speeches
from tests.benchmarks.packing_sides import SEQ_LEN
from tests.benchmarks.peers import peer_python, run_side

PEERS = ["trl", "datatrove", "humanize", "loguru"]
MEDIAN_CHARS, DOCS_PER_PART = 2000, 8192
COLUMNS = {
    "tokens_per_s": ",.0f",
    "padding": ".4%",
    "split_though_fitting": ",.0f",
    "tokens_lost": ",.0f",
}


def write_texts(folder: Path, num_chars: int) -> None:
    """`texts.jsonl`, the same in one shard a core, and the length of each text in tokens."""
    whole = "\n\n".join(read_speeches())
    choice = np.random.default_rng(0)
    texts, total = [], 0
    while total < num_chars:
        size = int(min(max(choice.lognormal(np.log(MEDIAN_CHARS), 0.9), 60), 40_000))
        at = int(choice.integers(0, len(whole) - size))
        texts.append(whole[at : at + size].strip())
        total += size
    lines = [orjson.dumps({"text": text}) + b"\n" for text in texts]
    (folder / "texts.jsonl").write_bytes(b"".join(lines))
    (folder / "shards").mkdir()
    cores = os.cpu_count() or 1
    for core in range(cores):
        (folder / "shards" / f"{core}.jsonl").write_bytes(b"".join(lines[core::cores]))
    tokenizer = load_tokenizer(TOKENIZER)
    tokenizer.save_pretrained(folder / "tokenizer")
    encodings = tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    np.save(folder / "lengths.npy", np.array([len(each) + 1 for each in encodings]))


def run_pack(folder: Path) -> dict[str, float]:
    """Ingest the texts as raw documents and pack them with the real command line."""
    ipt = str(Path(sys.executable).with_name("ipt"))
    run = folder / "run"
    arguments = [
        "quickstart",
        f"run.dir={run}",
        f'ingest.sources.sotu.inputs=["{folder}/texts.jsonl"]',
        "ingest.sources.sotu.split_chars=0",
        "ingest.sources.sotu.convert_fraction=0.0",
        f"ingest.docs_per_part={DOCS_PER_PART}",
        f"pack.seq_len={SEQ_LEN}",
        "pack.rows_per_frame=0",
        "pack.heldout_fraction=0.0",
        "mixture.weights={}",
    ]
    subprocess.run([ipt, "ingest", *arguments], check=True)
    keys = {"documents": read_manifest(str(run / "documents")).input_key()}
    open_stage(str(run / "filtered"), "filter", {}, keys).close()
    subprocess.run([ipt, "pack", *arguments], check=True)
    commits = [
        ((run / "rows" / f"{part}.json").stat().st_mtime, commit.counts["tokens"])
        for part, commit in read_commits(str(run / "rows")).items()
    ]
    commits.sort()
    counts = read_manifest(str(run / "rows")).counts
    # From when each worker has committed one, so that no part counts that was half done then.
    cores = os.cpu_count() or 1
    timed = sum(tokens for _, tokens in commits[cores:])
    return {
        "tokens_per_s": timed / (commits[-1][0] - commits[cores - 1][0]),
        "padding": counts["padding"] / (counts["padding"] + counts["tokens"]),
        "tokens": float(counts["tokens"]),
    }


def main() -> int:
    """Run all sides and compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=240, help="text, in characters / 10^6")
    options = parser.parse_args()
    script = Path(__file__).with_name("packing_sides.py")
    peers = peer_python(PEERS)
    with tempfile.TemporaryDirectory(prefix="ipt-packing-") as name:
        folder = Path(name)
        write_texts(folder, options.megabytes * 10**6)
        results = {"ipt pack": run_pack(folder)}
        for side in ("encode_batch", "encode_batch_fast", "plan", "concatenation"):
            results[side] = run_side(sys.executable, script, side, name)
        for side in ("trl_bfd", "trl_bfd_split", "datatrove"):
            results[side] = run_side(peers, script, side, name)
        num_tokens = int(np.load(folder / "lengths.npy").sum())
    print_table(results, COLUMNS)
    ours, plan = results["ipt pack"], results["plan"]

    def ratio(side: str) -> float:
        return ours["tokens_per_s"] / results[side]["tokens_per_s"]

    return conclude(
        "packing",
        {
            "over_encode_batch": at_least(ratio("encode_batch"), 0.9),
            "over_encode_batch_fast": figure(ratio("encode_batch_fast")),
            "over_datatrove": figure(ratio("datatrove")),
            "plan_over_trl_bfd": figure(plan["tokens_per_s"] / results["trl_bfd"]["tokens_per_s"]),
            "padding_percent": at_most(100 * ours["padding"], 0.1),
            "split_though_fitting": at_most(plan["split_though_fitting"], 0),
            "tokens_lost": at_most(num_tokens - ours["tokens"], 0),
        },
    )


if __name__ == "__main__":
    sys.exit(main())
