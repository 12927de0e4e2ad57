"""Decompressing streams that tell a damaged file from a finished one and name the byte offset.

However far a file expands, a stream holds some megabytes of it: its reader decides how much comes.
`bounded_lines` is that reader for lines.
"""

import gzip
import io
import zlib
from collections.abc import Iterator
from typing import IO, Any, cast

import zstandard

from pipeline.errors import DamagedInputError

_READ_BYTES = 1 << 16
_LINE_BUFFER_BYTES = 1 << 20
# Four bytes of zstd may stand for a block of 128 KiB: at once so few that they give 32 MiB at most.
_SLICE_BYTES = 1 << 10
# A line beyond its limit is passed over, one so far beyond it is no line.
_MAX_EXCESS = 64
# What a frame may ask its reader to remember; that of `zstd --long`, and of the library by default.
MAX_WINDOW_BYTES = 1 << 27


def open_decompressed(file: IO[bytes], uri: str) -> io.BufferedReader:
    """Wrap an open file by the suffix of `uri` (`.zst`, `.gz`, anything else: as it is).

    Reading from the result raises:
        DamagedInputError: the data is corrupt or ends early; names the file and the offset.
    """
    if uri.endswith(".zst"):
        raw: io.RawIOBase = _ZstdStream(file, uri)
    elif uri.endswith(".gz"):
        raw = _GzipStream(file, uri)
    else:
        return io.BufferedReader(cast("io.RawIOBase", file), _LINE_BUFFER_BYTES)
    return io.BufferedReader(raw, _LINE_BUFFER_BYTES)


def bounded_lines(file: IO[bytes], uri: str, max_bytes: int) -> Iterator[tuple[bytes, int]]:
    """Lines with their true size in bytes, line end included; of a longer one only the beginning.

    Args:
        file: open for reading.
        uri: its name, which says how it is compressed.
        max_bytes: of a line without its end. What exceeds it is read and let go of.

    Raises:
        DamagedInputError: as `open_decompressed`, or a line is so long that it would never end.
    """
    stream, number = open_decompressed(file, uri), 0
    while line := stream.readline(max_bytes + 2):
        size, number = len(line), number + 1
        if size > max_bytes and not line.endswith(b"\n"):
            while chunk := stream.readline(_LINE_BUFFER_BYTES):
                size += len(chunk)
                if chunk.endswith(b"\n"):
                    break
                if size > max_bytes * _MAX_EXCESS:
                    raise DamagedInputError(
                        f"{uri}: line {number} goes on after {size:,} bytes, {_MAX_EXCESS} times "
                        f"what a record may have; leave the file out, or raise the limit "
                        f"(ingest.max_record_bytes) if such lines are meant"
                    )
        yield line, size


class _ZstdStream(io.RawIOBase):
    """All frames of a zstd file; the library's own reader takes a truncated frame for the end."""

    def __init__(self, file: IO[bytes], uri: str) -> None:
        self._file, self._uri = file, uri
        self._frame: Any = None
        self._pending = memoryview(b"")
        self._output = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._output:
            if not self._pending:
                self._pending = memoryview(self._file.read(_READ_BYTES))
            if not self._pending:
                if self._frame is not None:
                    raise DamagedInputError(_truncated(self._uri, self._file.tell()))
                return 0
            self._output = memoryview(self._decompress())
        size = min(len(buffer), len(self._output))
        buffer[:size] = self._output[:size]
        self._output = self._output[size:]
        return size

    def _decompress(self) -> bytes:
        if self._frame is None:
            limited = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
            self._frame = limited.decompressobj()
        taken = self._pending[:_SLICE_BYTES]
        try:
            output: bytes = self._frame.decompress(taken)
        except zstandard.ZstdError as error:
            raise DamagedInputError(_corrupt(self._uri, self._file.tell(), error)) from error
        num_used = len(taken)
        if self._frame.eof:
            num_used -= len(self._frame.unused_data)
            self._frame = None
        self._pending = self._pending[num_used:]
        return output


class _GzipStream(io.RawIOBase):
    """A gzip file whose errors are the user's to mend."""

    def __init__(self, file: IO[bytes], uri: str) -> None:
        self._file, self._uri = file, uri
        self._gzip = gzip.GzipFile(fileobj=file)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            return self._gzip.readinto(buffer)
        except EOFError:
            raise DamagedInputError(_truncated(self._uri, self._file.tell())) from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise DamagedInputError(_corrupt(self._uri, self._file.tell(), error)) from error


def _truncated(uri: str, offset: int) -> str:
    return (
        f"{uri}: the compressed data ends early, at byte {offset}; "
        f"the file is truncated: fetch it again or leave it out"
    )


def _corrupt(uri: str, offset: int, error: Exception) -> str:
    return (
        f"{uri}: corrupt compressed data near byte {offset} ({error}); "
        f"fetch the file again or leave it out"
    )
