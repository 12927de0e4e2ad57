"""A packed folder as a loader sees it: `sources.json`, and one table of shards a source and split.

    rows/sources.json                 sizes, row length, token type, whose rows these are
    rows/sotu-raw/train/table.npy     where the rows lie (pipeline.loader.table)
    rows/sotu-raw/train/part-*.rows.zst

Both are written when packing is complete; opening a corpus of any size reads some kilobytes.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline import storage
from pipeline.config import StrictConfig
from pipeline.errors import InputError
from pipeline.loader.frames import FrameReader, part_number
from pipeline.loader.order import Growth, RowOrder, source_key
from pipeline.loader.table import make_table, open_table, table_bytes
from pipeline.loader.windows import SourceRows
from pipeline.mixture.planning import PackedSources
from pipeline.names import FileName, RelativeName, read_record
from pipeline.rows import ROWS_SUFFIX
from pipeline.seekable import DirectReader, RangeReader
from pipeline.stage import MANIFEST_FILE, FileEntry, StageIdentity

TRAIN, HELDOUT = "train", "heldout"
SOURCES_FILE, TABLE_FILE = "sources.json", "table.npy"


class SplitSize(StrictConfig):
    """What one split of a source holds."""

    rows: int
    tokens: int
    shards: int
    full_frames: int
    tail_rows: int
    digest: str
    """Hash over the names and contents of all shards in order."""


_NO_ROWS = SplitSize(rows=0, tokens=0, shards=0, full_frames=0, tail_rows=0, digest="")


class SourcesFile(StrictConfig):
    """The content of `sources.json`."""

    input_key: str
    """That of the manifest these sizes belong to."""
    tokenizer: str
    seq_len: int
    token_bytes: int
    rows_per_frame: int
    sources: dict[RelativeName, dict[FileName, SplitSize]]


def write_tables(
    folder: str,
    identity: StageIdentity,
    entries: Iterable[FileEntry],
    layout: tuple[int, int, int],
) -> None:
    """Write the tables of all sources and splits, then `sources.json`.

    Args:
        folder: of the rows.
        identity: of the packing stage.
        entries: every committed file; those that are not row shards are passed over.
        layout: seq_len, token_bytes and rows_per_frame of all shards.
    """
    shards: dict[tuple[str, str], list[FileEntry]] = defaultdict(list)
    for entry in entries:
        source, split, name = entry.name.rsplit("/", 2)
        if name.endswith(ROWS_SUFFIX):
            shards[source, split].append(entry)
    seq_len, token_bytes, rows_per_frame = layout
    sizes: dict[str, dict[str, SplitSize]] = defaultdict(dict)
    for (source, split), found in sorted(shards.items()):
        filled = [entry for entry in found if entry.records]
        table = make_table(
            [entry.records for entry in filled],
            [part_number(entry.name) for entry in filled],
            rows_per_frame,
        )
        storage.write_atomic(storage.join(folder, source, split, TABLE_FILE), table_bytes(table))
        tokens = sum(entry.tokens for entry in filled)
        sizes[source][split] = SplitSize(
            rows=table.num_rows,
            tokens=tokens,
            shards=len(filled),
            full_frames=table.num_full_frames,
            tail_rows=table.num_tail_rows,
            digest=digest_of(filled),
        )
    content = SourcesFile(
        input_key=f"{identity.fingerprint()}:{identity.instance}",
        tokenizer=str(identity.config["tokenizer"]),
        seq_len=seq_len,
        token_bytes=token_bytes,
        rows_per_frame=rows_per_frame,
        sources=dict(sizes),
    )
    storage.write_atomic(
        storage.join(folder, SOURCES_FILE), content.model_dump_json(indent=1).encode()
    )


def digest_of(shards: Iterable[FileEntry]) -> str:
    """Hash over the names and contents of shards in order, 32 hex digits."""
    digest = hashlib.blake2b(digest_size=16)
    for entry in shards:
        digest.update(f"{entry.name}:{entry.sha256}\n".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class PackedRows:
    """A complete folder of rows; made by `open_rows`."""

    folder: str
    info: SourcesFile
    split: str
    reader: RangeReader

    @property
    def seq_len(self) -> int:
        """Tokens of a row."""
        return self.info.seq_len

    @property
    def token_dtype(self) -> np.dtype[np.unsignedinteger]:
        """Type of the tokens on disk."""
        return np.dtype(f"<u{self.info.token_bytes}")

    @property
    def sizes(self) -> PackedSources:
        """Rows of this split by source."""
        return PackedSources(
            {name: size.rows for name, size in self.split_sizes().items()}, self.info.seq_len
        )

    def split_sizes(self) -> dict[str, SplitSize]:
        """Sizes of this split by source, those without rows too."""
        return {
            name: splits.get(self.split, _NO_ROWS) for name, splits in self.info.sources.items()
        }

    def source(
        self,
        name: str,
        seed: int = 0,
        window_frames: int = 1,
        growths: Sequence[Growth] = (),
    ) -> SourceRows:
        """One source's rows, in an order that `seed` and the name decide.

        Args:
            name: of the source.
            seed: of the run.
            window_frames: frames whose rows are shuffled together.
            growths: sizes over the run, the first one from draw 0 on; none: the present one.
        """
        folder = storage.join(self.folder, name, self.split)
        table = open_table(storage.join(folder, TABLE_FILE), self.info.rows_per_frame)
        size = self.info.sources[name][self.split]
        expected = (size.full_frames, size.tail_rows, size.shards)
        if (*table.size, len(table.part_numbers)) != expected or table.num_rows != size.rows:
            raise InputError(
                f"{folder}: the table has {table.num_rows} rows and {SOURCES_FILE} {size.rows}, "
                f"or their shards differ; pack again"
            )
        first, *later = growths or [Growth(0, table.size)]
        order = RowOrder(
            first.size, self.info.rows_per_frame, window_frames, source_key(seed, name), later
        )
        return SourceRows(table, order, FrameReader(folder, self.reader))


def open_rows(folder: str, split: str = TRAIN, reader: RangeReader | None = None) -> PackedRows:
    """Open a complete folder of rows.

    Args:
        folder: path or URI of the packing stage's folder.
        split: `train` or `heldout`.
        reader: reads the shards, for example a `RangeCache`.

    Raises:
        InputError: packing is not complete, or `sources.json` cannot be read.
    """
    uri = storage.join(folder, SOURCES_FILE)
    if not storage.exists(storage.join(folder, MANIFEST_FILE)) or not storage.exists(uri):
        raise InputError(
            f"{folder}: packing is not complete, or was done by another version; "
            f"run `ipt pack` (remove the folder first if that finds it complete)"
        )
    info = read_record(SourcesFile, uri, "pack again")
    return PackedRows(folder, info, split, (reader or DirectReader()).of(info.input_key))
