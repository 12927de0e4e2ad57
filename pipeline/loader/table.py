"""Where the rows of a source lie: one small table a source and split, mapped, never loaded.

A shard of n rows has n // F full frames of F rows and a tail of n % F rows. Numbered over all
shards in order,

    full frame g   lies in the last shard whose `full_before` is at most g
    tail row t     lies in the last shard whose `tail_before` is at most t

so that any row is two binary searches away, and only the pages they touch are read.
"""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipeline import storage
from pipeline.errors import InputError
from pipeline.loader.order import Size

_MAPPED_BYTES = 1 << 20


class Places(NamedTuple):
    """Rows by shard, frame of the shard and row of the frame; three (n,) int64 arrays."""

    shards: np.ndarray
    frames: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class RowTable:
    """The rows of one source in one split."""

    rows_per_frame: int
    full_before: np.ndarray
    """(num_shards + 1,) int64: full frames in all shards before each one."""
    tail_before: np.ndarray
    """(num_shards + 1,) int64: tail rows in all shards before each one."""
    part_numbers: np.ndarray
    """(num_shards,) int64: the number in each shard's name."""

    @property
    def num_full_frames(self) -> int:
        """Frames of exactly `rows_per_frame` rows."""
        return int(self.full_before[-1])

    @property
    def num_tail_rows(self) -> int:
        """Rows behind the full frames of their shards."""
        return int(self.tail_before[-1])

    @property
    def size(self) -> Size:
        """All rows as the order of a source counts them."""
        return Size(self.num_full_frames, self.num_tail_rows)

    @property
    def num_rows(self) -> int:
        """All rows."""
        return self.num_full_frames * self.rows_per_frame + self.num_tail_rows

    def locate(self, units: np.ndarray, rows: np.ndarray) -> Places:
        """Rows of units: unit u is full frame u, or, below 0, the tail rows from -1 - u on.

        Args:
            units: (n,) int64.
            rows: (n,) int64 row within the unit.
        """
        is_full = units >= 0
        tail = np.where(is_full, 0, -1 - units + rows)
        shards = np.where(
            is_full,
            np.searchsorted(self.full_before, units, side="right") - 1,
            np.searchsorted(self.tail_before, tail, side="right") - 1,
        )
        full = self.full_before[shards]
        frames = np.where(is_full, units - full, self.full_before[shards + 1] - full)
        return Places(shards, frames, np.where(is_full, rows, tail - self.tail_before[shards]))

    def in_order(self, start: int, end: int) -> Places:
        """Rows `start` to `end` (exclusive) in the order of shards, frames and rows."""
        shard_ends = self.full_before[1:] * self.rows_per_frame + self.tail_before[1:]
        numbers = np.arange(start, min(end, self.num_rows))
        shards = np.searchsorted(shard_ends, numbers, side="right")
        inside = numbers - np.concatenate(([0], shard_ends))[shards]
        return Places(shards, inside // self.rows_per_frame, inside % self.rows_per_frame)


def make_table(
    num_rows: Sequence[int], part_numbers: Sequence[int], rows_per_frame: int
) -> RowTable:
    """The table of shards of so many rows each, in order."""
    counts = np.array(num_rows, dtype=np.int64)
    before = np.zeros((2, len(counts) + 1), dtype=np.int64)
    np.cumsum(counts // rows_per_frame, out=before[0, 1:])
    np.cumsum(counts % rows_per_frame, out=before[1, 1:])
    return RowTable(rows_per_frame, before[0], before[1], np.array(part_numbers, dtype=np.int64))


def table_bytes(table: RowTable) -> bytes:
    """The file of a table: an int64 `.npy` of shape (3, num_shards + 1)."""
    numbers = np.append(table.part_numbers, -1)
    file = io.BytesIO()
    np.save(file, np.stack([table.full_before, table.tail_before, numbers]), allow_pickle=False)
    return file.getvalue()


def open_table(uri: str, rows_per_frame: int) -> RowTable:
    """Map the table at `uri`; read whole where it is not on this machine.

    Raises:
        InputError: no such table, or it is damaged.
    """
    try:
        if storage.is_local(uri) and storage.size_of(uri) > _MAPPED_BYTES:
            columns = np.load(uri.removeprefix("file://"), mmap_mode="r", allow_pickle=False)
        else:  # a mapped file takes a descriptor, and there may be thousands of sources
            columns = np.load(io.BytesIO(storage.read_bytes(uri)), allow_pickle=False)
    except (
        FileNotFoundError,
        ValueError,
        EOFError,
        MemoryError,  # its header promises more than there is
        zipfile.BadZipFile,
    ) as error:
        raise InputError(f"{uri}: no usable table of shards ({error}); pack again") from error
    is_table = isinstance(columns, np.ndarray) and columns.ndim == 2 and columns.size > 0
    if not is_table or columns.dtype != np.int64 or len(columns) != 3:
        raise InputError(f"{uri}: not a table of shards; pack again")
    return RowTable(rows_per_frame, columns[0], columns[1], columns[2, :-1])
