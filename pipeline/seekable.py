"""Seekable zstd files: independent frames and a seek table at the end, still valid `.zst`.

    [frame 0][frame 1]...[frame n-1][skippable frame: seek table with a checksum a frame]

The format is the public one of the zstd project (contrib/seekable_format): other tools read these
files, and `zstd -d` takes the seek table for an empty frame.
"""

import struct
from dataclasses import dataclass

import numpy as np
import xxhash
import zstandard

from pipeline import storage
from pipeline.errors import InputError

_SKIPPABLE_MAGIC, _SEEKABLE_MAGIC = 0x184D2A5E, 0x8F92EAB1
_HAS_CHECKSUMS = 0x80
_FOOTER = struct.Struct("<IBI")
_HEADER = struct.Struct("<II")
_ENTRY = np.dtype([("compressed", "<u4"), ("raw", "<u4"), ("checksum", "<u4")])
_LEVEL = 3


class SeekableWriter:
    """Writes frames to an open file; `finish` adds the seek table."""

    def __init__(self, sink: storage.HashingWriter) -> None:
        """Write to `sink`, which the caller closes."""
        self._sink = sink
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self._entries: list[tuple[int, int, int]] = []

    def write_frame(self, data: bytes) -> None:
        """Compress `data` into one frame of its own."""
        frame = self._compressor.compress(data)
        self._sink.write(frame)
        self._entries.append((len(frame), len(data), _checksum(data)))

    def finish(self) -> None:
        """Write the seek table; nothing may follow it."""
        table = np.array(self._entries, dtype=_ENTRY).tobytes()
        footer = _FOOTER.pack(len(self._entries), _HAS_CHECKSUMS, _SEEKABLE_MAGIC)
        self._sink.write(_HEADER.pack(_SKIPPABLE_MAGIC, len(table) + len(footer)))
        self._sink.write(table + footer)


@dataclass(frozen=True)
class SeekableReader:
    """Random access to the frames of one file."""

    uri: str
    offsets: np.ndarray
    """int64 (num_frames + 1,): where each frame begins in the file, in bytes."""
    checksums: np.ndarray
    """uint32 (num_frames,): low 32 bits of XXH64 over each frame's content."""

    @property
    def num_frames(self) -> int:
        """Number of data frames."""
        return len(self.checksums)

    def read_frame(self, number: int) -> bytes:
        """Decompress one frame.

        Raises:
            InputError: the frame's bytes are not what was written; names shard and frame.
        """
        start, end = int(self.offsets[number]), int(self.offsets[number + 1])
        with storage.open_read(self.uri) as file:
            file.seek(start)
            frame = file.read(end - start)
        try:
            data = zstandard.ZstdDecompressor().decompress(frame)
        except zstandard.ZstdError as error:
            raise InputError(_damaged(self.uri, number, str(error))) from error
        if _checksum(data) != int(self.checksums[number]):
            raise InputError(_damaged(self.uri, number, "checksum mismatch"))
        return data


def open_seekable(uri: str) -> SeekableReader:
    """Read the seek table of a file.

    Raises:
        InputError: no such file, or the seek table is missing or damaged.
    """
    try:
        with storage.open_read(uri) as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _FOOTER.size))
            tail = file.read()
            if len(tail) < _FOOTER.size:
                raise InputError(_no_table(uri))
            num_frames, descriptor, magic = _FOOTER.unpack(tail)
            table_size = num_frames * _ENTRY.itemsize
            start = size - _FOOTER.size - table_size
            if magic != _SEEKABLE_MAGIC or descriptor != _HAS_CHECKSUMS or start < _HEADER.size:
                raise InputError(_no_table(uri))
            file.seek(start)
            entries = np.frombuffer(file.read(table_size), dtype=_ENTRY)
    except FileNotFoundError:
        raise InputError(f"{uri}: no such shard; run the stage that writes it again") from None
    offsets = np.zeros(num_frames + 1, dtype=np.int64)
    np.cumsum(entries["compressed"], out=offsets[1:])
    if int(offsets[-1]) != start - _HEADER.size:
        raise InputError(_no_table(uri))
    return SeekableReader(uri, offsets, entries["checksum"].copy())


def _checksum(data: bytes) -> int:
    return xxhash.xxh64_intdigest(data) & 0xFFFFFFFF


def _no_table(uri: str) -> str:
    return f"{uri}: no seek table at its end: truncated or not a row shard; pack it again"


def _damaged(uri: str, number: int, detail: str) -> str:
    return f"{uri}: frame {number} is damaged ({detail}); pack this shard again"
