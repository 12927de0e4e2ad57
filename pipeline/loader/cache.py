"""A bounded cache of byte ranges of remote files on local disk, shared by the ranks of a node.

A range is one file, written beside its name and renamed, so that a reader sees all of it or
nothing. Whoever fetches one holds the kernel's lock on a lock file meanwhile, so that the ranks of
a node fetch it once; a killed process leaves neither a lock nor shared memory, at worst a partial
file, which the next clean-up removes. When the cache outgrows its bound, what was read longest ago
goes first.
"""

import contextlib
import copy
import fcntl
import hashlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline import storage

_LOG = logging.getLogger(__name__)
_CLEANS_PER_BOUND = 16
_PARTIAL_AGE_S = 600.0
_LOCKS = 64


class RangeCache:
    """Byte ranges of files, fetched once a node."""

    def __init__(self, folder: str, max_bytes: int) -> None:
        """Keep at most about `max_bytes` below the local `folder`.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder, self._max_bytes, self._version = Path(folder), max_bytes, ""
        self._written = max_bytes  # measure once at the start: others were here before
        self._has_failed = False
        for name in ("ranges", "locks"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)

    def read(self, uri: str, start: int, length: int | None) -> bytes:
        """See `pipeline.seekable.RangeReader.read`.

        Raises:
            OSError: the file cannot be read. A cache that cannot be written is said once and then
                done without.
        """
        path = self._path(uri, start, length)
        if (data := _read_and_touch(path)) is not None:
            return data
        with self._locked(path.name):
            if (data := _read_and_touch(path)) is not None:
                return data  # another rank was first
            data = storage.read_range(uri, start, length)
            try:
                storage.write_scratch(str(path), data)
            except OSError as error:
                self._warn_once(error)
                return data
        self._written += len(data)
        if self._written * _CLEANS_PER_BOUND >= self._max_bytes:
            self._written = 0
            self.clean()
        return data

    def forget(self, uri: str, start: int, length: int | None) -> bool:
        """See `pipeline.seekable.RangeReader.forget`."""
        path = self._path(uri, start, length)
        is_kept = path.exists()
        path.unlink(missing_ok=True)
        return is_kept

    def clean(self) -> None:
        """Remove what was read longest ago beyond the bound, and what killed writers left."""
        now, found = time.time(), []
        for path in (self._folder / "ranges").glob("*/*"):
            with contextlib.suppress(FileNotFoundError):  # another rank cleans too
                status = path.stat()
                if not storage.is_partial(path.name):
                    found.append((status.st_mtime, status.st_size, path))
                elif now - status.st_mtime > _PARTIAL_AGE_S:
                    path.unlink()
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self._max_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size

    def of(self, version: str) -> "RangeCache":
        """See `pipeline.seekable.RangeReader.of`."""
        other = copy.copy(self)
        other._version = version
        return other

    def _path(self, uri: str, start: int, length: int | None) -> Path:
        key = f"{self._version}\0{uri}\0{start}\0{length}"
        digest = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
        return self._folder / "ranges" / digest[:2] / digest

    def _warn_once(self, error: OSError) -> None:
        if not self._has_failed:
            _LOG.warning("cache %s cannot be written (%s); reading on", self._folder, error)
        self._has_failed = True

    @contextlib.contextmanager
    def _locked(self, digest: str) -> Iterator[None]:
        """One of a fixed number of locks, which the kernel drops with its process."""
        name = str(int(digest, 16) % _LOCKS)
        with contextlib.ExitStack() as stack:
            try:
                lock = stack.enter_context(open(self._folder / "locks" / name, "wb"))
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError as error:  # then several may fetch the same
                self._warn_once(error)
            yield


def _read_and_touch(path: Path) -> bytes | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    with contextlib.suppress(OSError):  # evicted meanwhile, or another user's
        os.utime(path)
    return data
