"""One side of `tests/benchmarks/loader.py`, in a process of its own: prints one line of JSON.

    python loader_sides.py SIDE FOLDER

FOLDER holds the same rows in each side's own format, and `rows.npy`. Peers run under a Python that
has their packages. Each side serves shuffled batches of BATCH_ROWS rows; complete ones have ids,
labels, positions and segments. What peers serve is token ids; the rest is derived of the places of
EOS in whole batches with numpy, the cheapest way there is. Each peer is measured with and without.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

BATCH_ROWS, SEQ_LEN = 256, 2048
TIMED_S = 6.0


def measure(start: Callable[[], Iterator[Any]]) -> dict[str, float]:
    """Tokens a second over some seconds of batches, after the first; peak memory."""
    began = time.perf_counter()
    batches = start()
    next(batches)
    first_s = time.perf_counter() - began
    began, num_batches = time.perf_counter(), 0
    while time.perf_counter() - began < TIMED_S:
        batch = next(batches, None)
        if batch is None:
            batches = start()
            continue
        num_batches += 1
    elapsed = time.perf_counter() - began
    return {
        "tokens_per_s": num_batches * BATCH_ROWS * SEQ_LEN / elapsed,
        "first_batch_s": first_s,
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measure_peer(folder: Path, start: Callable[[], Iterator[np.ndarray]]) -> dict[str, float]:
    """A peer's batches of token ids, as they come and made complete."""
    eos = int((folder / "eos").read_text())
    ids_only = measure(start)
    whole = measure(lambda: (completed(ids, eos) for ids in start()))
    return whole | {"ids_tokens_per_s": ids_only["tokens_per_s"]}


def stacked(rows: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Rows in batches, as cheaply as Python can."""
    batch = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH_ROWS:
            yield np.stack(batch)
            batch = []


def completed(tokens: np.ndarray, eos: int) -> tuple[np.ndarray, ...]:
    """Ids, labels, positions and segments of (rows, seq_len) tokens whose documents end in EOS."""
    ids = tokens.astype(np.int32)
    ends = ids == eos
    segments = np.cumsum(ends, axis=1, dtype=np.int32) - ends
    places = np.arange(ids.shape[1], dtype=np.int32)
    begins = np.zeros_like(ids)
    begins[:, 1:] = np.where(ends[:, :-1], places[1:], 0)
    positions = places - np.maximum.accumulate(begins, axis=1)
    labels = np.full_like(ids, -100)
    labels[:, :-1] = np.where(ends[:, :-1], -100, ids[:, 1:])
    return ids, labels, positions, segments


# --- ours ------------------------------------------------------------------------------------


def our_stream(folder: Path, num_threads: int, ahead: int) -> Any:
    """The loader over the packed folder, two sources mixed 4 to 1."""
    from pipeline.loader.packed import open_rows
    from pipeline.loader.run import RunRows
    from pipeline.loader.stream import BatchStream
    from pipeline.mixture.config import MixtureConfig

    config = MixtureConfig(weights={"text-raw": 4, "text-augmented": 1})
    rows = open_rows(str(folder / "ours"))
    run = RunRows(rows, config, total_rows=10**9, seed=1, num_threads=num_threads)
    return BatchStream(run, BATCH_ROWS, ahead=ahead)


def ours(folder: Path) -> dict[str, float]:
    """As training uses it: two threads read ahead, one makes batches."""
    return measure(lambda: iter(our_stream(folder, num_threads=2, ahead=2)))


def ours_one_thread(folder: Path) -> dict[str, float]:
    """Everything in the thread that asks."""
    return measure(lambda: iter(our_stream(folder, num_threads=0, ahead=0)))


def resume(folder: Path) -> dict[str, float]:
    """Seconds from nothing to the next batch at 1%, 50% and 99% of a run of 10^9 rows."""
    found = {}
    for percent in (1, 50, 99):
        began = time.perf_counter()
        stream = our_stream(folder, num_threads=1, ahead=2)
        stream.load_state_dict({"rows": 10**9 * percent // 100})
        next(stream)
        found[f"resume_{percent}_s"] = time.perf_counter() - began
        stream.close()
    return found


def far(folder: Path) -> dict[str, float]:
    """Seek and memory in a source of 10^9 rows in 10^6 shards, of which only the table is real."""
    from pipeline.loader.order import RowOrder, source_key
    from pipeline.loader.table import open_table
    from pipeline.mixture.config import MixtureConfig
    from pipeline.mixture.planning import PackedSources, plan_schedule

    def seek(row: int) -> float:
        began = time.perf_counter()
        table = open_table(str(folder / "far.npy"), 64)
        sources = PackedSources({"far": table.num_rows}, SEQ_LEN)
        mixture = plan_schedule(MixtureConfig(), sources, 10**10, seed=1)
        order = RowOrder(table.size, 64, 64, source_key(1, "far"))
        _, draws = mixture.draws(row, BATCH_ROWS)
        window, _ = order.window_of(int(draws[0]))
        places = order.row_order(window)
        table.locate(order.units(window)[places // 64], places % 64)
        return time.perf_counter() - began

    def memory_mib() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    seek(0)
    first = memory_mib()
    times = [seek(row) for row in (10**9 // 2, 10**9 - 1, 10**9, 9 * 10**9)]
    return {"seek_s": max(times), "memory_growth_mib": memory_mib() - first}


def raw_zstd(folder: Path) -> dict[str, float]:
    """Decoding of all frames from memory: what no loader of these shards can beat on one core."""
    import zstandard

    from pipeline.seekable import open_seekable

    frames = []
    for path in sorted((folder / "ours").glob("*/train/*.rows.zst")):
        shard = open_seekable(str(path))
        for start, end in zip(shard.offsets[:-1], shard.offsets[1:], strict=True):
            frames.append(shard.reader.read(shard.uri, int(start), int(end - start)))
    num_tokens = np.load(folder / "rows.npy", mmap_mode="r").size
    decompressor = zstandard.ZstdDecompressor()
    best = 0.0
    for _ in range(3):
        began = time.perf_counter()
        for frame in frames:
            decompressor.decompress(frame)
        best = max(best, num_tokens / (time.perf_counter() - began))
    return {"tokens_per_s": best}


# --- peers -----------------------------------------------------------------------------------


def mosaicml(folder: Path, compression: str | None = None) -> dict[str, float]:
    """mosaicml-streaming: MDS shards of 64 MiB, shuffled with its default algorithm."""
    from streaming import MDSWriter, StreamingDataset

    target = folder / f"mds-{compression}"
    if not target.exists():
        columns = {"tokens": f"ndarray:uint16:{SEQ_LEN}"}
        with MDSWriter(out=str(target), columns=columns, compression=compression) as writer:
            for row in np.load(folder / "rows.npy", mmap_mode="r"):
                writer.write({"tokens": np.array(row)})

    def start() -> Iterator[np.ndarray]:
        dataset = StreamingDataset(
            local=str(target), shuffle=True, batch_size=BATCH_ROWS, num_canonical_nodes=1
        )
        return stacked(sample["tokens"] for sample in dataset)

    return measure_peer(folder, start)


def litdata(folder: Path) -> dict[str, float]:
    """litdata: token chunks, its loader for language models, shuffled."""
    import torch
    from litdata import StreamingDataset, TokensLoader
    from litdata.streaming.cache import Cache

    target = folder / "litdata"
    if not target.exists():
        cache = Cache(str(target), chunk_bytes=1 << 26, item_loader=TokensLoader(SEQ_LEN))
        for number, row in enumerate(np.load(folder / "rows.npy", mmap_mode="r")):
            cache[number] = torch.from_numpy(np.array(row))
        cache.done()
        cache.merge()

    def start() -> Iterator[np.ndarray]:
        dataset = StreamingDataset(
            str(target), item_loader=TokensLoader(SEQ_LEN), shuffle=True, drop_last=False
        )
        return stacked(row.numpy() for row in dataset)

    return measure_peer(folder, start)


def datasets_map(folder: Path) -> dict[str, float]:
    """datasets, map-style and memory-mapped, through a shuffled torch DataLoader."""
    import torch
    from datasets import Dataset, Features, List, Value, load_from_disk

    target = folder / "arrow"
    if not target.exists():
        rows = np.load(folder / "rows.npy", mmap_mode="r")
        features = Features({"tokens": List(Value("uint16"), length=SEQ_LEN)})

        def generate() -> Iterator[dict[str, Any]]:
            for row in rows:
                yield {"tokens": np.array(row)}

        made = Dataset.from_generator(generate, features=features, cache_dir=str(folder / "hf"))
        made.save_to_disk(str(target))

    def start() -> Iterator[np.ndarray]:
        dataset = load_from_disk(str(target)).with_format("torch")
        loader = torch.utils.data.DataLoader(dataset, batch_size=BATCH_ROWS, shuffle=True)
        return (batch["tokens"].numpy() for batch in loader)

    return measure_peer(folder, start)


SIDES: dict[str, Callable[[Path], dict[str, float]]] = {
    "ours": ours,
    "ours_one_thread": ours_one_thread,
    "resume": resume,
    "far": far,
    "raw_zstd": raw_zstd,
    "mosaicml": mosaicml,
    "mosaicml_zstd": lambda folder: mosaicml(folder, "zstd"),
    "litdata": litdata,
    "datasets_map": datasets_map,
}

if __name__ == "__main__":
    print(json.dumps(SIDES[sys.argv[1]](Path(sys.argv[2]))))
