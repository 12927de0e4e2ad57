"""`ipt inspect`: records of any shard, readable."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from pipeline import storage
from pipeline.errors import InputError
from pipeline.pretrained import load_tokenizer
from pipeline.rows import RowBlock, decode_block
from pipeline.seekable import open_seekable
from pipeline.shards import read_lines
from pipeline.stage import MANIFEST_FILE, find_identity


def inspect_lines(path: str, num_records: int) -> Iterator[str]:
    """Readable lines for the first records of a shard, or the content of a JSON file.

    Raises:
        InputError: nothing of ours is at `path`.
    """
    if not storage.exists(path):
        raise InputError(f"{path}: no such file; give a shard, a sidecar or a manifest")
    if path.endswith(".rows.zst"):
        yield from _inspect_rows(path, num_records)
    elif path.endswith(".jsonl.zst"):
        number = -1
        for number, line in enumerate(islice(read_lines(path), num_records)):
            yield f"--- record {number}"
            yield from _describe(orjson.loads(line))
        if number < 0 < num_records:
            yield f"{path}: no records"
    elif path.endswith(".json"):
        yield orjson.dumps(
            orjson.loads(storage.read_bytes(path)), option=orjson.OPT_INDENT_2
        ).decode()
    elif storage.exists(storage.join(path, MANIFEST_FILE)):
        yield from inspect_lines(storage.join(path, MANIFEST_FILE), num_records)
    else:
        raise InputError(
            f"{path}: not a shard (.jsonl.zst, .rows.zst), a .json or a stage's folder"
        )


def _describe(record: Any) -> Iterator[str]:
    if isinstance(record, dict) and "shots" in record:
        yield f"chain {record['id']}  source {record['source']}  {record['provenance']}"
        for shot in record["shots"]:
            yield f"text {shot['doc_id']}:\n{shot['text']}"
            for pair in shot["pairs"]:
                yield f"  [{pair['kind']}] {pair['instruction']}"
                yield from (f"      - {option}" for option in pair["options"])
                yield f"    -> {pair['response']}"
    elif isinstance(record, dict) and "text" in record and "source" in record:
        yield f"document {record['id']}  source {record['source']}  {record['meta']}"
        yield record["text"]
    else:
        yield orjson.dumps(record, option=orjson.OPT_INDENT_2).decode()


def _inspect_rows(path: str, num_records: int) -> Iterator[str]:
    reader = open_seekable(path)
    tokenizer = _tokenizer_of(path)
    shown = 0
    for frame in range(reader.num_frames):
        block = decode_block(reader.read_frame(frame), path)
        for row in range(block.num_rows):
            if shown == num_records:
                return
            yield f"--- row {shown} (frame {frame})"
            yield from _describe_row(block, row, tokenizer)
            shown += 1


def _describe_row(block: RowBlock, row: int, tokenizer: Any) -> Iterator[str]:
    def shown(start: int, end: int) -> str:
        ids = block.tokens[0, start:end].tolist()
        return str(tokenizer.decode(ids)) if tokenizer is not None else str(ids)

    start, block = 0, block.slice(row, row + 1)
    for number, length in enumerate(block.layout.segment_lengths.tolist()):
        yield f"[segment {number}, {length} tokens] {shown(start, start + length)}"
        start += length
    for begin, end in block.layout.spans.tolist():
        yield f"[trained on, tokens {begin} to {end}] {shown(begin, end)}"
    if padding := block.tokens.shape[1] - start:
        yield f"[padding, {padding} tokens]"


def _tokenizer_of(path: str) -> Any:
    """The tokenizer of the packed folder above a row shard, or None outside of one."""
    for folder in Path(path).parents:
        if (identity := find_identity(str(folder))) is not None:
            return load_tokenizer(str(identity.config["tokenizer"]))
    return None
