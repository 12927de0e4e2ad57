"""The loader against its peers: `python tests/benchmarks/loader.py`.

State of the Union speeches, tokenised with the tokenizer of the quickstart and packed into rows of
2,048, many times in different orders. The same rows are written in the format of each side:

    ours       row shards (zstd) of two sources, mixed
    mosaicml   MDS, plain and with zstd
    litdata    token chunks, not compressed, mapped into memory
    datasets   Arrow, not compressed, mapped, map-style through a shuffled torch DataLoader
    raw_zstd   decoding of our frames from memory, on one core

Each runs alone in one process and serves shuffled, complete batches of 256 rows: ids, labels,
positions, segments. Peers serve ids; what is missing is derived with numpy, and both are shown.
Peers are installed from PyPI into an environment of their own. Then the time to resume at 1%, 50%
and 99% of a run of 10^9 rows, and seek and memory over a simulated source of 10^9 rows in 10^6
shards. Ends in one JSON line; exit code 1 if a bar is missed.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from pipeline.contracts import RenderedText
from pipeline.loader.table import make_table, table_bytes
from pipeline.packing.tokens import Tokeniser
from tests.benchmarks.bars import at_least, at_most, conclude, figure, print_table
from tests.benchmarks.corpus import TOKENIZER, read_speeches
from tests.benchmarks.loader_sides import SEQ_LEN
from tests.benchmarks.peers import peer_python, run_side
from tests.packed import pack_documents, write_packed

PEERS = [
    *("mosaicml-streaming", "litdata", "lightning-utilities"),
    # What mosaicml-streaming imports at once and this environment may lack.
    *("brotli", "catalogue", "cramjam", "python-snappy", "zstd"),
]
PASSAGE_TOKENS = 600
ROWS_PER_FRAME, ROWS_PER_PART = 64, 1000
COLUMNS = {
    "tokens_per_s": ",.0f",
    "ids_tokens_per_s": ",.0f",
    "first_batch_s": ".2f",
    "memory_mib": ".0f",
}


def write_rows(folder: Path, num_rows: int) -> None:
    """The same rows as packed shards of two sources and as one array."""
    texts = [RenderedText(speech) for speech in read_speeches()]
    tokeniser = Tokeniser(TOKENIZER)
    ids = np.concatenate([text.ids for text in tokeniser.encode(texts, None)])
    (folder / "eos").write_text(str(ids[-1]))
    choice = np.random.default_rng(0)
    blocks, total = [], 0
    while total < num_rows:
        sizes = np.maximum(choice.lognormal(np.log(PASSAGE_TOKENS), 0.9, 8000).astype(int), 8)
        sizes = np.minimum(sizes[: ROWS_PER_PART * SEQ_LEN // int(sizes.mean())], SEQ_LEN)
        starts = choice.integers(0, len(ids) - SEQ_LEN, len(sizes))
        documents = [
            np.append(ids[at : at + n - 1], ids[-1]) for at, n in zip(starts, sizes, strict=True)
        ]
        blocks.append(pack_documents(documents, SEQ_LEN))
        total += blocks[-1].num_rows
    np.save(folder / "rows.npy", np.concatenate([block.tokens for block in blocks]))
    cut = len(blocks) * 4 // 5
    parts = {"text-raw": blocks[:cut], "text-augmented": blocks[cut:]}
    write_packed(folder / "ours", parts, ROWS_PER_FRAME)
    numbers = range(10**6)
    far = make_table([1000] * len(numbers), numbers, ROWS_PER_FRAME)
    (folder / "far.npy").write_bytes(table_bytes(far))


def main() -> int:
    """Run all sides and compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=16_000, help="rows of 2,048 tokens")
    options = parser.parse_args()
    script = Path(__file__).with_name("loader_sides.py")
    peers = peer_python(PEERS)
    with tempfile.TemporaryDirectory(prefix="ipt-loader-") as name:
        folder = Path(name)
        write_rows(folder, options.rows)
        results = {}
        for side in ("raw_zstd", "ours", "ours_one_thread", "datasets_map", "resume", "far"):
            results[side] = run_side(sys.executable, script, side, name)
        for side in ("mosaicml", "mosaicml_zstd", "litdata"):
            results[side] = run_side(peers, script, side, name)
    sides = {side: result for side, result in results.items() if "tokens_per_s" in result}
    print_table(sides, COLUMNS)
    ours, alone = results["ours"], results["ours_one_thread"]

    def ratio(side: str) -> float:
        return float(ours["tokens_per_s"] / results[side]["tokens_per_s"])

    return conclude(
        "loader",
        {
            "over_mosaicml": at_least(min(ratio("mosaicml"), ratio("mosaicml_zstd")), 10),
            "over_litdata": at_least(ratio("litdata"), 10),
            "over_datasets_dataloader": at_least(ratio("datasets_map"), 1.5),
            "over_raw_zstd": at_least(ratio("raw_zstd"), 0.5),
            "one_thread_over_raw_zstd": figure(
                alone["tokens_per_s"] / results["raw_zstd"]["tokens_per_s"]
            ),
            "first_batch_s": figure(ours["first_batch_s"]),
            **{key: at_most(value, 1.0) for key, value in results["resume"].items()},
            "seek_1e9_s": at_most(results["far"]["seek_s"], 1.0),
            "memory_growth_mib": at_most(results["far"]["memory_growth_mib"], 2.0),
        },
    )


if __name__ == "__main__":
    sys.exit(main())
