"""Decompressing streams that tell a damaged file from a finished one and name the byte offset."""

import gzip
import io
import zlib
from typing import IO, Any, cast

import zstandard

from pipeline.errors import DamagedInputError

_READ_BYTES = 1 << 16
_LINE_BUFFER_BYTES = 1 << 20


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


class _ZstdStream(io.RawIOBase):
    """All frames of a zstd file; the library's own reader takes a truncated frame for the end."""

    def __init__(self, file: IO[bytes], uri: str) -> None:
        self._file, self._uri = file, uri
        self._frame: Any = None
        self._pending = b""
        self._output = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._output:
            if not self._pending:
                self._pending = self._file.read(_READ_BYTES)
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
            self._frame = zstandard.ZstdDecompressor().decompressobj()
        try:
            output: bytes = self._frame.decompress(self._pending)
        except zstandard.ZstdError as error:
            raise DamagedInputError(_corrupt(self._uri, self._file.tell(), error)) from error
        self._pending = b""
        if self._frame.eof:
            self._pending, self._frame = self._frame.unused_data, None
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
