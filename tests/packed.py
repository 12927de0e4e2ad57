"""Small packed folders, written without Ray or a tokenizer, for tests and benchmarks."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.loader.packed import TRAIN, PackedRows, open_rows, write_tables
from pipeline.opening import open_stage
from pipeline.packing.plan import build_rows, plan_rows
from pipeline.rows import ROWS_SUFFIX, RowBlock, write_rows
from pipeline.stage import PartCommit


def pack_documents(
    documents: Sequence[np.ndarray],
    seq_len: int,
    spans: Sequence[np.ndarray] | None = None,
) -> RowBlock:
    """Rows of some token arrays."""
    plan = plan_rows([len(ids) for ids in documents], seq_len)
    return build_rows(documents, plan, seq_len, 0, np.dtype("<u2"), spans)


def random_rows(num_rows: int, seq_len: int, seed: int, vocab_size: int = 999) -> RowBlock:
    """Rows of one document each, all different."""
    random = np.random.default_rng(seed)
    ids = random.integers(2, vocab_size, (num_rows, seq_len), "u2")
    return pack_documents(list(ids), seq_len)


def write_packed(
    folder: Path,
    parts: Mapping[str, Sequence[RowBlock]],
    rows_per_frame: int,
    tokenizer: str = "none",
    split: str = TRAIN,
) -> PackedRows:
    """A complete folder of rows.

    Args:
        folder: where.
        parts: the blocks of each row source, one a part.
        rows_per_frame: rows of a frame.
        tokenizer: model reference of the tokenizer that made the tokens.
        split: `train` or `heldout`.
    """
    seq_len = next(iter(parts.values()))[0].tokens.shape[1]
    stage = open_stage(str(folder), "pack", {"tokenizer": tokenizer, "seq_len": seq_len}, {})
    entries = []
    for source, blocks in parts.items():
        for number, block in enumerate(blocks):
            name = f"{source}/{split}/part-{number:08d}{ROWS_SUFFIX}"
            with write_rows(str(folder), name, rows_per_frame) as writer:
                writer.write(block)
            entries.append(writer.entry())
            part = f"{source}/part-{number:08d}"
            stage.commit(PartCommit(part=part, files=entries[-1:], records_in=0, records_out=0))
    write_tables(str(folder), stage.identity, entries, (seq_len, 2, rows_per_frame))
    stage.close()
    return open_rows(str(folder), split)
