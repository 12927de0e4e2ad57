"""Line shards: `*.jsonl.zst`, one JSON record a line, plain zstd (`zstdcat` reads them)."""

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import IO, Any, cast

import zstandard

from pipeline import storage
from pipeline.compression import open_decompressed
from pipeline.contracts import encode
from pipeline.errors import InputError
from pipeline.stage import FileEntry

_LEVEL = 3
MAX_LINE_BYTES = 1 << 28
"""Longest record of a shard, decompressed: a longer one is neither written nor read."""


class LineShardWriter:
    """Writes records into one shard; made by `write_shard`."""

    def __init__(self, name: str, sink: storage.HashingWriter, compressor: Any) -> None:
        """Wrap the compressor of an open shard; `name` is relative to the stage's folder."""
        self._name, self._sink, self._compressor = name, sink, compressor
        self.num_records = 0

    def write(self, record: Any) -> None:
        """Append one record (a dataclass of `pipeline.contracts` or a dict).

        Raises:
            InputError: it is longer than `MAX_LINE_BYTES`.
        """
        line = encode(record)
        if len(line) > MAX_LINE_BYTES:
            raise InputError(
                f"{self._name}: record {self.num_records} has {len(line):,} bytes, a shard takes "
                f"{MAX_LINE_BYTES:,}; lower ingest.max_record_bytes, or set split_chars"
            )
        self._compressor.write(line)
        self.num_records += 1

    def entry(self) -> FileEntry:
        """What the sidecar says of this shard; call it after the `write_shard` block."""
        return FileEntry(
            name=self._name,
            records=self.num_records,
            bytes=self._sink.num_bytes,
            sha256=self._sink.hexdigest(),
        )


@contextlib.contextmanager
def write_shard(folder: str, name: str) -> Iterator[LineShardWriter]:
    """Write `folder/name` atomically: it appears complete when the block ends, or not at all."""
    with storage.open_atomic(storage.join(folder, name)) as file:
        sink = storage.HashingWriter(file)
        compressor: Any = zstandard.ZstdCompressor(level=_LEVEL).stream_writer(
            cast("IO[bytes]", sink), closefd=False
        )
        writer = LineShardWriter(name, sink, compressor)
        yield writer
        compressor.close()


def read_lines(uri: str) -> Iterator[bytes]:
    """Stream the lines of a shard.

    Raises:
        InputError: the shard is missing, cut short or corrupt, or has a line of more than
            `MAX_LINE_BYTES`; names the shard and the offset.
    """
    try:
        file = storage.open_read(uri)
    except FileNotFoundError:
        raise InputError(f"{uri}: no such shard; run the stage that writes it again") from None
    with file:
        stream = open_decompressed(file, uri)
        for line in iter(partial(stream.readline, MAX_LINE_BYTES + 1), b""):
            if len(line) > MAX_LINE_BYTES:
                raise InputError(
                    f"{uri}: a line has more than {MAX_LINE_BYTES:,} bytes, which no stage writes; "
                    f"run the stage that writes the shard again"
                )
            yield line
