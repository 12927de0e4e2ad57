"""One side of `tests/benchmarks/packing.py`, in a process of its own: prints one line of JSON.

    python packing_sides.py SIDE FOLDER

FOLDER holds `texts.jsonl`, the tokenizer and `lengths.npy`, the length of every text in tokens.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SEQ_LEN = 2048
ENCODE_BATCH = 256


def read_texts(folder: Path) -> list[str]:
    """The corpus."""
    with (folder / "texts.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in file]


def bare(folder: Path, method: str) -> dict[str, float]:
    """The tokenizer alone, on all cores: its own threads, nothing done with the tokens."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))
    texts = read_texts(folder)
    encode = getattr(tokenizer, method)
    encode(texts[:ENCODE_BATCH], add_special_tokens=False)
    began = time.perf_counter()
    num_tokens = 0
    for start in range(0, len(texts), ENCODE_BATCH):
        encodings = encode(texts[start : start + ENCODE_BATCH], add_special_tokens=False)
        num_tokens += sum(len(encoding) for encoding in encodings)
    return {"tokens_per_s": num_tokens / (time.perf_counter() - began)}


def plan(folder: Path) -> dict[str, float]:
    """Ours: planning and laying out rows of documents that are tokens already."""
    from pipeline.packing.plan import build_rows, plan_rows

    lengths = np.load(folder / "lengths.npy").tolist()
    documents = [np.ones(length, dtype=np.uint16) for length in lengths]
    began = time.perf_counter()
    rows = plan_rows(lengths, SEQ_LEN)
    build_rows(documents, rows, SEQ_LEN, 0, np.dtype(np.uint16))
    elapsed = time.perf_counter() - began
    pieces = [piece for row in rows for piece in row]
    needless = {
        piece.document
        for piece in pieces
        if piece.length < lengths[piece.document] and lengths[piece.document] <= SEQ_LEN
    }
    kept = sum(piece.length for piece in pieces)
    return {
        "tokens_per_s": kept / elapsed,
        "padding": 1 - kept / (len(rows) * SEQ_LEN),
        "split_though_fitting": float(len(needless)),
        "tokens_lost": float(sum(lengths) - kept),
    }


def trl(folder: Path, strategy: str) -> dict[str, float]:
    """TRL's packing of documents that are tokens already."""
    from datasets import Dataset, disable_progress_bars
    from trl.data_utils import pack_dataset

    disable_progress_bars()
    lengths = np.load(folder / "lengths.npy")
    numbers = np.arange(len(lengths), dtype=np.int32)
    documents = [np.full(n, k, dtype=np.int32) for k, n in zip(numbers, lengths, strict=True)]
    dataset = Dataset.from_dict({"input_ids": documents})
    began = time.perf_counter()
    packed = pack_dataset(dataset, SEQ_LEN, strategy)
    elapsed = time.perf_counter() - began
    rows = [np.asarray(row) for row in packed.with_format("numpy")["input_ids"]]
    found = np.concatenate(rows)
    in_rows = [np.unique(row) for row in rows]
    times_seen = np.bincount(np.concatenate(in_rows), minlength=len(lengths))
    kept = np.bincount(found, minlength=len(lengths))
    fits = lengths <= SEQ_LEN
    return {
        "tokens_per_s": len(found) / elapsed,
        "padding": 1 - len(found) / (len(rows) * SEQ_LEN),
        "split_though_fitting": float(((times_seen > 1) & fits).sum()),
        "tokens_lost": float((lengths - kept).sum()),
    }


def concatenation(folder: Path) -> dict[str, float]:
    """One long stream cut every SEQ_LEN tokens, as Megatron-LM does."""
    lengths = np.load(folder / "lengths.npy")
    documents = [np.ones(length, dtype=np.uint16) for length in lengths]
    began = time.perf_counter()
    stream = np.concatenate(documents)
    rows = stream[: len(stream) // SEQ_LEN * SEQ_LEN].reshape(-1, SEQ_LEN)
    elapsed = time.perf_counter() - began
    ends = np.cumsum(lengths)
    starts = ends - lengths
    is_split = starts // SEQ_LEN != (ends - 1) // SEQ_LEN
    return {
        "tokens_per_s": rows.size / elapsed,
        "padding": 0.0,
        "split_though_fitting": float((is_split & (lengths <= SEQ_LEN)).sum()),
        "tokens_lost": float(len(stream) - rows.size),
    }


def datatrove(folder: Path) -> dict[str, float]:
    """datatrove: reads the texts, tokenises, shuffles documents, writes one stream of tokens."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.tokens import DocumentTokenizer

    cores = os.cpu_count() or 1
    executor = LocalPipelineExecutor(
        pipeline=[
            JsonlReader(str(folder / "shards")),
            DocumentTokenizer(
                output_folder=str(folder / "datatrove"),
                tokenizer_name_or_path=str(folder / "tokenizer" / "tokenizer.json"),
                eos_token="<|im_end|>",
                batch_size=ENCODE_BATCH,
            ),
        ],
        tasks=cores,
        workers=cores,
        logging_dir=str(folder / "datatrove-logs"),
    )
    began = time.perf_counter()
    executor.run()
    elapsed = time.perf_counter() - began
    return {"tokens_per_s": int(np.load(folder / "lengths.npy").sum()) / elapsed}


SIDES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "encode_batch": lambda folder: bare(folder, "encode_batch"),
    "encode_batch_fast": lambda folder: bare(folder, "encode_batch_fast"),
    "plan": plan,
    "trl_bfd": lambda folder: trl(folder, "bfd"),
    "trl_bfd_split": lambda folder: trl(folder, "bfd_split"),
    "concatenation": concatenation,
    "datatrove": datatrove,
}

if __name__ == "__main__":
    result = SIDES[sys.argv[1]](Path(sys.argv[2]))
    print(json.dumps(result), flush=True)
