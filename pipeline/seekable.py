"""Seekable zstd files: independent frames and a seek table at the end, still valid `.zst`.

    [frame 0][frame 1]...[frame n-1][skippable frame: seek table with a checksum a frame]

The format is the public one of the zstd project (contrib/seekable_format): other tools read these
files, and `zstd -d` takes the seek table for an empty frame.
"""

import os
import struct
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

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
_TAIL_BYTES = 1 << 14
_OPEN_FILES = 256
_MAX_FRAMES = 1 << 24
MAX_FRAME_BYTES = 1 << 28
"""Largest frame, compressed or not: a seek table that promises more is not believed."""
_of_thread = threading.local()


class SeekableWriter:
    """Writes frames to an open file; `finish` adds the seek table."""

    def __init__(self, sink: storage.HashingWriter) -> None:
        """Write to `sink`, which the caller closes."""
        self._sink = sink
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self._entries: list[tuple[int, int, int]] = []

    def write_frame(self, data: bytes) -> None:
        """Compress `data` into one frame of its own.

        Raises:
            InputError: it is longer than `MAX_FRAME_BYTES`.
        """
        if len(data) > MAX_FRAME_BYTES:
            raise InputError(
                f"a frame of {len(data):,} bytes: at most {MAX_FRAME_BYTES:,} are read again; "
                f"lower pack.rows_per_frame or pack.seq_len"
            )
        frame = self._compressor.compress(data)
        self._sink.write(frame)
        self._entries.append((len(frame), len(data), _checksum(data)))

    def finish(self) -> None:
        """Write the seek table; nothing may follow it."""
        table = np.array(self._entries, dtype=_ENTRY).tobytes()
        footer = _FOOTER.pack(len(self._entries), _HAS_CHECKSUMS, _SEEKABLE_MAGIC)
        self._sink.write(_HEADER.pack(_SKIPPABLE_MAGIC, len(table) + len(footer)))
        self._sink.write(table + footer)


class RangeReader(Protocol):
    """Reads byte ranges of files."""

    def read(self, uri: str, start: int, length: int | None) -> bytes:
        """Bytes from `start` on (from the end if negative); all that follow if `length` is None."""
        ...

    def forget(self, uri: str, start: int, length: int | None) -> bool:
        """Drop a kept copy of a range; False if none is kept."""
        ...

    def of(self, version: str) -> "RangeReader":
        """The same reader for files of one version: what it keeps of another does not count."""
        ...


class DirectReader:
    """Reads each range where it lies; keeps local files open. Safe to share by threads."""

    def __init__(self) -> None:
        """Nothing is open yet."""
        self._open: OrderedDict[str, _Descriptor] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, uri: str, start: int, length: int | None) -> bytes:
        """See `RangeReader.read`."""
        if start < 0 or length is None or not storage.is_local(uri):
            return storage.read_range(uri, start, length)
        file = self._file(uri)  # held until the read is over, whoever drops it meanwhile
        return os.pread(file.number, length, start)

    def _file(self, uri: str) -> "_Descriptor":
        with self._lock:
            if uri in self._open:
                self._open.move_to_end(uri)
            else:
                self._open[uri] = _Descriptor(uri.removeprefix("file://"))
            if len(self._open) > _OPEN_FILES:
                self._open.popitem(last=False)  # closed when nobody reads from it any more
            return self._open[uri]

    def forget(self, uri: str, start: int, length: int | None) -> bool:
        """See `RangeReader.forget`."""
        return False

    def of(self, version: str) -> "DirectReader":
        """See `RangeReader.of`."""
        return self


class _Descriptor:
    """An open file that is closed when nobody holds it any more."""

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


@dataclass(frozen=True)
class SeekableReader:
    """Random access to the frames of one file."""

    uri: str
    offsets: np.ndarray
    """int64 (num_frames + 1,): where each frame begins in the file, in bytes."""
    checksums: np.ndarray
    """uint32 (num_frames,): low 32 bits of XXH64 over each frame's content."""
    raw_sizes: np.ndarray
    """uint32 (num_frames,): bytes of each frame's content."""
    reader: RangeReader

    @property
    def num_frames(self) -> int:
        """Number of data frames."""
        return len(self.checksums)

    def read_frame(self, number: int) -> bytes:
        """Decompress one frame.

        Raises:
            InputError: the frame's bytes are not what was written; names shard and frame.
        """
        if number >= self.num_frames:
            raise InputError(
                f"{self.uri}: has {self.num_frames} frames, and frame {number} was asked for: "
                f"the table of shards is of another packing; pack again"
            )
        start = int(self.offsets[number])
        place = (self.uri, start, int(self.offsets[number + 1]) - start)
        try:
            return self._decode(self.reader.read(*place), number)
        except InputError:
            if not self.reader.forget(*place):
                raise
        return self._decode(self.reader.read(*place), number)  # it was the copy that was damaged

    def _decode(self, frame: bytes, number: int) -> bytes:
        try:
            if zstandard.frame_content_size(frame) != int(self.raw_sizes[number]):
                raise InputError(_damaged(self.uri, number, "its header says another size"))
            data = _decompressor().decompress(frame)
        except zstandard.ZstdError as error:
            raise InputError(_damaged(self.uri, number, str(error))) from error
        if _checksum(data) != int(self.checksums[number]):
            raise InputError(_damaged(self.uri, number, "checksum mismatch"))
        return data


def open_seekable(uri: str, reader: RangeReader | None = None) -> SeekableReader:
    """Read the seek table of a file, in one request unless it has thousands of frames.

    Raises:
        InputError: no such file, or the seek table is missing or damaged.
    """
    reader = reader or DirectReader()
    try:
        return _read_table(uri, reader)
    except InputError:
        if not reader.forget(uri, -_TAIL_BYTES, None):
            raise
    return _read_table(uri, reader)  # it was the copy that was damaged


def _read_table(uri: str, reader: RangeReader) -> SeekableReader:
    try:
        tail = reader.read(uri, -_TAIL_BYTES, None)
        if len(tail) < _FOOTER.size:
            raise InputError(_no_table(uri))
        num_frames, descriptor, magic = _FOOTER.unpack_from(tail, len(tail) - _FOOTER.size)
        if magic != _SEEKABLE_MAGIC or descriptor != _HAS_CHECKSUMS:
            raise InputError(_no_table(uri))
        if num_frames > _MAX_FRAMES:  # reading their table would be reading everything
            raise InputError(f"{uri}: {num_frames:,} frames; at most {_MAX_FRAMES:,} are read")
        content = num_frames * _ENTRY.itemsize + _FOOTER.size
        if _HEADER.size + content > len(tail):
            tail = reader.read(uri, -(_HEADER.size + content), None)
    except FileNotFoundError:
        raise InputError(f"{uri}: no such shard; run the stage that writes it again") from None
    start = len(tail) - content
    if start < _HEADER.size or _HEADER.unpack_from(tail, start - _HEADER.size) != (
        _SKIPPABLE_MAGIC,
        content,
    ):
        raise InputError(_no_table(uri))
    entries = np.frombuffer(tail, dtype=_ENTRY, count=num_frames, offset=start)
    # Both sizes are asked for in memory before a frame can be seen to be another.
    for size in ("compressed", "raw"):
        if num_frames and (largest := int(entries[size].max())) > MAX_FRAME_BYTES:
            raise InputError(
                f"{uri}: its seek table promises a frame of {largest:,} bytes ({size}), at most "
                f"{MAX_FRAME_BYTES:,} are written; pack this shard again"
            )
    offsets = np.zeros(num_frames + 1, dtype=np.int64)
    np.cumsum(entries["compressed"], out=offsets[1:])
    return SeekableReader(uri, offsets, entries["checksum"].copy(), entries["raw"].copy(), reader)


def _decompressor() -> zstandard.ZstdDecompressor:
    """One a thread: it must not be shared, and costs more to make than a small frame to read."""
    if not hasattr(_of_thread, "decompressor"):
        # No frame needs to remember more than it holds, and its size is known by now.
        _of_thread.decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_FRAME_BYTES)
    decompressor: zstandard.ZstdDecompressor = _of_thread.decompressor
    return decompressor


def _checksum(data: bytes) -> int:
    return xxhash.xxh64_intdigest(data) & 0xFFFFFFFF


def _no_table(uri: str) -> str:
    return f"{uri}: no seek table at its end: truncated or not a row shard; pack it again"


def _damaged(uri: str, number: int, detail: str) -> str:
    return f"{uri}: frame {number} is damaged ({detail}); pack this shard again"
